#include <cmath>

#include "kernels/random.h"
#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

namespace fulmar::reference {

void dropout(Stream&, const View& x, const View& y, const StepState* state, double rate,
             uint64_t id) {
  for (int64_t i = 0; i < x.shape.elements(); i++) {
    const RandomBits bits =
        philox(state->seed, state->draw, id << 40 | static_cast<uint64_t>(i / 4));
    const bool keep = uniform(bits.word[i % 4]) >= rate;
    reals(y)[i] = keep ? reals(x)[i] / (1 - rate) : 0;
  }
}

void accumulate(Stream&, const View& g, const View& sum, const StepState* state) {
  for (int64_t i = 0; i < g.shape.elements(); i++)
    reals(sum)[i] = (state->micro_batch == 0 ? 0 : reals(sum)[i]) + reals(g)[i];
}

namespace {

double share_of(const View& weight) {
  const double value = reals(weight)[0];
  return value <= 0 ? 0 : 1 / value;
}

double norm(const View& x, const Segment& segment, double share) {
  double squares = 0;
  for (int64_t i = segment.begin; i < segment.end; i++)
    squares += reals(x)[i] * share * (reals(x)[i] * share);
  return std::sqrt(squares);
}

}  // namespace

void adamw(Stream&, const View& g, const View& weight, const View& nonfinite, const View& theta,
           const View& m, const View& v, const Segment* segments, int64_t segment_count,
           const StepState* state, const AdamW& options) {
  if (*elements<int32_t>(nonfinite) > 0) return;
  const double b1 = options.beta1, b2 = options.beta2, eps = options.epsilon;
  const double lr = state->learning_rate, t = static_cast<double>(state->step);
  const double correction1 = 1 - std::pow(b1, t), correction2 = 1 - std::pow(b2, t);
  const double decay =
      options.decay_scaled_by_lr ? lr * options.weight_decay : options.weight_decay;
  const double share = share_of(weight);
  for (int64_t s = 0; s < segment_count; s++)
    for (int64_t i = segments[s].begin; i < segments[s].end; i++) {
      const double grad = reals(g)[i] * share;
      double &parameter = reals(theta)[i], &first = reals(m)[i], &second = reals(v)[i];
      if (segments[s].decays) parameter -= decay * parameter;
      first = b1 * first + (1 - b1) * grad;
      second = b2 * second + (1 - b2) * grad * grad;
      if (options.keras_epsilon)
        parameter -= lr * std::sqrt(correction2) / correction1 * first / (std::sqrt(second) + eps);
      else
        parameter -= lr / correction1 * first / (std::sqrt(second / correction2) + eps);
    }
}

void sgd(Stream&, const View& g, const View& weight, const View& nonfinite, const View& theta,
         const View& v, const Segment* segments, int64_t segment_count, const StepState* state,
         const Sgd& options) {
  if (*elements<int32_t>(nonfinite) > 0) return;
  const double share = share_of(weight);
  for (int64_t s = 0; s < segment_count; s++)
    for (int64_t i = segments[s].begin; i < segments[s].end; i++) {
      double &parameter = reals(theta)[i], &velocity = reals(v)[i];
      double grad = reals(g)[i] * share;
      if (segments[s].decays) grad += options.weight_decay * parameter;
      velocity = options.momentum * velocity + grad;
      const double update = options.nesterov ? grad + options.momentum * velocity : velocity;
      parameter -= state->learning_rate * update;
    }
}

void lars(Stream&, const View& g, const View& weight, const View& nonfinite, const View& theta,
          const View& v, const Segment* segments, int64_t segment_count, const StepState* state,
          const Lars& options) {
  if (*elements<int32_t>(nonfinite) > 0) return;
  const double share = share_of(weight);
  for (int64_t s = 0; s < segment_count; s++) {
    const double decay = segments[s].decays ? options.weight_decay : 0;
    double local = 1;
    if (segments[s].decays) {
      const double size = norm(theta, segments[s], 1), slope = norm(g, segments[s], share);
      if (size != 0 && slope != 0)
        local = options.trust_coefficient * size / (slope + decay * size + options.epsilon);
    }
    for (int64_t i = segments[s].begin; i < segments[s].end; i++) {
      double &parameter = reals(theta)[i], &velocity = reals(v)[i];
      velocity = options.momentum * velocity +
                 state->learning_rate * local * (reals(g)[i] * share + decay * parameter);
      parameter -= velocity;
    }
  }
}

}  // namespace fulmar::reference
