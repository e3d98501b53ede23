// The depthwise part of inference: tiles of two rows and four columns share what they load.
// Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_DEPTHWISE_TILES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_DEPTHWISE_TILES_INL_H
#undef FULMAR_KERNELS_CPU_DEPTHWISE_TILES_INL_H
#else
#define FULMAR_KERNELS_CPU_DEPTHWISE_TILES_INL_H
#endif

#include "kernels/cpu/separable-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Whether the registers hold 9 weights and the 8 sums of a tile.
constexpr bool depthwise_in_tiles = HWY_TARGET == HWY_AVX3;

// As depthwise_rows<2> of `columns` columns, a multiple of 4, of `stride` floats, whole vectors.
inline HWY_NOINLINE void depthwise_tiles(const float* const* x, const float* w, int64_t stride,
                                         int64_t columns, float* y, int64_t y_row) {
  constexpr int wide = 4;
  const D d;
  for (int64_t phase = 0; phase < stride; phase += lanes()) {
    V k[taps];
#pragma GCC unroll 9
    for (int t = 0; t < taps; t++) k[t] = hn::LoadU(d, w + t * stride + phase);
    const float* row[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) row[r] = x[r] - stride + phase;
    float* to = y + phase;
    for (int64_t i = 0; i < columns; i += wide, to += wide * stride) {
      V sum[2][wide];
#pragma GCC unroll 4
      for (int u = 0; u < wide; u++) sum[0][u] = sum[1][u] = hn::Zero(d);
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
#pragma GCC unroll 6
        for (int c = 0; c < wide + 2; c++) {
          const V v = hn::LoadU(d, row[r] + c * stride);
#pragma GCC unroll 2
          for (int o = 0; o < 2; o++) {
#pragma GCC unroll 4
            for (int u = 0; u < wide; u++)
              if (r >= o && r - o < 3 && c >= u && c - u < 3)
                sum[o][u] = hn::MulAdd(v, k[(r - o) * 3 + c - u], sum[o][u]);
          }
        }
        row[r] += wide * stride;
      }
#pragma GCC unroll 4
      for (int u = 0; u < wide; u++) {
        hn::StoreU(sum[0][u], d, to + u * stride);
        hn::StoreU(sum[1][u], d, to + y_row + u * stride);
      }
    }
  }
}

// As depthwise_segment.
template <class Rows>
HWY_INLINE void depthwise_part(const Rows& ring, const Channels& channels, const float* w,
                               const Segment& s, float* y) {
  if (!depthwise_in_tiles || channels.stride < lanes() || s.pixels % 4 != 0 || s.rows % 2 != 0)
    return depthwise_segment(ring, channels, w, s, y, {y, 0});
  const int64_t y_row = s.row_floats(channels);
  const float* x[4];
  for (int64_t r = 0; r < s.rows; r += 2) {
    for (int64_t i = 0; i < 4; i++) x[i] = ring.at(s.h + r - 1 + i) + s.first * channels.stride;
    depthwise_tiles(x, w, channels.stride, s.pixels, y + r * y_row, y_row);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
