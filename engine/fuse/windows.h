#pragma once

#include <array>
#include <cstdint>

#include "engine/ops.h"
#include "engine/ops/conv.h"

// The windows that fused kernels have (kernels/fused.h).
namespace fulmar::ops {

constexpr std::array<int64_t, 2> fused_taps{3, 3};

inline bool same_window(const Window& a, const Window& b) {
  return a.stride == b.stride && a.dilation == b.dilation && a.padding == b.padding;
}

inline Window separable_window() {
  Window window;
  window.padding = {1, 1, 1, 1};
  return window;
}

// Of a pool over z: 'same'.
inline Window pool_window(const Shape& z) {
  const auto rows = same_padding(z.height(), 3, 2, 1), columns = same_padding(z.width(), 3, 2, 1);
  Window window;
  window.stride = {2, 2};
  window.padding = {rows[0], rows[1], columns[0], columns[1]};
  return window;
}

inline Window skip_window() {
  Window window;
  window.stride = {2, 2};
  return window;
}

// Whether a convolution by w is a dense one of 1x1, in one group.
inline bool is_pointwise(const Convolution& how, const Shape& w) {
  return !how.depthwise && how.groups == 1 && w.rank() == 4 && w[0] == 1 && w[1] == 1;
}

// Whether it is a block's skip. Of one tap the dilation doesn't matter.
inline bool is_skip(const Convolution& how, const Shape& w) {
  const Window skip = skip_window();
  return is_pointwise(how, w) && how.window.stride == skip.stride &&
         how.window.padding == skip.padding;
}

}  // namespace fulmar::ops
