#include <array>
#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

void accumulate(Stream& stream, const View& g, const View& sum, const StepState* state) {
  const bool first = state->micro_batch == 0;
  const float* from = g.as<float>();
  float* to = sum.as<float>();
  for_chunks(
      stream, g.shape.elements(), elementwise_grain, [&](int64_t begin, int64_t end, int) HWY_ATTR {
        if (first)
          transform(
              Cached(), end - begin, to + begin, [](V x) HWY_ATTR { return x; }, from + begin);
        else
          transform(
              Cached(), end - begin, to + begin, [](V x, V s) HWY_ATTR { return hn::Add(x, s); },
              from + begin, to + begin);
      });
}

// What a sum of gradients is multiplied by.
float share_of(const View& weight) {
  const float value = *weight.as<float>();
  return value <= 0 ? 0 : 1 / value;
}

bool is_refused(const View& nonfinite) { return *nonfinite.as<int32_t>() > 0; }

// A part of a segment: long ones are cut, so that threads share them.
struct SegmentPiece {
  int64_t begin, end, segment;
};

Scratch<SegmentPiece> segment_pieces(const Segment* segments, int64_t segment_count) {
  Scratch<SegmentPiece> pieces;
  for (int64_t s = 0; s < segment_count; s++)
    for (int64_t at = segments[s].begin; at < segments[s].end; at += elementwise_grain)
      pieces.push_back({at, std::min(segments[s].end, at + elementwise_grain), s});
  return pieces;
}

// rule.step(g, state): a vector of gradients, and of the arenas that change.
template <size_t count, class Rule>
HWY_INLINE void update_piece(const SegmentPiece& piece, const float* g,
                             const std::array<float*, count>& arenas, const Rule& rule) {
  const D d;
  const int64_t step = lanes();
  V state[count];
  int64_t i = piece.begin;
  for (; i + step <= piece.end; i += step) {
    for (size_t k = 0; k < count; k++) state[k] = Whole()(arenas[k] + i);
    rule.step(Whole()(g + i), state);
    for (size_t k = 0; k < count; k++) hn::StoreU(state[k], d, arenas[k] + i);
  }
  if (i == piece.end) return;
  const Part part{piece.end - i};
  for (size_t k = 0; k < count; k++) state[k] = part(arenas[k] + i);
  rule.step(part(g + i), state);
  for (size_t k = 0; k < count; k++) store_part(state[k], arenas[k] + i, piece.end - i);
}

// rule_of(segment): the rule of a segment's elements.
template <size_t count, class RuleOf>
void update_pieces(Stream& stream, const Scratch<SegmentPiece>& pieces, const View& g,
                   const std::array<float*, count>& arenas, const RuleOf& rule_of) {
  for_chunks(stream, static_cast<int64_t>(pieces.size()), 1,
             [&](int64_t begin, int64_t end, int) HWY_ATTR {
               for (int64_t i = begin; i < end; i++)
                 update_piece(pieces[i], g.as<float>(), arenas, rule_of(pieces[i].segment));
             });
}

// theta -= decay theta; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
// theta -= rate m / (sqrt(v) root_scale + epsilon).
struct AdamWRule {
  float share, decay, beta1, rest1, beta2, rest2, rate, root_scale, epsilon;

  HWY_INLINE void step(V sum, V* state) const {
    const D d;
    V &theta = state[0], &m = state[1], &v = state[2];
    const V g = hn::Mul(sum, hn::Set(d, share));
    m = hn::MulAdd(hn::Set(d, rest1), g, hn::Mul(hn::Set(d, beta1), m));
    v = hn::MulAdd(hn::Mul(hn::Set(d, rest2), g), g, hn::Mul(hn::Set(d, beta2), v));
    const V root = hn::MulAdd(hn::Sqrt(v), hn::Set(d, root_scale), hn::Set(d, epsilon));
    theta = hn::NegMulAdd(hn::Set(d, decay), theta, theta);
    theta = hn::NegMulAdd(hn::Set(d, rate), hn::Div(m, root), theta);
  }
};

void adamw(Stream& stream, const View& g, const View& weight, const View& nonfinite,
           const View& theta, const View& m, const View& v, const Segment* segments,
           int64_t segment_count, const StepState* state, const AdamW& how) {
  if (is_refused(nonfinite)) return;
  const double lr = state->learning_rate, t = static_cast<double>(state->step);
  const double correct1 = 1 - std::pow(how.beta1, t), correct2 = 1 - std::pow(how.beta2, t);
  const auto decay =
      static_cast<float>(how.decay_scaled_by_lr ? lr * how.weight_decay : how.weight_decay);
  AdamWRule rule{};
  rule.share = share_of(weight);
  rule.beta1 = static_cast<float>(how.beta1);
  rule.rest1 = static_cast<float>(1 - how.beta1);
  rule.beta2 = static_cast<float>(how.beta2);
  rule.rest2 = static_cast<float>(1 - how.beta2);
  rule.rate =
      static_cast<float>(how.keras_epsilon ? lr * std::sqrt(correct2) / correct1 : lr / correct1);
  rule.root_scale = static_cast<float>(how.keras_epsilon ? 1.0 : 1 / std::sqrt(correct2));
  rule.epsilon = static_cast<float>(how.epsilon);
  update_pieces<3>(stream, segment_pieces(segments, segment_count), g,
                   {theta.as<float>(), m.as<float>(), v.as<float>()}, [&](int64_t segment) {
                     AdamWRule own = rule;
                     own.decay = segments[segment].decays ? decay : 0.0f;
                     return own;
                   });
}

// d = g + decay theta; v = momentum v + d; theta -= lr (nesterov ? d + momentum v : v)
struct SgdRule {
  float share, decay, momentum, rate;
  bool nesterov;

