#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_check.h"
#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/patches.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d_input_grad.cpp"
#include "hwy/foreach_target.h"
// Must come after foreach_target.h.
#include "kernels/cpu/conv2d_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Pixels of one phase that a task works on.
constexpr int64_t phase_pixels = 1024;

// Several phases: a task does them all for a band of rows, and clears the band first where a phase
// has no tap, so that every cache line is written while it is near.
HWY_INLINE void run_phases(ThreadPool& pool, const Scratch<Product<StoreSum>>& products, bool clear,
                           const View& dx, const Window& window) {
  const int64_t stride_y = window.stride[0];
  const int64_t lines = (dx.shape.height() + stride_y - 1) / stride_y;
  const int64_t most_width = (dx.shape.width() + window.stride[1] - 1) / window.stride[1];
  size_t bytes = 0;
  for (const auto& product : products) bytes = std::max(bytes, product.scratch_bytes());
  const int64_t images = dx.shape.images(), height = dx.shape.height();
  const int64_t row = dx.shape.width() * dx.shape.channels();
  const int64_t few = std::max<int64_t>(1, lines * images / wanted_tasks);
  const int64_t band =
      std::clamp<int64_t>((phase_pixels + most_width - 1) / most_width, 1, std::min(few, lines));
  const int64_t bands = (lines + band - 1) / band;
  pool.run(images * bands, [&](int64_t task, int worker) {
    const int64_t image = task / bands, first = task % bands * band, last = first + band;
    if (clear) {
      const int64_t top = first * stride_y, bottom = std::min(height, last * stride_y);
      std::memset(dx.as<float>() + (image * height + top) * row, 0,
                  static_cast<size_t>((bottom - top) * row) * sizeof(float));
    }
    for (const auto& product : products) {
      const Patches& grid = product.left;
      const int64_t base = image * grid.grid_height;
      run_product(product, (base + std::min(first, grid.grid_height)) * grid.grid_width,
                  (base + std::min(last, grid.grid_height)) * grid.grid_width, 0,
                  product.right.columns, pool.scratch(worker, bytes));
    }
  });
}

// Floats of the packed weights of all products.
int64_t conv2d_input_grad_floats(const View& dy, const View& w, int64_t groups) {
  return groups * padded_columns(w.shape.width()) * (dy.shape.channels() / groups) *
         w.shape.images() * w.shape.height();
}

void conv2d_input_grad_target(ThreadPool& pool, const View& dy, const View& w, const View& dx,
                              const Window& window, int64_t groups, float* memory) {
  const int64_t height = w.shape.images(), width = w.shape.height(), inputs = w.shape.width();
  const int64_t outputs = dy.shape.channels() / groups;
  const int64_t padded = padded_columns(inputs), panel = panel_width(inputs);
  const int64_t pixel = dx.shape.channels(), row = pixel * dx.shape.width();

  struct Slice {  // the weights of one tap and group, transposed into a panel's rows
    const float* from;
    float* to;
    int64_t column;
  };
  Scratch<Slice> slices;
  Scratch<Product<StoreSum>> products;
  bool clear = false;
  for (int64_t g = 0; g < groups; g++)
    for (Phase& phase : input_grad_phases(dy, dx, height, width, outputs, window, g)) {
      const int64_t depth = phase.patches.columns;
      if (depth == 0) {
        clear = true;
        continue;
      }
      for (size_t t = 0; t < phase.taps.size(); t++)
        for (int64_t c = 0; c < inputs; c += panel)
          slices.push_back(
              {w.as<float>() + phase.taps[t] * inputs * w.shape.channels() + g * outputs,
               memory + c * depth + static_cast<int64_t>(t) * outputs * panel_width(inputs - c),
               c});
      products.push_back(
          {std::move(phase.patches),
           {memory, depth, inputs},
           {dx.as<float>() + g * inputs + phase.first_y * row + phase.first_x * pixel,
            row * dx.shape.height(), row * window.stride[0], pixel * window.stride[1]},
           {}});
      memory += depth * padded;
    }
  pool.run(static_cast<int64_t>(slices.size()), [&](int64_t task, int) {
    const Slice& slice = slices[static_cast<size_t>(task)];
    pack_panel_transposed(slice.from, w.shape.channels(), outputs, inputs, slice.column, slice.to);
  });
  if (window.stride[0] == 1 && window.stride[1] == 1)
    run_products(pool, products);
  else
    run_phases(pool, products, clear, dx, window);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(conv2d_input_grad_target);
HWY_EXPORT(conv2d_input_grad_floats);

size_t conv2d_input_grad_workspace(Stream&, const View& dy, const View& w, const View& dx,
                                   const Window& window, int64_t groups) {
  if (conv2d_input_grad_is_direct(dy, w, dx, window, groups)) return w.bytes();
  return static_cast<size_t>(HWY_DYNAMIC_DISPATCH(conv2d_input_grad_floats)(dy, w, groups)) *
         sizeof(float);
}

void conv2d_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                       const Window& window, int64_t groups, void* work) {
  check_conv2d(dx, w, dy, window, groups);
  if (dx.shape.elements() == 0) return;
  if (dy.shape.elements() == 0) {
    std::memset(dx.data, 0, dx.bytes());
    return;
  }
  if (conv2d_input_grad_is_direct(dy, w, dx, window, groups))
    return conv2d_direct_input_grad(stream, dy, w, dx, window, work);
  HWY_DYNAMIC_DISPATCH(conv2d_input_grad_target)
  (*stream.pool, dy, w, dx, window, groups, static_cast<float*>(work));
}

}  // namespace fulmar::cpu
#endif
