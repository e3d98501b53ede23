// The innermost part of the matrix product: a tile of the result held in registers.
// Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_GEMM_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_GEMM_TILE_INL_H
#undef FULMAR_KERNELS_CPU_GEMM_TILE_INL_H
#else
#define FULMAR_KERNELS_CPU_GEMM_TILE_INL_H
#endif

#include <cstdint>
#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <int value>
using Constant = std::integral_constant<int, value>;

// Accumulators of a tile of `vectors` vectors a row: all registers but those of one row of the
// right side and a broadcast element of the left.
template <int vectors>
constexpr int tile_rows = HWY_TARGET == HWY_AVX3 ? 14
                          : vectors == 2         ? 6
                                                 : 12;

// Which way the left side lies in memory.
enum class Left { rows, columns };  // element (m, k) at m * stride + k, or at k * stride + m

// Prefetches memory for later, a cache line at a time between multiplications: `next` moves on by
// `share` floats at each step of the depth.
struct Ahead {
  const float* next;
  int64_t share;
};

// What a tile does with an element of the left side and a vector of the right one.
struct MultiplyFloats {
  template <class V>
  static HWY_INLINE V add(V x, V right, V sum) {
    return hn::MulAdd(x, right, sum);
  }
};

// sum[m][v] = sum over k of left(m, k) right[k * right_stride + v * lanes ...]; then done(d, sum).
// `parts` times `depth` of k; from one to the next the left side goes on `part_step` later.
template <Left left, int rows, int vectors, class Multiply, class D, class Done>
HWY_INLINE void tile(D d, const float* HWY_RESTRICT a, int64_t a_stride,
                     const float* HWY_RESTRICT b, int64_t b_stride, int64_t depth, Ahead ahead,
                     const Done& done, int64_t parts = 1, int64_t part_step = 0) {
  using V = hn::Vec<D>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V sum[rows][vectors];
#pragma GCC unroll 16
  for (int m = 0; m < rows; m++) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) sum[m][v] = hn::Zero(d);
  }
  // Every third row has a pointer: the two after it are reached by the stride in an address.
  const float* row[(rows + 2) / 3];
#pragma GCC unroll 16
  for (int i = 0; i < (rows + 2) / 3; i++) row[i] = a + (left == Left::rows ? 3 * i * a_stride : 0);
  for (int64_t part = 0;;) {
    for (int64_t k = 0; k < depth; k++) {
      hwy::Prefetch(ahead.next);
      ahead.next += ahead.share;
      V right[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) right[v] = hn::LoadU(d, b + v * lanes);
#pragma GCC unroll 16
      for (int m = 0; m < rows; m++) {
        const V x = hn::Set(d, left == Left::rows ? row[m / 3][m % 3 * a_stride + k] : a[m]);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[m][v] = Multiply::add(x, right[v], sum[m][v]);
      }
      b += b_stride;
      if (left == Left::columns) a += a_stride;
    }
    if (++part == parts) break;
#pragma GCC unroll 16
    for (int i = 0; i < (rows + 2) / 3; i++) row[i] += part_step;
  }
  done(d, sum);
}

// Covers `rows` rows with tiles: body(rows of the tile as a constant, first row). Two rows alone
// would wait for their own sums: with the tile before them they make two halves (8 + 8, 4 + 4).
template <int vectors, class Body>
HWY_INLINE void for_tiles(int64_t rows, const Body& body) {
  constexpr int most = tile_rows<vectors>, half = (most + 2) / 2;
  constexpr bool halves = half == 8 || half == 4;
  int64_t m = 0;
  for (; m + most <= rows && !(halves && rows - m == most + 2); m += most)
    body(Constant<most>(), m);
  if constexpr (most > 8) {
    for (; m + 8 <= rows; m += 8) body(Constant<8>(), m);
  }
  for (; m + 4 <= rows; m += 4) body(Constant<4>(), m);
  for (; m + 2 <= rows; m += 2) body(Constant<2>(), m);
  if (m < rows) body(Constant<1>(), m);
}

// The right side is cut into panels of columns. A panel of `width` columns takes `vectors` vectors
// of type d, the last partly empty where fewer columns are left.
template <class Body>
HWY_INLINE void for_panel(int64_t columns_left, const Body& body) {
  constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<float>()));
  if (columns_left > lanes) return body(hn::ScalableTag<float>(), Constant<2>());
  if constexpr (lanes > 4) {
    if (columns_left <= 4) return body(hn::CappedTag<float, 4>(), Constant<1>());
  }
  if constexpr (lanes > 8) {
    if (columns_left <= 8) return body(hn::CappedTag<float, 8>(), Constant<1>());
  }
  body(hn::ScalableTag<float>(), Constant<1>());
}

HWY_INLINE int64_t panel_width(int64_t columns_left) {
  constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<float>()));
  if (columns_left > lanes) return 2 * lanes;
  if (lanes > 4 && columns_left <= 4) return 4;
  if (lanes > 8 && columns_left <= 8) return 8;
  return lanes;
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
