#include "model/tasks/segmentation.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* counts_name = "confusion";

// Counts [label, prediction] of pixels; the device adds up those of a batch.
class SegmentationMeter final : public Meter {
 public:
  explicit SegmentationMeter(size_t classes) : classes_(classes), counts_(classes * classes) {}

  void add(const Observed& batch) override {
    for (size_t i = 0; i < counts_.size(); i++) counts_[i] += batch.watched.at(0).at(i);
  }
  void clear() override { counts_.assign(classes_ * classes_, 0); }

  NamedValues metrics(const NamedValues&) const override {
    double all = 0, right = 0, f1 = 0, overlap = 0, present = 0;
    for (const double count : counts_) all += count;
    for (size_t k = 0; k < classes_; k++) {
      double labelled = 0, called = 0;
      for (size_t other = 0; other < classes_; other++) {
        labelled += counts_[k * classes_ + other];
        called += counts_[other * classes_ + k];
      }
      const double hits = counts_[k * classes_ + k];
      right += hits;
      if (labelled + called == 0) continue;
      present++;
      f1 += 2 * hits / (labelled + called);
      overlap += hits / (labelled + called - hits);
    }
    const auto mean = [](double sum, double count) {
      return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
    };
    return {{"accuracy", mean(right, all)},
            {"macro_f1", mean(f1, present)},
            {"miou", mean(overlap, present)}};
  }

  void store(TrainingState& to, const std::string& prefix) const override {
    to.doubles[prefix + counts_name] = counts_;
  }
  void restore(const TrainingState& from, const std::string& prefix) override {
    const auto found = from.doubles.find(prefix + counts_name);
    if (found == from.doubles.end() || found->second.size() != counts_.size())
      usage_error("it has no counts of pixels, or not of so many classes");
    counts_ = found->second;
  }

 private:
  size_t classes_;
  std::vector<double> counts_;
};

}  // namespace

Segmentation::Segmentation(std::vector<std::string> class_names, int64_t unlabelled)
    : classes(std::move(class_names)), ignore(unlabelled) {
  const auto count = static_cast<int64_t>(classes.size());
  if (count < 2 || count > 255)
    usage_error("the description of a model: it names " + std::to_string(count) +
                " classes of pixels, 2 to 255 are possible");
  if (ignore < count || ignore > 255)
    usage_error("the description of a model: pixels without a label are " + std::to_string(ignore) +
                ", which must be above the classes and at most 255");
}

std::string Segmentation::to_json() const {
  return Json{{"classes", classes}, {"ignore", ignore}}.dump();
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

std::unique_ptr<Meter> Segmentation::meter() const {
  return std::make_unique<SegmentationMeter>(classes.size());
}

std::shared_ptr<const Task> read_segmentation(const std::string& text) {
  const Json json = Json::parse(text);
  return std::make_shared<Segmentation>(json.at("classes").get<std::vector<std::string>>(),
                                        json.at("ignore").get<int64_t>());
}

}  // namespace fulmar::model
