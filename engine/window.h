#pragma once

#include <array>

#include "engine/shape_rules.h"
#include "kernels/backend.h"

namespace fulmar::ops {

// Checks a window's numbers: see max_window_value.
inline void require_window(std::array<int64_t, 2> kernel, const Window& w) {
  const auto within = [](int64_t least, int64_t value, const char* what) {
    require(value >= least && value <= max_window_value,
            std::string(what) + " must be " + text(least) + " to " + text(max_window_value) +
                ", it is " + text(value));
  };
  for (size_t axis = 0; axis < 2; axis++) {
    within(1, kernel[axis], "the kernel");
    within(1, w.stride[axis], "the stride");
    within(1, w.dilation[axis], "the dilation");
  }
  for (const int64_t padding : w.padding) within(0, padding, "padding");
}

// Extents (rows, columns) that a window of `kernel` taps leaves of x; throws where it leaves none.
inline std::array<int64_t, 2> window_output(const Shape& x, std::array<int64_t, 2> kernel,
                                            const Window& w) {
  require_window(kernel, w);
  const std::array<int64_t, 2> out{
      window_extent(x.height(), kernel[0], w.stride[0], w.dilation[0], w.padding[0], w.padding[1]),
      window_extent(x.width(), kernel[1], w.stride[1], w.dilation[1], w.padding[2], w.padding[3])};
  require(out[0] > 0 && out[1] > 0, "x " + text(x) + " is smaller than a window of " +
                                        text(kernel[0]) + "x" + text(kernel[1]) +
                                        " taps, dilation " + text(w.dilation[0]) + "x" +
                                        text(w.dilation[1]));
  return out;
}

// What differs from a window without stride, dilation and padding.
inline Attributes window_attributes(const Window& w) {
  Attributes attributes;
  const Window plain;
  const auto add = [&](const char* name, const auto& values, const auto& usual) {
    if (values != usual) attributes[name] = std::vector<int64_t>(values.begin(), values.end());
  };
  add("stride", w.stride, plain.stride);
  add("dilation", w.dilation, plain.dilation);
  add("padding", w.padding, plain.padding);
  return attributes;
}

}  // namespace fulmar::ops
