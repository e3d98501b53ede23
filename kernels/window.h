#pragma once

#include <array>
#include <cstdint>

namespace fulmar {

// A window slides over rows and columns. Padding may be asymmetric, as 'same' at stride 2 is.
// Strides, dilations and numbers of taps are 1 to max_window_value, padding is 0 to
// max_window_value: arithmetic on positions then stays far inside int64.
constexpr int64_t max_window_value = 1 << 20;
struct Window {
  std::array<int64_t, 2> stride{1, 1};
  std::array<int64_t, 2> dilation{1, 1};
  std::array<int64_t, 4> padding{};  // top, bottom, left, right
};

// Extent that a window of `kernel` taps leaves of `in`:
// (in + before + after - dilation * (kernel - 1) - 1) / stride + 1, and 0 where it does not fit.
constexpr int64_t window_extent(int64_t in, int64_t kernel, int64_t stride, int64_t dilation,
                                int64_t before, int64_t after) {
  const int64_t room = in + before + after - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

}  // namespace fulmar
