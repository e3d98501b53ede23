#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "engine/network.h"
#include "kernels/backend.h"

namespace fulmar {

// The window that a layer's attributes stride, dilation and padding describe on x; `padding` is
// what it has without the attribute. Error(usage) for what can't be.
Window layer_window(const LayerArgs& layer, const Shape& x, std::array<int64_t, 2> kernel,
                    std::array<int64_t, 2> stride, const std::string& padding);

// That of a conv2d_transpose: of the convolution whose gradient by its input it is, and the extents
// of that input, which are the layer's output.
struct TransposedWindow {
  std::array<int64_t, 2> kernel, out;
  Window window;
};
TransposedWindow transposed_window(const LayerArgs& layer, const Shape& x);

}  // namespace fulmar
