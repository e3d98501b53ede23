#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

void accumulate(Stream& stream, const View& g, const View& sum, const StepState* state) {
  const bool first = state->micro_batch == 0;
  const V share = hn::Set(D(), static_cast<float>(1.0 / static_cast<double>(state->micro_batches)));
  const float* from = g.as<float>();
  float* to = sum.as<float>();
  for_chunks(
      stream, g.shape.elements(), elementwise_grain, [&](int64_t begin, int64_t end, int) HWY_ATTR {
        if (first)
          transform(
              Cached(), end - begin, to + begin, [&](V x) HWY_ATTR { return hn::Mul(x, share); },
              from + begin);
        else
          transform(
              Cached(), end - begin, to + begin,
              [&](V x, V s) HWY_ATTR { return hn::MulAdd(x, share, s); }, from + begin, to + begin);
      });
}

// The update theta -= decay theta; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
// theta -= rate m / (sqrt(v) * root_scale + epsilon).
struct AdamWFactors {
  float decay, beta1, rest1, beta2, rest2, rate, root_scale, epsilon;
};

struct AdamWState {
  V theta, m, v;
};

HWY_INLINE AdamWState adamw_step(V g, AdamWState s, const AdamWFactors& f) {
  const D d;
  s.m = hn::MulAdd(hn::Set(d, f.rest1), g, hn::Mul(hn::Set(d, f.beta1), s.m));
  s.v = hn::MulAdd(hn::Mul(hn::Set(d, f.rest2), g), g, hn::Mul(hn::Set(d, f.beta2), s.v));
  const V root = hn::MulAdd(hn::Sqrt(s.v), hn::Set(d, f.root_scale), hn::Set(d, f.epsilon));
  s.theta = hn::NegMulAdd(hn::Set(d, f.decay), s.theta, s.theta);
  s.theta = hn::NegMulAdd(hn::Set(d, f.rate), hn::Div(s.m, root), s.theta);
  return s;
}

void adamw_range(const float* g, float* theta, float* m, float* v, int64_t begin, int64_t end,
                 const AdamWFactors& factors) {
  const D d;
  const int64_t step = lanes();
  int64_t i = begin;
  for (; i + step <= end; i += step) {
    const AdamWState s =
        adamw_step(Whole()(g + i), {Whole()(theta + i), Whole()(m + i), Whole()(v + i)}, factors);
    hn::StoreU(s.theta, d, theta + i);
    hn::StoreU(s.m, d, m + i);
    hn::StoreU(s.v, d, v + i);
  }
  if (i == end) return;
  const Part part{end - i};
  const AdamWState s =
      adamw_step(part(g + i), {part(theta + i), part(m + i), part(v + i)}, factors);
  store_part(s.theta, theta + i, end - i);
  store_part(s.m, m + i, end - i);
  store_part(s.v, v + i, end - i);
}

void adamw(Stream& stream, const View& g, const View& theta, const View& m, const View& v,
           const Segment* segments, int64_t segment_count, const StepState* state,
           const AdamW& how) {
  const double lr = state->learning_rate, t = static_cast<double>(state->step);
  const double correct1 = 1 - std::pow(how.beta1, t), correct2 = 1 - std::pow(how.beta2, t);
  const double decay = how.decay_scaled_by_lr ? lr * how.weight_decay : how.weight_decay;
  AdamWFactors factors{};
  factors.beta1 = static_cast<float>(how.beta1);
  factors.rest1 = static_cast<float>(1 - how.beta1);
  factors.beta2 = static_cast<float>(how.beta2);
  factors.rest2 = static_cast<float>(1 - how.beta2);
  factors.rate =
      static_cast<float>(how.keras_epsilon ? lr * std::sqrt(correct2) / correct1 : lr / correct1);
  factors.root_scale = static_cast<float>(how.keras_epsilon ? 1.0 : 1 / std::sqrt(correct2));
  factors.epsilon = static_cast<float>(how.epsilon);

  // Long segments are cut, so that threads share them.
  struct Piece {
    int64_t begin, end;
    bool decays;
  };
  std::vector<Piece> pieces;
  for (int64_t s = 0; s < segment_count; s++)
    for (int64_t at = segments[s].begin; at < segments[s].end; at += elementwise_grain)
      pieces.push_back(
          {at, std::min(segments[s].end, at + elementwise_grain), segments[s].decays != 0});
  for_chunks(stream, static_cast<int64_t>(pieces.size()), 1,
             [&](int64_t begin, int64_t end, int) HWY_ATTR {
               for (int64_t i = begin; i < end; i++) {
                 AdamWFactors own = factors;
                 own.decay = pieces[i].decays ? static_cast<float>(decay) : 0.0f;
                 adamw_range(g.as<float>(), theta.as<float>(), m.as<float>(), v.as<float>(),
                             pieces[i].begin, pieces[i].end, own);
               }
             });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(accumulate);
void accumulate(Stream& stream, const View& g, const View& sum, const StepState* state) {
  HWY_DYNAMIC_DISPATCH(accumulate)(stream, g, sum, state);
}

HWY_EXPORT(adamw);
void adamw(Stream& stream, const View& g, const View& theta, const View& m, const View& v,
           const Segment* segments, int64_t segment_count, const StepState* state,
           const AdamW& how) {
  HWY_DYNAMIC_DISPATCH(adamw)(stream, g, theta, m, v, segments, segment_count, state, how);
}

}  // namespace fulmar::cpu
#endif
