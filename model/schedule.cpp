#include "model/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <string>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

// From `begin` at share 0 to `end` at share 1.
double half_cosine(double begin, double end, double share) {
  return end + (begin - end) / 2 * (std::cos(std::numbers::pi * share) + 1);
}

int64_t step_within(int64_t step, int64_t steps) {
  if (steps < 1) usage_error("a learning rate schedule needs at least one step");
  return std::clamp<int64_t>(step, 0, steps - 1);
}

}  // namespace

double OneCycle::rate(int64_t step) const {
  step = step_within(step, steps);
  if (!(warmup_share >= 0 && warmup_share <= 1))
    usage_error("the warm-up's share of a one-cycle schedule must lie in 0..1");
  const double start_rate = max_rate / start_divisor;
  const double peak = warmup_share * static_cast<double>(steps) - 1;
  const double last = static_cast<double>(steps - 1), now = static_cast<double>(step);
  if (now <= peak && peak > 0) return half_cosine(start_rate, max_rate, now / peak);
  return half_cosine(max_rate, start_rate / end_divisor,
                     last > peak ? (now - peak) / (last - peak) : 1);
}

double WarmupCosine::rate(int64_t step) const {
  step = step_within(step, steps);
  if (warmup_steps < 0 || warmup_steps > steps)
    usage_error("the warm-up of a cosine schedule must have 0 to " + std::to_string(steps) +
                " steps, not " + std::to_string(warmup_steps));
  if (step < warmup_steps)
    return max_rate * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  return half_cosine(
      max_rate, end_rate,
      static_cast<double>(step - warmup_steps) / static_cast<double>(steps - warmup_steps));
}

double CosineRestarts::rate(int64_t step) const {
  if (period < 1 || factor < 1)
    usage_error(
        "the periods of a cosine with restarts must have at least one step, and the next "
        "at least as many");
  int64_t length = period;
  for (step = std::max<int64_t>(step, 0); step >= length && factor > 1; length *= factor)
    step -= length;
  return half_cosine(max_rate, end_rate,
                     static_cast<double>(step % length) / static_cast<double>(length));
}

}  // namespace fulmar::model
