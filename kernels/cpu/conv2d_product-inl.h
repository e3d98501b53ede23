// One matrix product of a convolution: patches of a tensor times packed weights, run a block of
// rows at a time. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_CONV2D_PRODUCT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_CONV2D_PRODUCT_INL_H
#undef FULMAR_KERNELS_CPU_CONV2D_PRODUCT_INL_H
#else
#define FULMAR_KERNELS_CPU_CONV2D_PRODUCT_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/cpu/pack-inl.h"
#include "kernels/thread_pool.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Columns of the left side that are multiplied at a time: a slice of a panel stays in L1.
constexpr int64_t depth_block = 384;
// Elements of the left side that are packed at a time: they stay in L2.
constexpr int64_t left_block = 1 << 15;
// At least this many tasks, where the result can be cut into them.
constexpr int64_t wanted_tasks = 16;

// Where the result of the product lies: grid pixel (image, qy, qx) at data + image * image_stride +
// qy * row_stride + qx * pixel_stride.
struct Grid {
  float* data;
  int64_t image_stride, row_stride, pixel_stride;
};

template <class Epilogue>
struct Product {
  Patches left;
  Panels right;
  Grid out;
  Epilogue epilogue;
};

HWY_INLINE int64_t block_rows(int64_t depth) {
  constexpr int64_t tall = tile_rows<2>;
  return std::clamp<int64_t>(left_block / depth / tall, 8, 64) * tall;
}
HWY_INLINE int64_t depth_step(int64_t depth) {
  const int64_t blocks = (depth + depth_block - 1) / depth_block;
  return (depth + blocks - 1) / blocks;
}
// A little more than the depth, so that rows don't fall on the same cache sets.
HWY_INLINE int64_t packed_stride(int64_t depth) { return (depth + 15) / 16 * 16 + 16; }

HWY_INLINE size_t task_bytes(int64_t depth) {
  const int64_t rows = block_rows(depth), step = std::min(depth, depth_block);
  return static_cast<size_t>(rows) *
         (sizeof(int64_t) + static_cast<size_t>(packed_stride(step)) * sizeof(float));
}

// Rows [first, last) and columns [first_column, last_column) of a product.
template <class Epilogue>
HWY_INLINE void run_product(const Product<Epilogue>& product, int64_t first, int64_t last,
                            int64_t first_column, int64_t last_column, void* scratch) {
  const Patches& x = product.left;
  const int64_t depth = x.columns, step = depth_step(depth), most_rows = block_rows(depth);
  const int64_t stride = packed_stride(std::min(depth, depth_block));
  int64_t* const offset = static_cast<int64_t*>(scratch);
  float* const packed = reinterpret_cast<float*>(offset + most_rows);
  const bool plain = x.is_matrix();
  for (int64_t row = first; row < last; row += most_rows) {
    const int64_t rows = std::min(most_rows, last - row);
    for (int64_t m = 0; m < rows;) {
      const int64_t qx = (row + m) % x.grid_width, line = (row + m) / x.grid_width;
      const int64_t count = std::min(x.grid_width - qx, rows - m);
      int64_t at = line / x.grid_height * product.out.image_stride +
                   line % x.grid_height * product.out.row_stride + qx * product.out.pixel_stride;
      for (int64_t i = 0; i < count; i++, at += product.out.pixel_stride) offset[m + i] = at;
      m += count;
    }
    const ScatteredRows out{product.out.data, offset};
    for (int64_t k = 0; k < depth; k += step) {
      const int64_t end = std::min(depth, k + step);
      LeftBlock left{packed, stride};
      if (plain)
        left = {x.source + row * x.pixel_stride + k, x.pixel_stride};
      else
        pack_patches(x, row, row + rows, k, end, packed, stride);
      multiply<Left::rows>(left, rows, product.right, first_column, last_column, k, end,
                           DepthPart{k == 0, end == depth}, out, product.epilogue);
    }
  }
}

// Runs all products as tasks of rows and, where rows are few, of columns too.
template <class Epilogue>
HWY_INLINE void run_products(ThreadPool& pool, const std::vector<Product<Epilogue>>& products) {
  struct Piece {
    int64_t product, first, last, first_column, last_column;
  };
  std::vector<Piece> pieces;
  size_t bytes = 0;
  int64_t row_pieces = 0;
  for (const Product<Epilogue>& p : products) {
    const int64_t most = block_rows(p.left.columns);
    row_pieces += (p.left.rows() + most - 1) / most;
    bytes = std::max(bytes, task_bytes(p.left.columns));
  }
  if (row_pieces == 0) return;
  for (size_t i = 0; i < products.size(); i++) {
    const Product<Epilogue>& p = products[i];
    const int64_t most = block_rows(p.left.columns), columns = p.right.columns;
    const int64_t width = panel_width(columns), panels = (columns + width - 1) / width;
    const int64_t cuts = std::clamp<int64_t>(wanted_tasks / row_pieces, 1, panels);
    const int64_t wide = (panels + cuts - 1) / cuts * width;
    for (int64_t row = 0; row < p.left.rows(); row += most)
      for (int64_t c = 0; c < columns; c += wide)
        pieces.push_back({static_cast<int64_t>(i), row, std::min(p.left.rows(), row + most), c,
                          std::min(columns, c + wide)});
  }
  pool.run(static_cast<int64_t>(pieces.size()), [&](int64_t task, int worker) {
    const Piece& piece = pieces[static_cast<size_t>(task)];
    run_product(products[static_cast<size_t>(piece.product)], piece.first, piece.last,
                piece.first_column, piece.last_column, pool.scratch(worker, bytes));
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
