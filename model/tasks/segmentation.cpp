#include "model/tasks/segmentation.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* counts_name = "confusion";

// The device counts the pixels of a batch.
class SegmentationMeter final : public Meter {
 public:
  explicit SegmentationMeter(size_t classes) : counts_(classes) {}

  void add(const Observed& batch) override {
    counts_.add(Confusion(counts_.classes(), batch.watched.at(0)));
  }
  void clear() override { counts_ = Confusion(counts_.classes()); }

  NamedValues metrics(const NamedValues&) const override { return counts_.metrics(); }
  const Confusion& counts() const { return counts_; }

  void store(TrainingState& to, const std::string& prefix) const override {
    to.doubles[prefix + counts_name] = {counts_.counts().begin(), counts_.counts().end()};
  }
  void restore(const TrainingState& from, const std::string& prefix) override {
    const auto found = from.doubles.find(prefix + counts_name);
    if (found == from.doubles.end() || found->second.size() != counts_.counts().size())
      usage_error("it has no counts of pixels, or not of so many classes");
    counts_ = Confusion(counts_.classes(), found->second);
  }

 private:
  Confusion counts_;
};

bool counted(const std::vector<int64_t>& numbers) {
  for (size_t k = 0; k < numbers.size(); k++)
    if (numbers[k] != static_cast<int64_t>(k)) return false;
  return true;
}

}  // namespace

Segmentation::Segmentation(std::vector<std::string> class_names, int64_t unlabelled,
                           std::vector<int64_t> of_rasters)
    : classes(std::move(class_names)), ignore(unlabelled), numbers(std::move(of_rasters)) {
  const auto count = static_cast<int64_t>(classes.size());
  if (count < 2 || count > 255)
    usage_error("the description of a model: it names " + std::to_string(count) +
                " classes of pixels, 2 to 255 are possible");
  if (ignore < count || ignore > 255)
    usage_error("the description of a model: pixels without a label are " + std::to_string(ignore) +
                ", which must be above the classes and at most 255");
  if (numbers.empty())
    for (int64_t k = 0; k < count; k++) numbers.push_back(k);
  if (std::ssize(numbers) != count)
    usage_error("the description of a model: it has " + std::to_string(numbers.size()) +
                " numbers for " + std::to_string(count) + " classes of pixels");
}

std::string Segmentation::to_json() const {
  Json json{{"classes", classes}, {"ignore", ignore}};
  if (!counted(numbers)) json["numbers"] = numbers;
  return json.dump();
}

Recorded Segmentation::record(Tape& tape, Val output, const Target& target,
                              const LossOptions& options) const {
  const Shape shape = tape.shape(output);
  const auto count = static_cast<int64_t>(classes.size());
  if (shape.channels() != count)
    usage_error("the network gives " + shape.to_string() + " for " + std::to_string(count) +
                " classes of pixels");
  Recorded r;
  const Val called = ops::argmax(tape, output);
  r.results = {{"classes", called}};
  if (!target.label) return r;
  const Val label = target.samples
                        ? ops::warp_labels(tape, target.label, target.samples, shape.height(),
                                           shape.width(), static_cast<uint8_t>(ignore))
                        : target.label;
  const Val weight =
      target.weight
          ? ops::broadcast(tape, target.weight, {shape.images(), shape.height(), shape.width(), 1})
          : Val{};
  const ops::Loss loss = ops::softmax_cross_entropy(tape, output, label,
                                                    {options.label_smoothing, ignore}, {}, weight);
  const Shape sample{shape.images(), 1, 1, 1};
  r.sample_loss = ops::sum(tape, loss.rows, sample);
  r.sample_weight = ops::sum(tape, loss.row_weight, sample);
  r.loss_sum = loss.sum;
  r.loss_weight = loss.weight;
  r.watched = {ops::confusion(tape, called, label, count, loss.row_weight)};
  return r;
}

const Confusion& counts_of(const Meter& meter) {
  const auto* counting = dynamic_cast<const SegmentationMeter*>(&meter);
  if (!counting) usage_error("these are no counts of pixels");
  return counting->counts();
}

std::unique_ptr<Meter> Segmentation::meter() const {
  return std::make_unique<SegmentationMeter>(classes.size());
}

std::shared_ptr<const Task> read_segmentation(const std::string& text) {
  const Json json = Json::parse(text);
  return std::make_shared<Segmentation>(json.at("classes").get<std::vector<std::string>>(),
                                        json.at("ignore").get<int64_t>(),
                                        json.value("numbers", std::vector<int64_t>()));
}

}  // namespace fulmar::model
