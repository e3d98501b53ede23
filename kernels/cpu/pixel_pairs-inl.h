// Separable convolutions from 8 channels to 8 in vectors of 16 lanes: a vector is a pair of pixels,
// and a pixel's products are made in registers, of blocks of 4 lanes. Compiled once per instruction
// set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_PIXEL_PAIRS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_PIXEL_PAIRS_INL_H
#undef FULMAR_KERNELS_CPU_PIXEL_PAIRS_INL_H
#else
#define FULMAR_KERNELS_CPU_PIXEL_PAIRS_INL_H
#endif

#include <cstdint>

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/separable-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

constexpr int64_t pair_channels = 8, pair_lanes = 16;
constexpr int64_t pair_weight_floats = pair_channels * pair_lanes;

// A weight [8, 8] for multiply_pair: tables of 4 vectors `same`, then 4 `other`. Block b of 4 lanes
// belongs to half b % 2 of a pixel's channels. Lane l of same[j] leads from channel j of the
// block's half to channel l of that half, other[j] to channel l of the other half.
HWY_INLINE void pack_pair_weight(const float* w, bool transposed, float* to) {
  for (int64_t j = 0; j < 4; j++)
    for (int64_t lane = 0; lane < pair_lanes; lane++) {
      const int64_t half = lane / 4 % 2, from = 4 * half + j;
      for (int64_t other = 0; other < 2; other++) {
        const int64_t out = 4 * (other ? 1 - half : half) + lane % 4;
        to[(4 * other + j) * pair_lanes + lane] = w[transposed ? out * 8 + from : from * 8 + out];
      }
    }
}

// Of a separable convolution from 8 channels to 8: the taps by lanes, its weight as
// pack_pair_weight lays it, and the bias by lanes.
struct PairTables {
  const float *taps, *weight, *bias;
};
HWY_INLINE bool in_pairs(const Channels& in, const Channels& out) {
  return in.count == pair_channels && out.count == pair_channels;
}

// Each block's lane j, in all of its lanes.
struct BlockLanes {
  V v[4];
  explicit HWY_INLINE BlockLanes(V x)
      : v{hn::Broadcast<0>(x), hn::Broadcast<1>(x), hn::Broadcast<2>(x), hn::Broadcast<3>(x)} {}
};

// x w + bias of two pixels
HWY_INLINE V multiply_pair(V x, const V (&w)[8], V bias) {
  const BlockLanes lane(x);
  V same = bias, other = hn::Mul(lane.v[0], w[4]);
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) same = hn::MulAdd(lane.v[j], w[j], same);
#pragma GCC unroll 4
  for (int j = 1; j < 4; j++) other = hn::MulAdd(lane.v[j], w[4 + j], other);
  return hn::Add(same, hn::SwapAdjacentBlocks(other));
}

// Sums over pixels of x^T y, in lanes as multiply_pair's weights lie.
struct PairProducts {
  V same[4], other[4];

  HWY_INLINE PairProducts() {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) same[j] = other[j] = hn::Zero(D());
  }
  HWY_INLINE void add(V x, V y) {
    const BlockLanes lane(x);
    const V swapped = hn::SwapAdjacentBlocks(y);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      same[j] = hn::MulAdd(lane.v[j], y, same[j]);
      other[j] = hn::MulAdd(lane.v[j], swapped, other[j]);
    }
  }
  // sum[8][8] += what was added
  HWY_INLINE void add_to(float* sum) const {
    const D d;
    const hn::Half<D> half;
    const auto both = [&](V v) HWY_ATTR {
      return hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v));
    };
    const auto put = [&](auto v, float* to)
                         HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(half, to), v), half, to); };
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const auto s = both(same[j]), o = both(other[j]);
      put(hn::ConcatLowerLower(half, o, s), sum + j * pair_channels);
      put(hn::ConcatUpperUpper(half, s, o), sum + (4 + j) * pair_channels);
    }
  }
};

