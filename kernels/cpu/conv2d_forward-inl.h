// The forward products of a dense convolution, one for each group, out of patches and packed
// weights. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_CONV2D_FORWARD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_CONV2D_FORWARD_INL_H
#undef FULMAR_KERNELS_CPU_CONV2D_FORWARD_INL_H
#else
#define FULMAR_KERNELS_CPU_CONV2D_FORWARD_INL_H
#endif

#include <cstdint>
#include <cstring>

#include "kernels/cpu/conv2d_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// A table of the output channels, each group's padded to whole panels with zeros.
inline const float* column_table(const View& of, int64_t outputs, int64_t groups, float* memory) {
  const int64_t padded = padded_columns(outputs);
  std::memset(memory, 0, static_cast<size_t>(groups * padded) * sizeof(float));
  for (int64_t g = 0; g < groups && of; g++)
    std::memcpy(memory + g * padded, of.as<float>() + g * outputs,
                static_cast<size_t>(outputs) * sizeof(float));
  return memory;
}

// A product for each group, without its functors. w: packed.
template <class Epilogue, class Packing>
Product<Epilogue, Packing> forward_product(const View& x, const View& w, const View& y,
                                           const Window& window, int64_t groups, int64_t g,
                                           const float* packed, const Epilogue& epilogue,
                                           const Packing& packing) {
  const int64_t outputs = y.shape.channels() / groups, depth = w.shape.pixels();
  const int64_t pixel = y.shape.channels(), row = pixel * y.shape.width();
  return {forward_patches(x, y, w.shape.images(), w.shape.height(), w.shape.width(), window, g),
          {packed + g * padded_columns(outputs) * depth, depth, outputs},
          {y.as<float>() + g * outputs, row * y.shape.height(), row, pixel},
          epilogue,
          product_past_caches(y, outputs),
          packing};
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
