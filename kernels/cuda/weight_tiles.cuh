#pragma once

#include "kernels/cuda/sums.cuh"

// Gradients of weights as products over pixels: a warp makes a tile of dw [rows, columns], its
// lanes taking pixels of their own; a block's warps take several tiles, and each several parts of
// the block's pixels. Tensor cores would not help: operands are read from memory once, and there
// are fewer products than bytes pay for.
namespace fulmar::cuda {

constexpr int tile_columns = 8;
constexpr int tile_warps = sum_threads / 32;

// high: rows of a tile, 4 or 8.
template <int high>
struct WeightTiles {
  static constexpr int sums = high * tile_columns;

  int64_t rows, columns, across, all;
  int tiles, parts;  // of a block

  WeightTiles(int64_t row_count, int64_t column_count) : rows(row_count), columns(column_count) {
    across = (columns + tile_columns - 1) / tile_columns;
    all = across * ((rows + high - 1) / high);
    tiles = 1;
    while (tiles < tile_warps && tiles < all) tiles *= 2;
    parts = tile_warps / tiles;
  }
  // Blocks along y of a grid whose x runs over the pixels.
  unsigned blocks() const { return static_cast<unsigned>((all + tiles - 1) / tiles); }
  // Limit of the number of partial sums of each weight.
  int64_t most_chunks() const {
    return std::max<int64_t>(1, std::min<int64_t>(1024, most_partials / (rows * columns)));
  }

  // Of the calling thread's warp: its tile, and which part of the pixels it takes.
  FULMAR_DEVICE int64_t tile() const {
    return int64_t{blockIdx.y} * tiles + static_cast<int>(threadIdx.x) / 32 % tiles;
  }
  FULMAR_DEVICE int part() const { return static_cast<int>(threadIdx.x) / 32 / tiles; }
};

// What a warp's lanes have of each of `all` sums, the first 2 half of which are left, added up: in
// the end lane n has the sums from all / 32 n on.
template <int all, int half>
FULMAR_DEVICE void share_out(float (&sum)[all], int lane) {
  constexpr int bit = half * 32 / all;
  const bool upper = (lane & bit) != 0;
  FULMAR_UNROLL
  for (int i = 0; i < half; i++) {
    const float mine = upper ? sum[half + i] : sum[i], other = upper ? sum[i] : sum[half + i];
    sum[i] = mine + __shfl_xor_sync(~0U, other, bit);
  }
  if constexpr (bit > 1) share_out<all, half / 2>(sum, lane);
}

// Joins the lanes' and the parts' sums: into partials [gridDim.x][rows][columns], or into dw where
// one block has all pixels. All threads of the block call it.
template <int high, int sums>
FULMAR_DEVICE void keep_tiles(const WeightTiles<high>& walk, float (&sum)[sums], double* partials,
                              float* dw) {
  FULMAR_SHARED(float, part, [tile_warps][sums]);
  constexpr int of_lane = sums / 32;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  share_out<sums, sums / 2>(sum, lane);
  FULMAR_UNROLL
  for (int i = 0; i < of_lane; i++) part[warp][of_lane * lane + i] = sum[i];
  __syncthreads();
  for (int i = thread; i < walk.tiles * sums; i += sum_threads) {
    const int of_block = i / sums, at = i % sums;
    const int64_t tile = int64_t{blockIdx.y} * walk.tiles + of_block;
    const int64_t down = divide(tile, walk.across);
    const int64_t row = down * high + at / tile_columns;
    const int64_t column = (tile - down * walk.across) * tile_columns + at % tile_columns;
    if (row >= walk.rows || column >= walk.columns) continue;
    double total = 0;
    for (int k = of_block; k < tile_warps; k += walk.tiles)
      total += static_cast<double>(part[k][at]);
    const int64_t weight = row * walk.columns + column;
    if (gridDim.x > 1)
      partials[blockIdx.x * walk.rows * walk.columns + weight] = total;
    else
      dw[weight] = static_cast<float>(total);
  }
}

struct KeepWeightGrad {
  float* dw;
  FULMAR_DEVICE void operator()(int64_t, int64_t weight, const Sum<1>& sum) const {
    dw[weight] = static_cast<float>(sum.of[0]);
  }
};

}  // namespace fulmar::cuda
