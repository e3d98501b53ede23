#pragma once

#include <array>
#include <cstdint>

#include "kernels/view.h"

namespace fulmar {

// Whether one of two operands has fewer elements than their result.
inline bool any_repeats(const Shape& a, const Shape& b, const Shape& y) {
  return a.elements() != y.elements() || b.elements() != y.elements();
}

// The axes of a result y and of two operands, whose extents are y's or 1, along which they repeat.
// Extents of 1 are left out, and neighbours along which each operand behaves alike are one axis.
struct RepeatedAxes {
  static constexpr int end = Shape::max_rank;
  struct Axis {
    int64_t extent = 1;
    int64_t stride[2] = {};  // of the operands, in elements; 0 where one repeats
  };
  Axis axis[end];   // the fastest is the last
  int first = end;  // those before it aren't there

  RepeatedAxes(const Shape& a, const Shape& b, const Shape& y) {
    const auto extents = [](const Shape& s) {
      return std::array<int64_t, end>{s.images(), s.height(), s.width(), s.channels()};
    };
    const std::array<int64_t, end> of_a = extents(a), of_b = extents(b), of_y = extents(y);
    int64_t elements[2] = {1, 1};  // of the operands within the axes so far
    for (int i = end - 1; i >= 0; i--) {
      if (of_y[i] == 1) continue;
      const bool moves[2] = {of_a[i] != 1, of_b[i] != 1};
      if (first == end || moves[0] != (axis[first].stride[0] != 0) ||
          moves[1] != (axis[first].stride[1] != 0)) {
        first--;
        for (int k = 0; k < 2; k++) axis[first].stride[k] = moves[k] ? elements[k] : 0;
      }
      axis[first].extent *= of_y[i];
      for (int k = 0; k < 2; k++) elements[k] *= moves[k] ? of_y[i] : 1;
    }
  }
};

}  // namespace fulmar
