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

#include "kernels/cpu/pack-inl.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/stores-inl.h"
#include "kernels/thread_pool.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Columns of the left side that are multiplied at a time: a slice of a panel stays in L1.
constexpr int64_t depth_block = 384;
// Elements of the left side that are multiplied at a time: packed ones stay in L2; those read where
// they lie stay in L1 for the second panel.
constexpr int64_t packed_elements = 1 << 15, plain_elements = 1 << 13;
// Patches of a line of pixels are read out of copies of the source's lines where the line is long
// and the weights, which each line reads whole, stay in L2.
constexpr int64_t least_line = 32, line_weights = 1 << 17;
// Copied lines are kept for the next lines of the result, while they take about this many floats.
constexpr int64_t kept_elements = 1 << 16;
// A task reads and writes about this many elements, unless there would be fewer tasks than wanted.
constexpr int64_t task_elements = 1 << 18, wanted_tasks = 32;

// Where the result of the product lies: grid pixel (image, qy, qx) at data + image * image_stride +
// qy * row_stride + qx * pixel_stride.
struct Grid {
  float* data;
  int64_t image_stride, row_stride, pixel_stride;
};

template <class Epilogue, class Packing = Keep>
struct Product {
  Patches left;
  Panels right;
  Grid out;
  Epilogue epilogue;
  bool past_caches = false;  // write past the caches
  Packing packing = {};      // of the left side

  bool plain() const { return Packing::keeps && left.is_matrix(); }
  bool by_lines() const {
    return left.grid_width >= least_line && left.columns * right.columns <= line_weights &&
           left.overlaps();
  }
  // Floats of a copied line of the source, rounded up.
  int64_t line_step() const {
    return ((left.grid_width + left.taps() - 1) * left.channels + 15) / 16 * 16;
  }
  // By how many lines of the source a run lies below the one before: 1 or -1, so that the next line
  // of the result reads all but one of this one's; 0: else.
  int64_t line_shift() const {
    if (left.runs.size() < 2) return 0;
    const int64_t shift = left.runs[1].dy - left.runs[0].dy;
    for (size_t r = 1; r < left.runs.size(); r++)
      if (left.runs[r].dy - left.runs[r - 1].dy != shift || left.runs[r].dx != left.runs[0].dx)
        return 0;
    return shift == 1 || shift == -1 ? shift : 0;
  }
  // Copied lines that there is room for.
  int64_t kept_lines() const {
    const int64_t runs = std::ssize(left.runs);
    return line_shift() == 0 ? runs : std::clamp(kept_elements / line_step(), runs, 4 * runs);
  }
  // Columns and rows of the left side that are multiplied at a time.
  int64_t block_depth() const {
    const int64_t blocks = (left.columns + depth_block - 1) / depth_block;
    return (left.columns + blocks - 1) / blocks;
  }
  int64_t block_rows() const {
    if (by_lines()) return left.grid_width;
    constexpr int64_t tall = tile_rows<2>;
    const int64_t elements = plain() ? plain_elements : packed_elements;
    return std::clamp<int64_t>(elements / block_depth() / tall, 8, 64) * tall;
  }
  // A little more than a packed block's depth, so that rows don't fall on the same cache sets.
  int64_t packed_stride() const { return (block_depth() + 15) / 16 * 16 + 16; }
  size_t scratch_bytes() const {
    if (by_lines())
      return static_cast<size_t>(left.grid_width) * sizeof(int64_t) +
             static_cast<size_t>(line_step() * kept_lines()) * sizeof(float);
    const size_t packed = plain() ? 0 : static_cast<size_t>(packed_stride()) * sizeof(float);
    return static_cast<size_t>(block_rows()) * (sizeof(int64_t) + packed);
  }
};

// Where the result's rows [first, first + rows) lie.
template <class Epilogue, class Packing>
HWY_INLINE void find_rows(const Product<Epilogue, Packing>& product, int64_t first, int64_t rows,
                          int64_t* offset) {
  const int64_t width = product.left.grid_width, height = product.left.grid_height;
  for (int64_t m = 0; m < rows;) {
    const int64_t qx = (first + m) % width, line = (first + m) / width;
    const int64_t end = std::min(m + width - qx, rows);
    int64_t at = line / height * product.out.image_stride + line % height * product.out.row_stride +
                 qx * product.out.pixel_stride;
    for (; m < end; m++, at += product.out.pixel_stride) offset[m] = at;
  }
}