  HWY_INLINE void step(V sum, V* state) const {
    const D d;
    V &theta = state[0], &v = state[1];
    const V g = hn::MulAdd(hn::Set(d, decay), theta, hn::Mul(sum, hn::Set(d, share)));
    v = hn::MulAdd(hn::Set(d, momentum), v, g);
    const V update = nesterov ? hn::MulAdd(hn::Set(d, momentum), v, g) : v;
    theta = hn::NegMulAdd(hn::Set(d, rate), update, theta);
  }
};

void sgd(Stream& stream, const View& g, const View& weight, const View& nonfinite,
         const View& theta, const View& v, const Segment* segments, int64_t segment_count,
         const StepState* state, const Sgd& how) {
  if (is_refused(nonfinite)) return;
  const SgdRule rule{share_of(weight), 0, static_cast<float>(how.momentum),
                     static_cast<float>(state->learning_rate), how.nesterov};
  update_pieces<2>(stream, segment_pieces(segments, segment_count), g,
                   {theta.as<float>(), v.as<float>()}, [&](int64_t segment) {
                     SgdRule own = rule;
                     if (segments[segment].decays) own.decay = static_cast<float>(how.weight_decay);
                     return own;
                   });
}

// The sum of the squares of x[begin, end).
HWY_INLINE double squares_of(const float* x, int64_t begin, int64_t end) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const auto step = static_cast<int64_t>(hn::Lanes(wide));
  auto sum0 = hn::Zero(wide), sum1 = hn::Zero(wide);
  int64_t i = begin;
  for (; i + 2 * step <= end; i += 2 * step) {
    const auto a = hn::PromoteTo(wide, hn::LoadU(narrow, x + i));
    const auto b = hn::PromoteTo(wide, hn::LoadU(narrow, x + i + step));
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  double sum = hn::GetLane(hn::SumOfLanes(wide, hn::Add(sum0, sum1)));
  for (; i < end; i++) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

// v = momentum v + rate (g + decay theta); theta -= v
struct LarsRule {
  float share, decay, momentum, rate;

  HWY_INLINE void step(V sum, V* state) const {
    const D d;
    V &theta = state[0], &v = state[1];
    const V g = hn::MulAdd(hn::Set(d, decay), theta, hn::Mul(sum, hn::Set(d, share)));
    v = hn::MulAdd(hn::Set(d, rate), g, hn::Mul(hn::Set(d, momentum), v));
    theta = hn::Sub(theta, v);
  }
};

void lars(Stream& stream, const View& g, const View& weight, const View& nonfinite,
          const View& theta, const View& v, const Segment* segments, int64_t segment_count,
          const StepState* state, const Lars& how) {
  if (is_refused(nonfinite)) return;
  struct Squares {
    double theta = 0, g = 0;
  };
  const Scratch<SegmentPiece> pieces = segment_pieces(segments, segment_count);
  Scratch<Squares> parts(pieces.size()), sums(static_cast<size_t>(segment_count));
  for_chunks(stream, static_cast<int64_t>(pieces.size()), 1,
             [&](int64_t begin, int64_t end, int) HWY_ATTR {
               for (int64_t i = begin; i < end; i++) {
                 const SegmentPiece& p = pieces[i];
                 if (!segments[p.segment].decays) continue;
                 parts[i] = {squares_of(theta.as<float>(), p.begin, p.end),
                             squares_of(g.as<float>(), p.begin, p.end)};
               }
             });
  // In the pieces' order, whichever thread took them.
  for (size_t i = 0; i < pieces.size(); i++) {
    Squares& sum = sums[pieces[i].segment];
    sum.theta += parts[i].theta;
    sum.g += parts[i].g;
  }
  const float share = share_of(weight);
  update_pieces<2>(stream, pieces, g, {theta.as<float>(), v.as<float>()}, [&](int64_t segment) {
    LarsRule rule{share, 0, static_cast<float>(how.momentum), 0};
    double local = 1;
    if (segments[segment].decays) {
      rule.decay = static_cast<float>(how.weight_decay);
      const double size = std::sqrt(sums[segment].theta);
      const double slope = static_cast<double>(share) * std::sqrt(sums[segment].g);
      if (size != 0 && slope != 0)
        local = how.trust_coefficient * size / (slope + how.weight_decay * size + how.epsilon);
    }
    rule.rate = static_cast<float>(state->learning_rate * local);
    return rule;
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
void adamw(Stream& stream, const View& g, const View& weight, const View& nonfinite,
           const View& theta, const View& m, const View& v, const Segment* segments,
           int64_t segment_count, const StepState* state, const AdamW& how) {
  HWY_DYNAMIC_DISPATCH(adamw)
  (stream, g, weight, nonfinite, theta, m, v, segments, segment_count, state, how);
}

HWY_EXPORT(sgd);
void sgd(Stream& stream, const View& g, const View& weight, const View& nonfinite,
         const View& theta, const View& v, const Segment* segments, int64_t segment_count,
         const StepState* state, const Sgd& how) {
  HWY_DYNAMIC_DISPATCH(sgd)
  (stream, g, weight, nonfinite, theta, v, segments, segment_count, state, how);
}

HWY_EXPORT(lars);
void lars(Stream& stream, const View& g, const View& weight, const View& nonfinite,
          const View& theta, const View& v, const Segment* segments, int64_t segment_count,
          const StepState* state, const Lars& how) {
  HWY_DYNAMIC_DISPATCH(lars)
  (stream, g, weight, nonfinite, theta, v, segments, segment_count, state, how);
}

}  // namespace fulmar::cpu
#endif
