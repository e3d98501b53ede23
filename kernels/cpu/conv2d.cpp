#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"

#include <cstring>

#include "kernels/cpu/conv2d_check.h"
#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/patches.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d.cpp"
#include "hwy/foreach_target.h"
// Must come after foreach_target.h.
#include "kernels/cpu/conv2d_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Floats of the packed sides of all products: panels, and biases after them.
int64_t conv2d_floats(const View& w, const View& y, int64_t groups) {
  const int64_t depth = w.shape.images() * w.shape.height() * w.shape.width();
  return groups * padded_columns(y.shape.channels() / groups) * (depth + 1);
}

void conv2d_target(ThreadPool& pool, const View& x, const View& w, const View& bias, const View& y,
                   const Window& window, int64_t groups, float* memory) {
  const int64_t height = w.shape.images(), width = w.shape.height(), inputs = w.shape.width();
  const int64_t outputs = y.shape.channels() / groups, depth = height * width * inputs;
  const int64_t padded = padded_columns(outputs), panel = panel_width(outputs);
  float* const biases = memory + groups * padded * depth;
  std::memset(biases, 0, static_cast<size_t>(groups * padded) * sizeof(float));
  Scratch<Product<AddBias>> products;
  for (int64_t g = 0; g < groups; g++) {
    if (bias)
      std::memcpy(biases + g * padded, bias.as<float>() + g * outputs,
                  static_cast<size_t>(outputs) * sizeof(float));
    const int64_t pixel = y.shape.channels(), row = pixel * y.shape.width();
    products.push_back({forward_patches(x, y, height, width, inputs, window, g),
                        {memory + g * padded * depth, depth, outputs},
                        {y.as<float>() + g * outputs, row * y.shape.height(), row, pixel},
                        {biases + g * padded},
                        product_past_caches(y, outputs)});
  }
  const int64_t panels = (outputs + panel - 1) / panel;
  pool.run(groups * panels, [&](int64_t task, int) {
    const int64_t g = task / panels, c = task % panels * panel;
    pack_panel(w.as<float>() + g * outputs, w.shape.channels(), depth, outputs, c,
               memory + g * padded * depth + c * depth);
  });
  run_products(pool, products);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(conv2d_target);
HWY_EXPORT(conv2d_floats);

size_t conv2d_workspace(Stream&, const View&, const View& w, const View&, const View& y,
                        const Window& window, int64_t groups) {
  if (conv2d_is_direct(w, y, window, groups)) return 0;
  return static_cast<size_t>(HWY_DYNAMIC_DISPATCH(conv2d_floats)(w, y, groups)) * sizeof(float);
}

// A matrix product over patches that are copied a block at a time (implicit im2col).
void conv2d(Stream& stream, const View& x, const View& w, const View& bias, const View& y,
            const Window& window, int64_t groups, void* work) {
  check_conv2d(x, w, y, window, groups);
  if (y.shape.elements() == 0) return;
  if (conv2d_is_direct(w, y, window, groups)) return conv2d_direct(stream, x, w, bias, y, window);
  HWY_DYNAMIC_DISPATCH(conv2d_target)
  (*stream.pool, x, w, bias, y, window, groups, static_cast<float*>(work));
}

}  // namespace fulmar::cpu
#endif
