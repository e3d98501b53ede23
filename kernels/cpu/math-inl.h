// A SIMD vector as a number, for pointwise_functors.inc.
#if defined(FULMAR_KERNELS_CPU_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_MATH_INL_H
#undef FULMAR_KERNELS_CPU_MATH_INL_H
#else
#define FULMAR_KERNELS_CPU_MATH_INL_H
#endif

#include <limits>

#include "hwy/contrib/math/math-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

struct Number {
  V v;
  HWY_INLINE Number(V value) : v(value) {}
  HWY_INLINE explicit Number(double value) : v(hn::Set(D(), static_cast<float>(value))) {}

  friend HWY_INLINE Number operator+(Number a, Number b) { return hn::Add(a.v, b.v); }
  friend HWY_INLINE Number operator-(Number a, Number b) { return hn::Sub(a.v, b.v); }
  friend HWY_INLINE Number operator*(Number a, Number b) { return hn::Mul(a.v, b.v); }
  friend HWY_INLINE Number operator/(Number a, Number b) { return hn::Div(a.v, b.v); }
  friend HWY_INLINE Number operator-(Number a) { return hn::Neg(a.v); }

  friend HWY_INLINE Number abs(Number a) { return hn::Abs(a.v); }
  friend HWY_INLINE Number sqrt(Number a) { return hn::Sqrt(a.v); }
  friend HWY_INLINE Number gate(Number x, Number a) {
    return hn::IfThenZeroElse(hn::Le(x.v, hn::Zero(D())), a.v);
  }

  // Highway's functions hold on a domain; beyond it this code gives their limits. They convert
  // their argument to an integer, undefined for NaN: so this code takes NaN out and puts it back.
  static HWY_INLINE V bounded(V a, float low, float high) {
    const D d;
    const V number = hn::IfThenZeroElse(hn::IsNaN(a), a);
    return hn::Min(hn::Max(number, hn::Set(d, low)), hn::Set(d, high));
  }
  friend HWY_INLINE Number exp(Number a) {
    const V result = hn::Exp(D(), bounded(a.v, -200.0f, 104.0f));
    return hn::IfThenElse(hn::IsNaN(a.v), a.v, result);
  }
  friend HWY_INLINE Number expm1(Number a) {
    const V result = hn::Expm1(D(), bounded(a.v, -200.0f, 104.0f));
    return hn::IfThenElse(hn::IsNaN(a.v), a.v, result);
  }
  friend HWY_INLINE Number log(Number a) {
    const D d;
    const V zero = hn::Zero(d);
    const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
    const V nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
    const V beyond = hn::IfThenElse(hn::Eq(a.v, zero), hn::Neg(infinity),
                                    hn::IfThenElse(hn::Lt(a.v, zero), nan, a.v));
    const auto inside = hn::And(hn::Gt(a.v, zero), hn::Lt(a.v, infinity));
    return hn::IfThenElse(inside, hn::Log(d, hn::IfThenElse(inside, a.v, hn::Set(d, 1.0f))),
                          beyond);
  }
  friend HWY_INLINE Number log1p(Number a) {
    const D d;
    const V least = hn::Set(d, -1.0f);
    const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
    const V nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
    const V beyond = hn::IfThenElse(hn::Eq(a.v, least), hn::Neg(infinity),
                                    hn::IfThenElse(hn::Lt(a.v, least), nan, a.v));
    const auto inside = hn::And(hn::Gt(a.v, least), hn::Lt(a.v, infinity));
    return hn::IfThenElse(inside, hn::Log1p(d, hn::IfThenElseZero(inside, a.v)), beyond);
  }
  friend HWY_INLINE Number tanh(Number a) {
    const V result = hn::Tanh(D(), bounded(a.v, -20.0f, 20.0f));  // 1 in float from 9.02 on
    return hn::IfThenElse(hn::IsNaN(a.v), a.v, result);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