// An epilogue as one of several tasks uses it: one that adds up has memory for each.
template <class Epilogue>
HWY_INLINE Epilogue of_task(const Epilogue& epilogue, int64_t task) {
  if constexpr (requires { epilogue.for_task(task); })
    return epilogue.for_task(task);
  else
    return epilogue;
}

// A product by lines: rows and columns as run_product has them. The sums are in the order of the
// depth, without a break.
template <class Epilogue, class Packing>
HWY_INLINE void run_lines(const Product<Epilogue, Packing>& product, const Epilogue& epilogue,
                          int64_t first, int64_t last, int64_t first_column, int64_t last_column,
                          void* scratch) {
  const Patches& x = product.left;
  int64_t* const offset = static_cast<int64_t*>(scratch);
  float* const packed = reinterpret_cast<float*>(offset + x.grid_width);
  const int64_t line_step = product.line_step(), runs = std::ssize(x.runs);
  const int64_t shift = product.line_shift(), kept = product.kept_lines();
  const auto ahead = [=](int64_t) { return Ahead{packed, 0}; };
  int64_t top = 0;  // place of the highest of the lines that are read
  for (int64_t row = first; row < last;) {
    const int64_t qx = row % x.grid_width, line = row / x.grid_width;
    const int64_t rows = std::min(x.grid_width - qx, last - row);
    find_rows(product, row, rows, offset);
    const bool goes_on = shift != 0 && row > first && line % x.grid_height != 0 && qx == 0 &&
                         first % x.grid_width == 0 && rows == x.grid_width && top + runs < kept;
    top = goes_on ? top + 1 : 0;
    const auto place = [&](int64_t r) {
      return packed + (top + (shift < 0 ? runs - 1 - r : r)) * line_step;
    };
    const auto pack = [&](int64_t r) {
      pack_line(x, x.runs[static_cast<size_t>(r)], line / x.grid_height, line % x.grid_height, qx,
                qx + rows, place(r), product.packing);
    };
    if (goes_on)
      pack(shift < 0 ? 0 : runs - 1);
    else
      for (int64_t r = 0; r < runs; r++) pack(r);
    multiply<Left::rows>(
        Block{
            rows, first_column, last_column, 0, x.columns, {true, true}, product.past_caches, row},
        LeftBlock{place(0), x.channels, runs, shift < 0 ? -line_step : line_step}, product.right,
        ahead, ScatteredRows{product.out.data, offset}, epilogue);
    row += rows;
  }
  if (product.past_caches) hwy::FlushStream();
}

// Rows [first, last) and columns [first_column, last_column) of a product.
template <class Epilogue, class Packing>
HWY_INLINE void run_product(const Product<Epilogue, Packing>& product, const Epilogue& epilogue,
                            int64_t first, int64_t last, int64_t first_column, int64_t last_column,
                            void* scratch) {
  if (product.by_lines())
    return run_lines(product, epilogue, first, last, first_column, last_column, scratch);
  const Patches& x = product.left;
  const int64_t depth = x.columns, step = product.block_depth(), block = product.block_rows();
  const bool plain = product.plain();
  // Sums of several parts of the depth are read again.
  const bool past_caches = product.past_caches && step == depth;
  const int64_t width = panel_width(product.right.columns);
  const int64_t tall = width > max_lanes ? tile_rows<2> : tile_rows<1>;
  const int64_t panels = (last_column - first_column + width - 1) / width;
  int64_t* const offset = static_cast<int64_t*>(scratch);
  float* const packed = reinterpret_cast<float*>(offset + block);
  for (int64_t row = first; row < last; row += block) {
    const int64_t rows = std::min(block, last - row);
    find_rows(product, row, rows, offset);
    // While this block is multiplied the next is fetched: `share` floats at each step of a tile.
    const int64_t tiles = (rows + tall - 1) / tall * panels;
    const bool gaps = !x.is_matrix() || depth != x.pixel_stride || row + 2 * rows > x.rows();
    const int64_t share = gaps ? 0 : (rows + tiles - 1) / tiles;
    for (int64_t k = 0; k < depth; k += step) {
      const int64_t end = std::min(depth, k + step);
      LeftBlock left{packed, product.packed_stride()};
      if (plain)
        left = {x.source + row * x.pixel_stride + k, x.pixel_stride};
      else
        pack_patches(x, row, row + rows, k, end, packed, left.stride, product.packing);
      const float* const next = gaps ? left.data : x.source + (row + rows) * depth;
      const auto ahead = [=](int64_t tile) {
        return Ahead{next + share * (tiles * k + tile * (end - k)), share};
      };
      multiply<Left::rows>(
          Block{rows, first_column, last_column, k, end, {k == 0, end == depth}, past_caches, row},
          left, product.right, ahead, ScatteredRows{product.out.data, offset}, epilogue);
    }
  }
  if (past_caches) hwy::FlushStream();
}

