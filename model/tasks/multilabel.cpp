#include "model/tasks/multilabel.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/error.h"
#include "model/metrics.h"

namespace fulmar::model {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char *truths_name = "truths", *probabilities_name = "probabilities";

class MultilabelMeter final : public Meter {
 public:
  explicit MultilabelMeter(size_t labels) : labels_(labels) {}

  void add(const Observed& batch) override {
    const auto count = static_cast<size_t>(batch.samples) * labels_;
    const auto* truths = batch.label.as<const float>();
    const std::vector<double>& all = batch.watched.at(0);
    for (size_t i = 0; i < count; i++) {
      if (truths[i] != 0 && truths[i] != 1)
        usage_error("a label is " + std::to_string(truths[i]) + "; 0 and 1 are labels");
      truths_.push_back(truths[i]);
      probabilities_.push_back(static_cast<float>(all[i]));
    }
  }
  void clear() override {
    truths_.clear();
    probabilities_.clear();
  }

  NamedValues metrics(const NamedValues&) const override {
    const double none = std::numeric_limits<double>::quiet_NaN();
    if (truths_.empty()) return {{"accuracy", none}, {"macro_f1", none}, {"map", none}};
    int64_t right = 0;
    double f1 = 0, precisions = 0;
    int64_t defined = 0;
    for (size_t k = 0; k < labels_; k++) {
      std::vector<float> scores;
      std::vector<uint8_t> positive;
      double hits = 0, errors = 0;
      for (size_t i = k; i < truths_.size(); i += labels_) {
        scores.push_back(probabilities_[i]);
        positive.push_back(truths_[i] == 1);
        const bool called = probabilities_[i] >= 0.5F, is = truths_[i] == 1;
        right += called == is;
        hits += called && is;
        errors += called != is;
      }
      f1 += hits > 0 ? 2 * hits / (2 * hits + errors) : 0;
      const double precision = average_precision(scores, positive);
      if (std::isnan(precision)) continue;
      precisions += precision;
      defined++;
    }
    return {{"accuracy", static_cast<double>(right) / static_cast<double>(truths_.size())},
            {"macro_f1", f1 / static_cast<double>(labels_)},
            {"map", defined > 0 ? precisions / static_cast<double>(defined) : none}};
  }

  void store(TrainingState& to, const std::string& prefix) const override {
    to.floats[prefix + truths_name] = truths_;
    to.floats[prefix + probabilities_name] = probabilities_;
  }
  void restore(const TrainingState& from, const std::string& prefix) override {
    clear();
    const auto truths = from.floats.find(prefix + truths_name);
    const auto probabilities = from.floats.find(prefix + probabilities_name);
    if (truths != from.floats.end()) truths_ = truths->second;
    if (probabilities != from.floats.end()) probabilities_ = probabilities->second;
    if (truths_.size() != probabilities_.size() || truths_.size() % labels_ != 0)
      usage_error("its labels and probabilities don't fit each other");
  }

 private:
  size_t labels_;
  std::vector<float> truths_, probabilities_;  // [n, labels]
};

}  // namespace

Multilabel::Multilabel(std::vector<std::string> label_names) : labels(std::move(label_names)) {
  if (labels.empty()) usage_error("the description of a model: it names no label");
}

std::string Multilabel::to_json() const { return Json{{"labels", labels}}.dump(); }

Recorded Multilabel::record(Tape& tape, Val output, const Target& target,
                            const LossOptions&) const {
  const Shape shape = tape.shape(output);
  const auto count = static_cast<int64_t>(labels.size());
  if (shape != Shape{shape.images(), 1, 1, count})
    usage_error("the network gives " + shape.to_string() + " for " + std::to_string(count) +
                " labels, not one row of that many logits a picture");
  Recorded r;
  const Val x = ops::as_role(tape, output, Role::statistic);
  const Val probabilities = ops::sigmoid(tape, x);
  r.results = {{"probabilities", probabilities}};
  r.watched = {probabilities};
  if (!target.label) return r;
  const Val t = target.label;
  if (tape.shape(t) != shape || !tape.info(t).is_real())
    usage_error("labels must be f32 " + shape.to_string() + ", they are " +
                tape.shape(t).to_string());
  const Shape sample{shape.images(), 1, 1, 1};
  const Val weight = weights_of(tape, target, sample);
  const Val loss = ops::sub(tape, ops::softplus(tape, x), ops::mul(tape, x, t));
  r.sample_loss = ops::mul(tape, ops::sum(tape, loss, sample), weight);
  r.sample_weight = ops::affine(tape, weight, static_cast<double>(count), 0);
  r.loss_sum = ops::sum_all(tape, r.sample_loss);
  r.loss_weight = ops::sum_all(tape, r.sample_weight);
  return r;
}

std::unique_ptr<Meter> Multilabel::meter() const {
  return std::make_unique<MultilabelMeter>(labels.size());
}

std::shared_ptr<const Task> read_multilabel(const std::string& text) {
  return std::make_shared<Multilabel>(
      Json::parse(text).at("labels").get<std::vector<std::string>>());
}

}  // namespace fulmar::model
