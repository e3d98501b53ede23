#include "kernels/pointwise.h"

#include <string>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pointwise.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/repeats-inl.h"
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

#define FULMAR_INLINE HWY_INLINE
#include "kernels/pointwise_functors.inc"
#undef FULMAR_INLINE

// y[i] = op(a[..], b[..]) where an operand repeats.
template <class Op>
void apply_repeated(Stream& stream, const View& a, const View& b, const View& y, const Op& op) {
  const RepeatedBlocks blocks(a.shape, b.shape, y.shape);
  const auto apply_with = [&](auto store) HWY_ATTR {
    for_chunks(stream, y.shape.elements(), elementwise_grain,
               [&](int64_t begin, int64_t end, int) HWY_ATTR {
                 for_pieces(blocks, a.as<float>(), b.as<float>(), begin, end,
                            [&](int64_t i, int64_t n, const float* u, const float* v) HWY_ATTR {
                              transform(PartOf<decltype(store)>(), n, y.as<float>() + i, op, u, v);
                            });
                 store.finish();
               });
  };
  if (blocks.at_whole_vectors())
    with_stores(y, apply_with);
  else
    apply_with(Cached());
}

template <class F>
void apply(Stream& stream, std::span<const View> x, const View& y, double alpha_value,
           double beta_value) {
  const Number alpha(alpha_value), beta(beta_value);
  float* out = y.as<float>();
  const float* a = x[0].as<float>();
  const float* b = F::arity == 2 ? x[1].as<float>() : nullptr;
  if constexpr (F::arity == 2) {
    if (any_repeats(x[0].shape, x[1].shape, y.shape))
      return apply_repeated(stream, x[0], x[1], y, [&](V u, V v) HWY_ATTR {
        return F::f(Number(u), Number(v), alpha, beta).v;
      });
  }
  with_stores(y, [&](auto store) HWY_ATTR {
    for_chunks(stream, y.shape.elements(), elementwise_grain,
               [&](int64_t begin, int64_t end, int) HWY_ATTR {
                 if constexpr (F::arity == 2) {
                   const auto op = [&](V u, V v) HWY_ATTR {
                     return F::f(Number(u), Number(v), alpha, beta).v;
                   };
                   transform(store, end - begin, out + begin, op, a + begin, b + begin);
                 } else {
                   const auto op = [&](V u) HWY_ATTR { return F::f(Number(u), alpha, beta).v; };
                   transform(store, end - begin, out + begin, op, a + begin);
                 }
               });
  });
}

template <class F>
void apply_grad(Stream& stream, const View& saved, const View& dy, const View& dx,
                double alpha_value, double beta_value) {
  if constexpr (F::arity == 1) {
    const Number alpha(alpha_value), beta(beta_value);
    const float* g = dy.as<float>();
    // A function that saves nothing gets dy in its place, and does not look at it.
    const float* s = F::saved == ::fulmar::pointwise::Saved::none ? g : saved.as<float>();
    float* out = dx.as<float>();
    const auto op = [&](V u, V v) HWY_ATTR { return F::df(Number(u), Number(v), alpha, beta).v; };
    with_stores(dx, [&](auto store) HWY_ATTR {
      for_chunks(stream, dx.shape.elements(), elementwise_grain,
                 [&](int64_t begin, int64_t end, int) HWY_ATTR {
                   transform(store, end - begin, out + begin, op, s + begin, g + begin);
                 });
    });
  } else {
    usage_error(std::string("pointwise_grad: '") + F::name +
                "' has two arguments; its gradient is made of other ops");
  }
}

using Apply = void (*)(Stream&, std::span<const View>, const View&, double, double);
using ApplyGrad = void (*)(Stream&, const View&, const View&, const View&, double, double);

#define FULMAR_APPLY(F) &apply<F>,
#define FULMAR_APPLY_GRAD(F) &apply_grad<F>,
constexpr Apply functions[] = {FULMAR_POINTWISE(FULMAR_APPLY)};
constexpr ApplyGrad gradients[] = {FULMAR_POINTWISE(FULMAR_APPLY_GRAD)};
#undef FULMAR_APPLY
#undef FULMAR_APPLY_GRAD

void pointwise(Stream& stream, int functor, std::span<const View> x, const View& y, double alpha,
               double beta) {
  functions[functor](stream, x, y, alpha, beta);
}

void pointwise_grad(Stream& stream, int functor, const View& saved, const View& dy, const View& dx,
                    double alpha, double beta) {
  gradients[functor](stream, saved, dy, dx, alpha, beta);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

namespace {

// Sums over pixels are few: plain code does.
void add_sums(Stream& stream, const double* a, const double* b, const View& y) {
  auto* const out = y.as<double>();
  for_chunks(stream, y.shape.elements(), elementwise_grain, [=](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) out[i] = a[i] + b[i];
  });
}

}  // namespace

HWY_EXPORT(pointwise);
void pointwise(Stream& stream, int functor, std::span<const View> x, const View& y, double alpha,
               double beta) {
  if (y.type == DType::f64) {
    if (functor != functor_Add) usage_error("pointwise: of functions, only add takes f64");
    return add_sums(stream, x[0].as<double>(), x[1].as<double>(), y);
  }
  HWY_DYNAMIC_DISPATCH(pointwise)(stream, functor, x, y, alpha, beta);
}

HWY_EXPORT(pointwise_grad);
void pointwise_grad(Stream& stream, int functor, const View& saved, const View& dy, const View& dx,
                    double alpha, double beta) {
  HWY_DYNAMIC_DISPATCH(pointwise_grad)(stream, functor, saved, dy, dx, alpha, beta);
}

}  // namespace fulmar::cpu
#endif
