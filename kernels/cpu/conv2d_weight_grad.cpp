#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_check.h"
#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/patches.h"
#include "kernels/cpu/scratch.h"

// How the product (patch columns x output channels, summed over pixels) is cut: by shape alone.
#ifndef FULMAR_KERNELS_CPU_CONV2D_WEIGHT_GRAD_CUT
#define FULMAR_KERNELS_CPU_CONV2D_WEIGHT_GRAD_CUT
namespace fulmar::cpu {

struct WeightGradCut {
  int64_t chunks;                 // of pixels, each with a sum of its own
  int64_t chunk_pixels;           // the last chunk may have fewer
  int64_t row_step, column_step;  // blocks of the result
};

inline WeightGradCut cut_weight_grad(int64_t pixels, int64_t rows, int64_t columns) {
  const auto even = [](int64_t total, int64_t most, int64_t unit) {
    const int64_t parts = (total + most - 1) / most;
    return ((total + parts - 1) / parts + unit - 1) / unit * unit;
  };
  WeightGradCut cut{};
  cut.row_step = even(rows, 256, 8);
  cut.column_step = even(columns, 256, 32);
  const int64_t blocks = ((rows + cut.row_step - 1) / cut.row_step) *
                         ((columns + cut.column_step - 1) / cut.column_step);
  // Enough tasks for many threads, but sums that are small beside the work of making them.
  const int64_t chunks = std::clamp<int64_t>(
      std::min({64 / blocks, pixels / 1024, (int64_t{1} << 21) / (rows * columns)}), 1, 64);
  cut.chunk_pixels = (pixels + chunks - 1) / chunks;
  cut.chunks = cut.chunk_pixels == 0 ? 1 : (pixels + cut.chunk_pixels - 1) / cut.chunk_pixels;
  return cut;
}

inline WeightGradCut cut_of(const View& dy, const View& dw, int64_t groups) {
  return cut_weight_grad(dy.shape.pixels(), dw.shape.pixels(), dw.shape.channels() / groups);
}

}  // namespace fulmar::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d_weight_grad.cpp"
#include "hwy/foreach_target.h"
// Must come after foreach_target.h.
#include "kernels/cpu/convolution-inl.h"
#include "kernels/cpu/norm_grad-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Pixels that are multiplied at a time: slices of both sides stay in L1.
constexpr int64_t pixel_block = 128;
// Rows of at most this many floats are read where they lie; longer ones are copied, since their
// stride would put many of them on the same cache sets. An element of dy's block is read again for
// every tile of rows of the result, one of x's for every panel only: x may wait for L2.
constexpr int64_t plain_x_columns = 128, plain_dy_columns = 64;

// One block of one chunk's sum.
struct WeightGradBlock {
  const Patches& x;
  const FlatCotangent& dy;
  int64_t dy_first, dy_stride;  // where the group begins, and floats from a pixel to the next
  int64_t first_pixel, last_pixel;
  int64_t first_row, last_row, first_column, last_column;
  float* sum;  // element (first_row, first_column)
  int64_t sum_stride;
};

// The stride of copied rows of x, which keeps them off the same cache sets.
HWY_INLINE int64_t side_stride(int64_t columns) { return (columns + 15) / 16 * 16 + 16; }

// What tiles ask for while others' pixels are multiplied: the next pixels of both sides, x before
// dy. Only rows without gaps: neighbouring blocks would fetch the gaps' lines in vain.
class NextPixels {
 public:
  NextPixels(const WeightGradBlock& block, int64_t pixel)
      : x_(nullptr), dy_(block.dy.dy() + block.dy_first) {
    const int64_t rows = block.last_row - block.first_row;
    const int64_t columns = block.last_column - block.first_column;
    if (pixel + pixel_block > block.last_pixel) return;
    if (block.x.is_matrix() && rows == block.x.pixel_stride) {
      x_floats_ = pixel_block * rows;
      x_ = block.x.source + pixel * rows;
    }
    if (columns == block.dy_stride) dy_floats_ = pixel_block * columns;
    dy_ += pixel * block.dy_stride;
    const int64_t width = panel_width(columns);
    const int64_t tall = width > max_lanes ? tile_rows<2> : tile_rows<1>;
    const int64_t tiles = (rows + tall - 1) / tall * ((columns + width - 1) / width);
    share_ = (x_floats_ + dy_floats_ + pixel_block * tiles - 1) / (pixel_block * tiles);
  }
  HWY_INLINE Ahead operator()(int64_t tile) const {
    const int64_t at = tile * pixel_block * share_;
    if (at < x_floats_) return {x_ + at, share_};
    if (at < x_floats_ + dy_floats_) return {dy_ + at - x_floats_, share_};
    return {dy_, 0};
  }

