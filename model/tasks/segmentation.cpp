#include "model/tasks/segmentation.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* counts_name = "confusion";
constexpr std::array pixel_losses{"cross-entropy", "focal", "dice", "tversky", "mse", "mae"};

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
  std::string names;
  bool known = false;
  for (const char* name : pixel_losses) {
    names += (names.empty() ? "" : ", ") + std::string(name);
    known |= loss.kind == name;
  }
  if (!known) usage_error("the loss of pixels is '" + loss.kind + "', none of " + names);
  for (const double part : {loss.alpha, loss.beta})
    if (!(part >= 0 && part <= 10))
      usage_error("the Tversky loss takes an alpha and a beta of 0 to 10, not " +
                  std::to_string(part));
  if (loss.alpha + loss.beta == 0) usage_error("the Tversky loss needs an alpha or a beta");
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

// [1,1,1,K]
Val row_of(Tape& tape, const std::vector<double>& numbers) {
  std::vector<Val> each;
  for (const double number : numbers)
    each.push_back(ops::constant(tape, {1, 1, 1, 1}, number, Role::statistic));
  return ops::concat(tape, each);
}

Val by_class(Tape& tape, const std::vector<double>& numbers) {
  return ops::reshape(tape, row_of(tape, numbers), Shape{std::ssize(numbers)});
}

