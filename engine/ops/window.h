#pragma once

#include <array>

#include "engine/ops/check.h"
#include "kernels/backend.h"

namespace fulmar::ops {

// Extents (rows, columns) that a window of `kernel` taps leaves of x; throws where it leaves none.
inline std::array<int64_t, 2> window_output(const Shape& x, std::array<int64_t, 2> kernel,
                                            const Window& w) {
  for (int axis = 0; axis < 2; axis++) {
    require(w.stride[axis] >= 1 && w.dilation[axis] >= 1 && kernel[axis] >= 1,
            "kernel, stride and dilation must be at least 1");
    require(w.padding[2 * axis] >= 0 && w.padding[2 * axis + 1] >= 0, "padding can't be negative");
  }
  const std::array<int64_t, 2> out{
      window_extent(x.height(), kernel[0], w.stride[0], w.dilation[0], w.padding[0], w.padding[1]),
      window_extent(x.width(), kernel[1], w.stride[1], w.dilation[1], w.padding[2], w.padding[3])};
  require(out[0] > 0 && out[1] > 0, "x " + text(x) + " is smaller than a window of " +
                                        text(kernel[0]) + "x" + text(kernel[1]) +
                                        " taps, dilation " + text(w.dilation[0]) + "x" +
                                        text(w.dilation[1]));
  return out;
}

}  // namespace fulmar::ops