 private:
  const float *x_, *dy_;
  int64_t x_floats_ = 0, dy_floats_ = 0, share_ = 0;
};

// The block's columns of some pixels of dy: where they lie, or made in `memory` without gaps.
HWY_INLINE const float* block_dy(const WeightGradBlock& block, int64_t pixel, int64_t count,
                                 float* memory) {
  const int64_t columns = block.last_column - block.first_column;
  const int64_t first = pixel * block.dy_stride + block.dy_first + block.first_column;
  if (block.dy.in_memory() || columns == block.dy_stride)
    return block.dy.at(first, count * columns, memory);
  for (int64_t p = 0; p < count; p++)
    block.dy.at(first + p * block.dy_stride, columns, memory + p * columns);
  return memory;
}

template <class Packing>
HWY_INLINE void run_block(const WeightGradBlock& block, const Packing& packing, float* scratch) {
  const int64_t rows = block.last_row - block.first_row;
  const int64_t columns = block.last_column - block.first_column;
  const int64_t x_stride = side_stride(rows);
  float* const packed_x = scratch;
  float* const packed_dy = packed_x + pixel_block * x_stride;
  float* const made_dy = packed_dy + pixel_block * padded_columns(columns);
  const bool plain_x =
      Packing::keeps && block.x.is_matrix() && block.x.pixel_stride <= plain_x_columns;
  const int64_t dy_stride = block.dy.in_memory() ? block.dy_stride : columns;
  const bool plain_dy = dy_stride <= plain_dy_columns && padded_columns(columns) == columns;
  const EvenRows out{block.sum, block.sum_stride};
  for (int64_t p = block.first_pixel; p < block.last_pixel; p += pixel_block) {
    const int64_t count = std::min(pixel_block, block.last_pixel - p);
    LeftBlock left{packed_x, x_stride};
    if (plain_x)
      left = {block.x.source + p * block.x.pixel_stride + block.first_row, block.x.pixel_stride};
    else
      pack_patches(block.x, p, p + count, block.first_row, block.last_row, packed_x, x_stride,
                   packing);
    const float* const dy = block_dy(block, p, count, made_dy);
    const auto add = [&](const auto& right) HWY_ATTR {
      multiply<Left::columns>(Block{rows, 0, columns, 0, count, {p == block.first_pixel, false}},
                              left, right, NextPixels(block, p + pixel_block), out, StoreSum());
    };
    if (plain_dy) {
      add(PlainRight{dy, dy_stride, columns});
      continue;
    }
    for (int64_t c = 0; c < columns; c += panel_width(columns - c))
      pack_panel(dy, dy_stride, count, columns, c, packed_dy + c * count);
    add(Panels{packed_dy, count, columns});
  }
}