// The depthwise outputs of a vector of each of `rows` rows.
template <int rows>
HWY_INLINE void depthwise_pair(PairColumns<rows + 2>& columns, const V (&w)[taps], int64_t e,
                               V (&sum)[rows]) {
#pragma GCC unroll 4
  for (int r = 0; r < rows + 2; r++) {
    V v[3];
    columns.read(r, e, v);
#pragma GCC unroll 2
    for (int o = 0; o < rows; o++) {
      if (r < o || r - o >= 3) continue;
      const V* const k = w + 3 * (r - o);
      // A sum for each row of taps: one alone would wait for itself nine times.
      V part = hn::Mul(v[0], k[0]);
      part = hn::MulAdd(v[1], k[1], part);
      part = hn::MulAdd(v[2], k[2], part);
      sum[o] = r == o ? part : hn::Add(sum[o], part);
    }
  }
}

template <int count>
HWY_INLINE void load_vectors(const float* from, V (&to)[count]) {
#pragma GCC unroll 9
  for (int i = 0; i < count; i++) to[i] = hn::LoadU(D(), from + i * pair_lanes);
}

// `floats` elements of `rows` rows of a separable convolution, into y; x: rows + 2 rows, from the
// one above; sums run along.
template <int rows, class Sums, class T, class Store>
HWY_NOINLINE void separable_pairs(const float* const* x, const PairTables& tables, int64_t floats,
                                  NextRows ahead, Sums& running, T* y, int64_t y_row, Store store) {
  PairColumns<rows + 2> columns(x, pair_channels, 0);
  Sums sums = running;
  V k[taps], w[8];
  load_vectors(tables.taps, k);
  load_vectors(tables.weight, w);
  const V bias = hn::LoadU(D(), tables.bias);
  for (int64_t e = 0; e < floats; e += pair_lanes) {
    ahead.ask<rows>(e);
    V sum[rows];
    depthwise_pair<rows>(columns, k, e, sum);
#pragma GCC unroll 2
    for (int o = 0; o < rows; o++) {
      const V v = multiply_pair(sum[o], w, bias);
      sums.add(v);
      store(v, y + o * y_row + e);
    }
  }
  running = sums;
}

// What a row of dd reads and writes, and what it asks for: dy and z of later pixels.
struct PairCotangent {
  const float* dz;
  float* dd;
  AheadByTile dy, z;

  // dd = dz w^T; gives dz.
  HWY_INLINE V multiply(int64_t e, const V (&w)[8]) const {
    const D d;
    hwy::Prefetch(dy.next + e / pair_lanes * dy.each);
    hwy::Prefetch(z.next + e / pair_lanes * z.each);
    const V v = hn::LoadU(d, dz + e);
    hn::StoreU(multiply_pair(v, w, hn::Zero(d)), d, dd + e);
    return v;
  }
};

// dd = dz w^T for `floats` elements.
inline HWY_NOINLINE void dd_pairs(const PairTables& tables, int64_t floats,
                                  const PairCotangent& row) {
  V w[8];
  load_vectors(tables.weight, w);
  for (int64_t e = 0; e < floats; e += pair_lanes) row.multiply(e, w);
}

// The same for `rows` rows, and the weight's gradient of the depthwise outputs of the same pixels:
// sum[8][8] += depthwise(x)^T dz. tables.weight is transposed.
template <int rows>
HWY_NOINLINE void dd_and_weights_pairs(const float* const* x, const PairTables& tables,
                                       int64_t floats, NextRows ahead,
                                       const PairCotangent (&row)[rows], float* sum) {
  const D d;
  PairColumns<rows + 2> columns(x, pair_channels, 0);
  V w[8];
  load_vectors(tables.weight, w);
  PairProducts products;
  const float* const by_lanes = tables.taps;
  for (int64_t e = 0; e < floats; e += pair_lanes) {
    ahead.ask<rows>(e);
    // Not kept in registers, which the sums need: loads have time.
    V k[taps], depthwise[rows];
    load_vectors(by_lanes, k);
    depthwise_pair<rows>(columns, k, e, depthwise);
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++) products.add(depthwise[r], row[r].multiply(e, w));
  }
  products.add_to(sum);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
