#include "model/tasks/regression.h"

#include <array>
#include <cmath>
#include <limits>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

// Sums over all numbers so far, each times its weight w: w, w t, w t², w (y-t)², w |y-t|.
constexpr size_t sums = 5;
constexpr const char* sums_name = "sums";

class RegressionMeter final : public Meter {
 public:
  void add(const Observed& batch) override {
    for (size_t i = 0; i < sums; i++) sums_[i] += batch.watched.at(i).at(0);
  }
  void clear() override { sums_ = {}; }

  NamedValues metrics(const NamedValues&) const override {
    const auto [w, wt, wtt, squared, absolute] = sums_;
    const double none = std::numeric_limits<double>::quiet_NaN();
    const double spread = w > 0 ? wtt - wt * wt / w : 0;
    return {{"mae", w > 0 ? absolute / w : none},
            {"rmse", w > 0 ? std::sqrt(squared / w) : none},
            {"r2", spread > 0 ? 1 - squared / spread : none}};
  }

  void store(TrainingState& to, const std::string& prefix) const override {
    to.doubles[prefix + sums_name] = {sums_.begin(), sums_.end()};
  }
  void restore(const TrainingState& from, const std::string& prefix) override {
    clear();
    const auto found = from.doubles.find(prefix + sums_name);
    if (found == from.doubles.end() || found->second.size() != sums)
      usage_error("it has no sums of a regression");
    for (size_t i = 0; i < sums; i++) sums_[i] = found->second[i];
  }

 private:
  std::array<double, sums> sums_{};
};

}  // namespace

Recorded Regression::record(Tape& tape, Val output, const Target& target,
                            const LossOptions&) const {
  Recorded r;
  if (!target.label) return r;
  const Val y = ops::as_role(tape, output, Role::statistic), t = target.label;
  const Shape& shape = tape.shape(y);
  if (tape.shape(t) != shape || !tape.info(t).is_real())
    usage_error("labels of a regression must be f32 " + shape.to_string() +
                ", as the output is; they are " + tape.shape(t).to_string());
  const Shape sample{shape.images(), 1, 1, 1};
  const Val weight = weights_of(tape, target, sample);
  const Val w = ops::broadcast(tape, weight, shape), e = ops::sub(tape, y, t);
  const Val squared = ops::mul(tape, w, ops::square(tape, e));
  const Val absolute = ops::mul(tape, w, ops::abs(tape, e));
  const Val wt = ops::mul(tape, w, t), wtt = ops::mul(tape, wt, t);
  r.sample_loss = ops::sum(tape, squared, sample);
  r.sample_weight = ops::sum(tape, w, sample);
  r.loss_sum = ops::sum_all(tape, squared);
  r.loss_weight = ops::sum_all(tape, w);
  r.watched = {r.loss_weight, ops::sum_all(tape, wt), ops::sum_all(tape, wtt), r.loss_sum,
               ops::sum_all(tape, absolute)};
  return r;
}

std::unique_ptr<Meter> Regression::meter() const { return std::make_unique<RegressionMeter>(); }

std::shared_ptr<const Task> read_regression(const std::string&) {
  return std::make_shared<Regression>();
}

}  // namespace fulmar::model