// packing(g): of a group's patches.
template <class PackingOf>
void weight_grad(ThreadPool& pool, const View& x, const Cotangent& cotangent, const View& dw,
                 const Window& window, int64_t groups, float* work, const PackingOf& packing) {
  const View& dy = cotangent.dy;
  const FlatCotangent gradient(cotangent, dy.shape.channels());
  const int64_t outputs = dy.shape.channels() / groups, depth = dw.shape.pixels();
  const int64_t pixels = dy.shape.pixels();
  const WeightGradCut cut = cut_of(dy, dw, groups);
  Scratch<Patches> patches;
  for (int64_t g = 0; g < groups; g++)
    patches.push_back(
        forward_patches(x, dy, dw.shape.images(), dw.shape.height(), dw.shape.width(), window, g));
  const int64_t row_blocks = (depth + cut.row_step - 1) / cut.row_step;
  const int64_t column_blocks = (outputs + cut.column_step - 1) / cut.column_step;
  const int64_t made_columns = gradient.in_memory() ? 0 : std::min(outputs, cut.column_step);
  const size_t bytes =
      static_cast<size_t>(pixel_block * (side_stride(cut.row_step) +
                                         padded_columns(cut.column_step) + made_columns)) *
      sizeof(float);
  pool.run(groups * cut.chunks * row_blocks * column_blocks, [&](int64_t task, int worker) {
    const int64_t column = task % column_blocks * cut.column_step;
    const int64_t row = task / column_blocks % row_blocks * cut.row_step;
    const int64_t chunk = task / column_blocks / row_blocks % cut.chunks;
    const int64_t g = task / column_blocks / row_blocks / cut.chunks;
    float* sum = dw.as<float>() + row * dw.shape.channels() + g * outputs + column;
    int64_t stride = dw.shape.channels();
    if (cut.chunks > 1) {
      sum = work + ((g * cut.chunks + chunk) * depth + row) * outputs + column;
      stride = outputs;
    }
    const WeightGradBlock block{patches[static_cast<size_t>(g)],
                                gradient,
                                g * outputs,
                                dy.shape.channels(),
                                chunk * cut.chunk_pixels,
                                std::min(pixels, (chunk + 1) * cut.chunk_pixels),
                                row,
                                std::min(depth, row + cut.row_step),
                                column,
                                std::min(outputs, column + cut.column_step),
                                sum,
                                stride};
    run_block(block, packing(g), static_cast<float*>(pool.scratch(worker, bytes)));
  });
  if (cut.chunks == 1) return;
  // Chunks are added in their order, a run of one row of dw at a time.
  pool.run(groups * depth, [&](int64_t task, int) {
    const int64_t g = task / depth, row = task % depth;
    const float* const first = work + (g * cut.chunks * depth + row) * outputs;
    float* const out = dw.as<float>() + row * dw.shape.channels() + g * outputs;
    const hn::ScalableTag<float> d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    int64_t c = 0;
    for (; c + lanes <= outputs; c += lanes) {
      auto sum = hn::LoadU(d, first + c);
      for (int64_t chunk = 1; chunk < cut.chunks; chunk++)
        sum = hn::Add(sum, hn::LoadU(d, first + chunk * depth * outputs + c));
      hn::StoreU(sum, d, out + c);
    }
    for (; c < outputs; c++) {
      float sum = first[c];
      for (int64_t chunk = 1; chunk < cut.chunks; chunk++)
        sum += first[chunk * depth * outputs + c];
      out[c] = sum;
    }
  });
}

void weight_grad_target(ThreadPool& pool, const Loaded& x, const Cotangent& dy, const View& dw,
                        const Window& window, int64_t groups, float* work) {
  const ColumnNorm norm(x, dw.shape.pixels(), groups);
  if (x.normalised())
    weight_grad(pool, x.x, dy, dw, window, groups, work,
                [&](int64_t g) { return Normalise{norm.affine(g)}; });
  else
    weight_grad(pool, x.x, dy, dw, window, groups, work, [](int64_t) { return Keep(); });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(weight_grad_target);

void convolution_weight_grad(Stream& stream, const Loaded& x, const Cotangent& dy, const View& dw,
                             const Window& window, int64_t groups, void* work) {
  check_conv2d(x, dw, dy.dy, window, groups);
  if (dw.shape.elements() == 0) return;
  if (dy.dy.shape.elements() == 0) {
    std::memset(dw.data, 0, dw.bytes());
    return;
  }
  if (!x.normalised() && conv2d_weight_grad_is_direct(dy.dy, dw, window, groups))
    return conv2d_direct_weight_grad(stream, x, dy, dw, window, work);
  HWY_DYNAMIC_DISPATCH(weight_grad_target)
  (*stream.pool, x, dy, dw, window, groups, static_cast<float*>(work));
}

size_t convolution_weight_grad_workspace(Stream&, const Loaded& x, const Cotangent& dy,
                                         const View& dw, const Window& window, int64_t groups) {
  check_conv2d(x, dw, dy.dy, window, groups);
  if (!x.normalised() && conv2d_weight_grad_is_direct(dy.dy, dw, window, groups))
    return conv2d_direct_weight_grad_workspace(dy.dy, dw);
  const WeightGradCut cut = cut_of(dy.dy, dw, groups);
  if (cut.chunks <= 1) return 0;
  return static_cast<size_t>(cut.chunks * dw.shape.elements()) * sizeof(float);
}

void conv2d_weight_grad(Stream& stream, const View& x, const View& dy, const View& dw,
                        const Window& window, int64_t groups, void* work) {
  convolution_weight_grad(stream, {x}, {dy}, dw, window, groups, work);
}

size_t conv2d_weight_grad_workspace(Stream& stream, const View& x, const View& dy, const View& dw,
                                    const Window& window, int64_t groups) {
  return convolution_weight_grad_workspace(stream, {x}, {dy}, dw, window, groups);
}

}  // namespace fulmar::cpu
#endif
