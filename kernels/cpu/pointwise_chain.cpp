#include <algorithm>
#include <cstdint>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/pointwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pointwise_chain.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/repeats-inl.h"
#include "kernels/cpu/stores-inl.h"

// Pointwise functions one after the other on a piece that stays in L1: memory is read and written
// once for all of them.

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

#define FULMAR_INLINE HWY_INLINE
#include "kernels/pointwise_functors.inc"
#undef FULMAR_INLINE

// Elements of a piece: of ten values it is 20 KiB.
constexpr int64_t chain_elements = 512;

// y[i] = f(a[i], b[i])
template <class F>
void apply_piece(const float* a, const float* b, int64_t n, double alpha_value, double beta_value,
                 float* y) {
  const Number alpha(alpha_value), beta(beta_value);
  if constexpr (F::arity == 2)
    transform(
        Cached(), n, y,
        [&](V u, V v) HWY_ATTR { return F::f(Number(u), Number(v), alpha, beta).v; }, a, b);
  else
    transform(
        Cached(), n, y, [&](V u) HWY_ATTR { return F::f(Number(u), alpha, beta).v; }, a);
}

using ApplyPiece = void (*)(const float*, const float*, int64_t, double, double, float*);
#define FULMAR_APPLY(F) &apply_piece<F>,
constexpr ApplyPiece piece_functions[] = {FULMAR_POINTWISE(FULMAR_APPLY)};
#undef FULMAR_APPLY

// An operand of a chain: it lies as the result does, or repeats.
class ChainOperand {
 public:
  ChainOperand(const View& x, const View& y)
      : x_(x.as<float>()),
        repeats_(x.shape.elements() != y.shape.elements()),
        blocks_(x.shape, x.shape, y.shape),
        repeated_(blocks_, 0) {}

  // Up to where one piece from element `i` on may reach.
  HWY_INLINE int64_t end(int64_t i) const {
    return repeats_ ? (i / blocks_.elements() + 1) * blocks_.elements() : INT64_MAX;
  }
  HWY_INLINE const float* piece(int64_t i, int64_t n) {
    if (!repeats_) return x_ + i;
    const int64_t block = i / blocks_.elements();
    repeated_.take(x_ + blocks_.begin(block, 0));
    return repeated_.piece(i - block * blocks_.elements(), n);
  }

 private:
  const float* x_;
  bool repeats_;
  RepeatedBlocks blocks_;
  RepeatedOperand repeated_;
};

void pointwise_chain_target(Stream& stream, std::span<const View> x,
                            std::span<const ChainStep> steps, std::span<const View> y) {
  const View& whole = y[0];
  const size_t bytes = (steps.size() * chain_elements) * sizeof(float);
  for_chunks(stream, whole.shape.elements(), elementwise_grain,
             [&](int64_t begin, int64_t end, int worker) HWY_ATTR {
               auto* const memory = static_cast<float*>(stream.pool->scratch(worker, bytes));
               Scratch<ChainOperand> operands;
               operands.reserve(x.size());
               for (const View& each : x) operands.emplace_back(each, whole);
               Scratch<const float*> values(x.size() + steps.size());
               for (int64_t i = begin; i < end;) {
                 int64_t stop = std::min(end, i + chain_elements);
                 for (const ChainOperand& operand : operands) stop = std::min(stop, operand.end(i));
                 const int64_t n = stop - i;
                 for (size_t k = 0; k < x.size(); k++) values[k] = operands[k].piece(i, n);
                 for (size_t s = 0; s < steps.size(); s++) {
                   const ChainStep& step = steps[s];
                   const float* const a = values[static_cast<size_t>(step.x[0])];
                   const float* const b =
                       step.x[1] < 0 ? a : values[static_cast<size_t>(step.x[1])];
                   float* const to = memory + static_cast<int64_t>(s) * chain_elements;
                   piece_functions[step.functor](a, b, n, step.alpha, step.beta, to);
                   values[x.size() + s] = to;
                 }
                 // An output may be an operand of a later step: so all are written at last.
                 for (size_t s = 0; s < steps.size(); s++) {
                   if (steps[s].y < 0) continue;
                   const View& out = y[static_cast<size_t>(steps[s].y)];
                   with_stores(out, [&](auto store) HWY_ATTR {
                     const auto copy = [](V v) HWY_ATTR { return v; };
                     if (i % lanes() == 0)
                       transform(PartOf<decltype(store)>(), n, out.as<float>() + i, copy,
                                 values[x.size() + s]);
                     else
                       transform(Cached(), n, out.as<float>() + i, copy, values[x.size() + s]);
                   });
                 }
                 i = stop;
               }
               hwy::FlushStream();
             });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(pointwise_chain_target);
void pointwise_chain(Stream& stream, std::span<const View> x, std::span<const ChainStep> steps,
                     std::span<const View> y) {
  HWY_DYNAMIC_DISPATCH(pointwise_chain_target)(stream, x, steps, y);
}

}  // namespace fulmar::cpu
#endif
