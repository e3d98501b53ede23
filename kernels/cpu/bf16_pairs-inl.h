// Products of bf16 by the processor's own instruction, which adds up two of them in float: rows and
// weights are pairs of inputs, each in the place of a float. Where vectors have 16 lanes. Compiled
// once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_BF16_PAIRS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_BF16_PAIRS_INL_H
#undef FULMAR_KERNELS_CPU_BF16_PAIRS_INL_H
#else
#define FULMAR_KERNELS_CPU_BF16_PAIRS_INL_H
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cpu/pack-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Whether a product of so many inputs may be one of pairs. No target of Highway 1.0.3 says so.
inline bool multiplies_pairs([[maybe_unused]] int64_t inputs) {
#if HWY_TARGET == HWY_AVX3
  static const bool has = __builtin_cpu_supports("avx512bf16") != 0;
  return has && inputs % 2 == 0;
#else
  return false;
#endif
}

HWY_INLINE uint32_t pair_of(float first, float second) {
  return uint32_t{to_bf16(first).bits} | uint32_t{to_bf16(second).bits} << 16;
}

// A panel as pack_panel makes it, of pairs: columns [c, c + width) of w [depth, columns].
inline void pack_panel_of_pairs(const float* w, int64_t depth, int64_t columns, int64_t c,
                                uint32_t* to) {
  const int64_t width = panel_width(columns - c), used = std::min(width, columns - c);
  for (int64_t k = 0; k < depth; k += 2, to += width) {
    const float* const row = w + k * columns + c;
    for (int64_t i = 0; i < used; i++) to[i] = pair_of(row[i], row[columns + i]);
    std::fill(to + used, to + width, 0);
  }
}

#if HWY_TARGET == HWY_AVX3

// By their names: the compiler doesn't compile this namespace for processors that have them.
struct MultiplyPairs {
  template <class V>
  static HWY_INLINE V add(V x, V right, V sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(right.raw), "v"(x.raw));
    return sum;
  }
};

// to[i]: bf16 of `count` floats, in whole vectors.
HWY_INLINE void round_run(const float* from, int64_t count, uint16_t* to) {
  const D d;
  const hn::Rebind<uint16_t, D> half;
  const hn::Repartition<uint16_t, D> whole;
  int64_t i = 0;
  for (; i + 2 * lanes() <= count; i += 2 * lanes()) {
    const V low = hn::LoadU(d, from + i), high = hn::LoadU(d, from + i + lanes());
    hn::Vec<decltype(whole)> both;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(both.raw) : "v"(low.raw), "v"(high.raw));
    hn::StoreU(both, whole, to + i);
  }
  for (; i < count; i += lanes()) {
    const V v = hn::LoadU(d, from + i);
    hn::Vec<decltype(half)> rounded;
    asm("vcvtneps2bf16 %1, %0" : "=v"(rounded.raw) : "v"(v.raw));
    hn::StoreU(rounded, half, to + i);
  }
}

// Pixels of `inputs` floats, `step` apart, as pairs without gaps. Up to a vector behind the last
// pixel is read and written.
HWY_NOINLINE inline void round_pixels(const float* from, int64_t step, int64_t pixels,
                                      int64_t inputs, uint16_t* to) {
  if (step == inputs) return round_run(from, pixels * inputs, to);
  for (int64_t p = 0; p < pixels; p++) round_run(from + p * step, inputs, to + p * inputs);
}

// Zipped columns of an even number of channels, `step` floats apart, as pairs of channels without
// gaps.
HWY_NOINLINE inline void round_columns(const float* from, int64_t step, int64_t columns,
                                       int64_t channels, uint32_t* to) {
  const D d;
  const hn::Repartition<uint16_t, D> halves;
  HWY_ALIGN static constexpr uint16_t by_turns[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const auto order = hn::Load(halves, by_turns);
  for (int64_t i = 0; i < columns; i++, from += step)
    for (int64_t c = 0; c < channels; c += 2, to += lanes()) {
      const V low = hn::Load(d, from + c * lanes()), high = hn::Load(d, from + (c + 1) * lanes());
      hn::Vec<decltype(halves)> both;
      asm("vcvtne2ps2bf16 %1, %2, %0\n\tvpermw %0, %3, %0"
          : "=&v"(both.raw)
          : "v"(low.raw), "v"(high.raw), "v"(order.raw));
      hn::Store(both, halves, reinterpret_cast<uint16_t*>(to));
    }
}

// y of 16 outputs = bias + x w for `rows` pixels of `depth` pairs; of a zipped column, whose pairs
// are vectors apart, or of pixels that follow one another. place(m): where pixel m goes.
template <int rows, int depth, bool zipped, class Place>
HWY_INLINE void multiply_to_16(const float* x, const V (&w)[depth], V bias, bool relu,
                               const Place& place) {
  const D d;
  V sum[rows];
#pragma GCC unroll 8
  for (int m = 0; m < rows; m++) sum[m] = bias;
#pragma GCC unroll 8
  for (int k = 0; k < depth; k++) {
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++)
      asm("vdpbf16ps %2%{1to16%}, %1, %0"
          : "+v"(sum[m].raw)
          : "v"(w[k].raw), "m"(x[zipped ? k * 16 + m : m * depth + k]));
  }
#pragma GCC unroll 8
  for (int m = 0; m < rows; m++) {
    const V y = relu ? hn::IfThenZeroElse(hn::Le(sum[m], hn::Zero(d)), sum[m]) : sum[m];
    hn::StoreU(y, d, place(m));
  }
}

// The same for any number of pixels. Weights stay in registers, so a pair is an operand in memory:
// a load apart for each product took as long as the product (Zen 4).
template <int depth, bool zipped, class Place>
HWY_NOINLINE void multiply_all_to_16(const float* x, int64_t pixels, const float* weight,
                                     const float* bias, bool relu, const Place& place) {
  constexpr int wide = 8;
  const V b = hn::LoadU(D(), bias);
  V w[depth];
#pragma GCC unroll 8
  for (int k = 0; k < depth; k++) w[k] = hn::LoadU(D(), weight + k * 16);
  const auto at = [&](int64_t p) {
    return zipped ? x + p / 16 * (16 * depth) + p % 16 : x + p * depth;
  };
  int64_t p = 0;
  for (; p + wide <= pixels; p += wide)
    multiply_to_16<wide, depth, zipped>(at(p), w, b, relu, [&](int m) { return place(p + m); });
  for (; p < pixels; p++)
    multiply_to_16<1, depth, zipped>(at(p), w, b, relu, [&](int) { return place(p); });
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
