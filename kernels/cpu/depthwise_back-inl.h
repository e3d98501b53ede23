// The inner loop of the depthwise part's gradients in fused kernels. Compiled once per instruction
// set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_DEPTHWISE_BACK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_DEPTHWISE_BACK_INL_H
#undef FULMAR_KERNELS_CPU_DEPTHWISE_BACK_INL_H
#else
#define FULMAR_KERNELS_CPU_DEPTHWISE_BACK_INL_H
#endif

#include <cstdint>

#include "kernels/cpu/separable-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Where the kernel sees which elements of a normalised x relu let through: in x as it was loaded,
// or in x itself, where nothing else needs it loaded.
enum class Mask { none, loaded, from_x };

// What is left to do with rows of dx, and where they go.
template <int rows, class T>
struct Finish {
  const float* skip[rows];  // what a skip adds; may be null
  T* to[rows];
  // Of a normalised x: x itself, its normalisation, whose centre is the mean, and sums of dx and
  // dx (x - mean) by lanes.
  const T* x[rows];
  Affine affine;
  float* sums;
};

// dx and the gradient of the depthwise kernel from the same loads: dx[r][e] = sum over taps of
// dd[r + ky][e + (kx - 1) stride] w, sum[tap] += dd[...] a[r][e]. dd: rows + 2 rows from the one
// above; w and sum belong to the kernel turned by 180 degrees. a: x as it was loaded, for the
// kernel's gradient.
template <int rows, bool weights, Mask mask, class Columns, class T, class Store>
HWY_NOINLINE void depthwise_back(const float* const* dd, const float* const* a, const float* w,
                                 int64_t stride, int64_t period, int64_t floats, float* sum,
                                 const Finish<rows, T>& finish, const Store& store) {
  constexpr bool normalised = mask != Mask::none;
  const D d;
  for (int64_t phase = 0; phase < period; phase += lanes()) {
    V k[taps], s[taps], s0 = hn::Zero(d), s1 = hn::Zero(d);
    AffineLanes<D> affine{};
#pragma GCC unroll 9
    for (int t = 0; t < taps; t++) {
      k[t] = hn::LoadU(d, w + t * period + phase);
      if constexpr (weights) s[t] = hn::LoadU(d, sum + t * period + phase);
    }
    if constexpr (normalised) {
      s0 = hn::LoadU(d, finish.sums + phase);
      s1 = hn::LoadU(d, finish.sums + period + phase);
      affine = finish.affine.at(d, phase);
    }
    Columns columns(dd, stride, phase);
    for (int64_t e = phase; e < floats; e += period) {
      V out[rows], on[rows];
#pragma GCC unroll 2
      for (int r = 0; r < rows; r++) {
        out[r] = hn::Zero(d);
        if constexpr (weights || mask == Mask::loaded) on[r] = hn::LoadU(d, a[r] + e);
      }
#pragma GCC unroll 4
      for (int r = 0; r < rows + 2; r++) {
        V v[3];
        columns.read(r, e, v);
#pragma GCC unroll 3
        for (int c = 0; c < 3; c++) {
#pragma GCC unroll 2
          for (int o = 0; o < rows; o++)
            if (r >= o && r - o < 3) {
              const int t = (r - o) * 3 + c;
              out[o] = hn::MulAdd(v[c], k[t], out[o]);
              if constexpr (weights) s[t] = hn::MulAdd(v[c], on[o], s[t]);
            }
        }
      }
#pragma GCC unroll 2
      for (int r = 0; r < rows; r++) {
        V v = out[r];
        if (finish.skip[r]) v = hn::Add(v, hn::LoadU(d, finish.skip[r] + e));
        if constexpr (normalised) {
          const V x = load_vector(d, finish.x[r] + e);
          if constexpr (mask == Mask::from_x) {
            on[r] = affine(x);
            hwy::Prefetch(finish.x[r] + 2 * floats + e);  // no one else reads the next rows
          }
          // Where relu gave 0 nothing comes through; NaN lets it through.
          v = hn::IfThenZeroElse(hn::Le(on[r], hn::Zero(d)), v);
          s0 = hn::Add(s0, v);
          s1 = hn::MulAdd(v, hn::Sub(x, affine.centre), s1);
        }
        store(v, finish.to[r] + e);
      }
    }
    if constexpr (weights) {
#pragma GCC unroll 9
      for (int t = 0; t < taps; t++) hn::StoreU(s[t], d, sum + t * period + phase);
    }
    if constexpr (normalised) {
      hn::StoreU(s0, d, finish.sums + phase);
      hn::StoreU(s1, d, finish.sums + period + phase);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
