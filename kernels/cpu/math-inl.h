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
  // Within 1.5 units in the last place. Where |x| < 1: x + x P(x^2). Beyond: 1 - exp(-Q(|x|)), Q
  // fitted to -log(erfc) up to 3.92, from where on erf is 1 in float. Both are minimax polynomials
  // by Lawson's weighted least squares, with relative errors of 1.2e-9 and 1.1e-9.
  friend HWY_INLINE Number erf(Number a) {
    const D d;
    const V x = a.v, one = hn::Set(d, 1.0f), size = hn::Abs(x);
    const V near = hn::MulAdd(
        x,
        polynomial(hn::Mul(x, x), {0.128379166f, -0.37612626f, 0.112835847f, -0.0268538073f,
                                   0.00518831797f, -0.000801010174f, 7.85352895e-5f}),
        x);
    const V exponent = polynomial(hn::Min(size, hn::Set(d, 4.0f)),
                                  {0.000341517531f, 1.12708926f, 0.638144791f, 0.103106782f,
                                   -0.0218380783f, 0.00294766179f, -0.000186379533f});
    const V far = hn::CopySign(hn::Sub(one, exp(Number(hn::Neg(exponent))).v), x);
    return hn::IfThenElse(hn::Ge(size, one), far, near);  // a NaN is in `near`
  }
  // 1 - erf(x), with a relative error of at most 4e-7 + 1.2e-7 x^2: for x >= 0 it is
  // t exp(-x^2 + P(t - 1/2)), t = 1 / (1 + x/2) (the form of Press et al., Numerical Recipes, 6.2),
  // P a minimax polynomial as above, with an error of 4.6e-8.
  friend HWY_INLINE Number erfc(Number a) {
    const D d;
    const V x = a.v, one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f), size = hn::Abs(x);
    const V t = hn::Div(one, hn::MulAdd(half, size, one));
    const V p =
        polynomial(hn::Sub(t, half),
                   {-0.671794057f, 1.34528553f, 0.189364806f, -0.375067711f, -0.157593235f,
                    0.279384524f, 0.107883476f, -0.262049139f, -0.0269318484f, 0.142945096f});
    const V right = hn::Mul(t, exp(Number(hn::NegMulAdd(size, size, p))).v);
    return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Sub(hn::Set(d, 2.0f), right), right);
  }

 private:
  // c[0] + c[1] x + c[2] x^2 + …
  template <size_t count>
  static HWY_INLINE V polynomial(V x, const float (&c)[count]) {
    V sum = hn::Set(D(), c[count - 1]);
    for (size_t i = count - 1; i-- > 0;) sum = hn::MulAdd(sum, x, hn::Set(D(), c[i]));
    return sum;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
