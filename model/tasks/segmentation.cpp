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

void check_loss(const PixelLoss& loss, int64_t classes) {
  if (loss.kind != "cross-entropy" && loss.kind != "focal" && loss.kind != "dice")
    usage_error("the loss of pixels is '" + loss.kind + "', none of cross-entropy, focal, dice");
  if (loss.gamma < 1 || loss.gamma > 10)
    usage_error("the focal loss takes a gamma of 1 to 10, not " + std::to_string(loss.gamma));
  if (loss.class_weights.empty()) return;
  if (std::ssize(loss.class_weights) != classes)
    usage_error("there are " + std::to_string(loss.class_weights.size()) + " class weights for " +
                std::to_string(classes) + " classes of pixels");
  double sum = 0;
  for (const double weight : loss.class_weights) {
    if (!(weight >= 0 && weight <= most_class_weight))
      usage_error("a class weight is outside 0 to 1000000: " + std::to_string(weight));
    sum += weight;
  }
  if (sum == 0) usage_error("all class weights are 0");
}

Val class_weights(Tape& tape, const PixelLoss& loss) {
  if (loss.class_weights.empty()) return {};
  std::vector<Val> each;
  for (const double weight : loss.class_weights)
    each.push_back(ops::constant(tape, {1, 1, 1, 1}, weight, Role::statistic));
  return ops::reshape(tape, ops::concat(tape, each), Shape{std::ssize(each)});
}

// A loss of each pixel, times its weight.
Val rows_of(Tape& tape, const PixelLoss& how, const ops::Loss& loss) {
  if (how.kind == "cross-entropy") return loss.rows;
  const Val surprise = ops::div_no_nan(tape, loss.rows, loss.row_weight);  // -log p
  const Val missed = ops::affine(tape, ops::exp(tape, ops::affine(tape, surprise, -1, 0)), -1, 1);
  if (how.kind == "dice") return ops::mul(tape, loss.row_weight, missed);
  Val rows = loss.rows;
  for (int64_t i = 0; i < how.gamma; i++) rows = ops::mul(tape, rows, missed);
  return rows;
}

bool counted(const std::vector<int64_t>& numbers) {
  for (size_t k = 0; k < numbers.size(); k++)
    if (numbers[k] != static_cast<int64_t>(k)) return false;
  return true;
}

}  // namespace

Segmentation::Segmentation(std::vector<std::string> class_names, int64_t unlabelled,
                           std::vector<int64_t> of_rasters, const PixelLoss& how)
    : classes(std::move(class_names)),
      ignore(unlabelled),
      numbers(std::move(of_rasters)),
      loss(how) {
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
  check_loss(loss, count);
}

std::string Segmentation::to_json() const {
  Json json{{"classes", classes}, {"ignore", ignore}};
  if (!counted(numbers)) json["numbers"] = numbers;
  if (loss.kind != PixelLoss{}.kind) json["loss"] = loss.kind;
  if (loss.kind == "focal") json["gamma"] = loss.gamma;
  if (!loss.class_weights.empty()) json["class_weights"] = loss.class_weights;
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
  if (loss.kind != "cross-entropy" && options.label_smoothing > 0)
    usage_error("label smoothing goes with cross-entropy, and the loss of pixels is " + loss.kind);
  const ops::Loss entropy = ops::softmax_cross_entropy(
      tape, output, label, {options.label_smoothing, ignore}, class_weights(tape, loss), weight);
  const Val rows = rows_of(tape, loss, entropy);
  const Shape sample{shape.images(), 1, 1, 1};
  r.sample_loss = ops::sum(tape, rows, sample);
  r.sample_weight = ops::sum(tape, entropy.row_weight, sample);
  r.loss_sum = loss.kind == "cross-entropy" ? entropy.sum : ops::sum_all(tape, rows);
  r.loss_weight = entropy.weight;
  // A class whose weight is 0 counts in the metrics all the same.
  r.watched = {ops::confusion(tape, called, label, count,
                              loss.class_weights.empty() ? entropy.row_weight : weight)};
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
  PixelLoss loss;
  loss.kind = json.value("loss", loss.kind);
  loss.gamma = json.value("gamma", loss.gamma);
  loss.class_weights = json.value("class_weights", loss.class_weights);
  return std::make_shared<Segmentation>(json.at("classes").get<std::vector<std::string>>(),
                                        json.at("ignore").get<int64_t>(),
                                        json.value("numbers", std::vector<int64_t>()), loss);
}

}  // namespace fulmar::model