Val class_weights(Tape& tape, const PixelLoss& loss) {
  return loss.class_weights.empty() ? Val{} : by_class(tape, loss.class_weights);
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

// A loss of the whole batch, which counts by its pixels with a label.
Val tversky(Tape& tape, const PixelLoss& how, Val logits, Val label, int64_t ignore, Val weight) {
  const Shape shape = tape.shape(logits);
  const int64_t count = shape.channels();
  const Shape each{1, 1, 1, count};
  // Of equal logits the gradient is w / K less the label's own w: labels, one class a channel.
  const Val equal = ops::constant(tape, shape, 0, Role::statistic);
  const ops::Loss even = ops::softmax_cross_entropy(tape, equal, label, {0, ignore}, {}, weight);
  const Val w = ops::broadcast(tape, even.row_weight, shape);
  const Val labels = ops::sub(tape, ops::affine(tape, w, 1 / static_cast<double>(count), 0),
                              grad(tape, ops::sum_all(tape, even.rows), equal));
  const Val p = ops::softmax(tape, ops::as_role(tape, logits, Role::statistic));
  const Val hits = ops::sum(tape, ops::mul(tape, p, labels), each);
  const Val called = ops::sum(tape, ops::mul(tape, p, w), each);
  const Val labelled = ops::sum(tape, labels, each);
  const Val below = ops::add(tape, ops::affine(tape, hits, 1 - how.alpha - how.beta, 0),
                             ops::add(tape, ops::affine(tape, called, how.alpha, 0),
                                      ops::affine(tape, labelled, how.beta, 0)));
  const Val lost = ops::affine(tape, ops::div_no_nan(tape, hits, below), -1, 1);
  // What rounding leaves of a class without a label is no label.
  const Val one = ops::constant(tape, each, 1, Role::statistic);
  Val counts = ops::gate(tape, ops::affine(tape, labelled, 1, -1e-3), one);
  if (!how.class_weights.empty()) counts = ops::mul(tape, counts, row_of(tape, how.class_weights));
  const Val mean = ops::div_no_nan(tape, ops::sum_all(tape, ops::mul(tape, counts, lost)),
                                   ops::sum_all(tape, counts));
  return ops::mul(tape, mean, even.weight);
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
  if (loss.kind == "tversky") json["alpha"] = loss.alpha, json["beta"] = loss.beta;
  if (!loss.class_weights.empty()) json["class_weights"] = loss.class_weights;
  if (!loss.unit.empty()) json["unit"] = loss.unit;
  return json.dump();
}

Val Segmentation::nearness(Tape& tape, Val values) const {
  // (y - n)^2 is least where 2 y n - n^2 is most; numbers about their middle round less.
  const auto [least, most] = std::minmax_element(numbers.begin(), numbers.end());
  const double middle = (static_cast<double>(*least) + static_cast<double>(*most)) / 2;
  std::vector<double> twice, square;
  for (const int64_t number : numbers) {
    const double n = static_cast<double>(number) - middle;
    twice.push_back(2 * n);
    square.push_back(n * n);
  }
  Shape shape = tape.shape(values);
  shape = {shape.images(), shape.height(), shape.width(), std::ssize(numbers)};
  const Val y = ops::broadcast(tape, ops::affine(tape, values, 1, -middle), shape);
  return ops::sub(tape, ops::mul(tape, y, row_of(tape, twice)), row_of(tape, square));
}

// The loss of numbers, c (y - t)^2 or c |y - t| of each pixel.
Val Segmentation::number_rows(Tape& tape, Val values, Val scores, Val label, Val weight) const {
  // The weight of a pixel's row in a loss of weights n - least + 1 tells its number.
  const int64_t least = *std::min_element(numbers.begin(), numbers.end());
  std::vector<double> above;
  for (const int64_t number : numbers) above.push_back(static_cast<double>(number - least + 1));
  const ops::Loss lookup =
      ops::softmax_cross_entropy(tape, scores, label, {0, ignore}, by_class(tape, above));
  const Val t = ops::affine(tape, lookup.row_weight, 1, static_cast<double>(least - 1));
  const Val error = ops::sub(tape, values, t);
  return ops::mul(tape, weight,
                  loss.kind == "mse" ? ops::square(tape, error) : ops::abs(tape, error));
}

Recorded Segmentation::record(Tape& tape, Val output, const Target& target,
                              const LossOptions& options) const {
  const Shape shape = tape.shape(output);
  const auto count = static_cast<int64_t>(classes.size());
  if (shape.channels() != channels())
    usage_error("the network gives " + shape.to_string() + " for " +
                (loss.of_numbers() ? "a number of each pixel"
                                   : std::to_string(count) + " classes of pixels"));
  Recorded r;
  const Val values = loss.of_numbers() ? ops::as_role(tape, output, Role::statistic) : Val{};
  const Val logits = values ? nearness(tape, values) : output;
  const Val called = ops::argmax(tape, logits);
  r.results = {{"classes", called}};
  if (values) r.results.emplace_back("values", values);
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
  const bool whole = loss.kind == "tversky";
  const ops::Loss entropy =
      ops::softmax_cross_entropy(tape, logits, label, {options.label_smoothing, ignore},
                                 whole ? Val{} : class_weights(tape, loss), weight);
  r.loss_weight = entropy.weight;
  if (whole) {
    r.loss_sum = tversky(tape, loss, output, label, ignore, weight);
  } else {
    const Val rows = values ? number_rows(tape, values, logits, label, entropy.row_weight)
                            : rows_of(tape, loss, entropy);
    const Shape sample{shape.images(), 1, 1, 1};
    r.sample_loss = ops::sum(tape, rows, sample);
    r.sample_weight = ops::sum(tape, entropy.row_weight, sample);
    r.loss_sum = loss.kind == "cross-entropy" ? entropy.sum : ops::sum_all(tape, rows);
  }
  // A class whose weight is 0 counts in the metrics all the same.
  r.watched = {ops::confusion(tape, called, label, count,
                              whole || loss.class_weights.empty() ? entropy.row_weight : weight)};
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
  loss.alpha = json.value("alpha", loss.alpha);
  loss.beta = json.value("beta", loss.beta);
  loss.class_weights = json.value("class_weights", loss.class_weights);
  loss.unit = json.value("unit", loss.unit);
  return std::make_shared<Segmentation>(json.at("classes").get<std::vector<std::string>>(),
                                        json.at("ignore").get<int64_t>(),
                                        json.value("numbers", std::vector<int64_t>()), loss);
}

}  // namespace fulmar::model