// Whether a contiguous y is better written past the caches, vectors of `columns` columns at a time.
HWY_INLINE bool product_past_caches(const View& y, int64_t columns) {
  const int64_t lanes = std::min(panel_width(columns), max_lanes);
  return writes_past_caches(y) && columns % lanes == 0 && y.shape.channels() % lanes == 0;
}

// A task: some rows of a product and, where rows are few, some of its columns.
struct Piece {
  int64_t product, first, last, first_column, last_column;
};

template <class Epilogue, class Packing>
HWY_INLINE Scratch<Piece> pieces_of(const Scratch<Product<Epilogue, Packing>>& products,
                                    int64_t wanted = wanted_tasks) {
  Scratch<Piece> pieces;
  int64_t blocks = 0;
  for (const Product<Epilogue, Packing>& p : products)
    blocks += (p.left.rows() + p.block_rows() - 1) / p.block_rows();
  if (blocks == 0) return pieces;
  for (size_t i = 0; i < products.size(); i++) {
    const Product<Epilogue, Packing>& p = products[i];
    const int64_t columns = p.right.columns, width = panel_width(columns);
    const int64_t panels = (columns + width - 1) / width;
    const int64_t cuts = std::clamp<int64_t>(wanted / blocks, 1, panels);
    const int64_t wide = (panels + cuts - 1) / cuts * width;
    const int64_t work = p.block_rows() * (p.left.columns + columns);
    // Of lines some more, so that few are copied twice.
    const int64_t least = p.by_lines() ? 8 : 1;
    const int64_t together =
        std::max<int64_t>(1, std::min(std::max(task_elements / work, least), blocks / wanted));
    const int64_t step = together * p.block_rows();
    for (int64_t row = 0; row < p.left.rows(); row += step)
      for (int64_t c = 0; c < columns; c += wide)
        pieces.push_back({static_cast<int64_t>(i), row, std::min(p.left.rows(), row + step), c,
                          std::min(columns, c + wide)});
  }
  return pieces;
}

template <class Epilogue, class Packing>
HWY_INLINE void run_pieces(ThreadPool& pool, const Scratch<Product<Epilogue, Packing>>& products,
                           const Scratch<Piece>& pieces) {
  size_t bytes = 0;
  for (const auto& product : products) bytes = std::max(bytes, product.scratch_bytes());
  pool.run(static_cast<int64_t>(pieces.size()), [&](int64_t task, int worker) {
    const Piece& piece = pieces[static_cast<size_t>(task)];
    const Product<Epilogue, Packing>& product = products[static_cast<size_t>(piece.product)];
    run_product(product, of_task(product.epilogue, task), piece.first, piece.last,
                piece.first_column, piece.last_column, pool.scratch(worker, bytes));
  });
}

template <class Epilogue, class Packing>
HWY_INLINE void run_products(ThreadPool& pool,
                             const Scratch<Product<Epilogue, Packing>>& products) {
  run_pieces(pool, products, pieces_of(products));
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
