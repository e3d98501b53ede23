#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/each.cuh"
#include "kernels/cuda/launch.h"

namespace fulmar::cuda {

// How a window slides along one axis: tap k of output o reads position o stride + k dilation -
// before, where that lies in [0, in).
struct Axis {
  int64_t in, out, taps, stride, dilation, before;

  // -1: in the padding
  FULMAR_DEVICE int64_t source(int64_t output, int64_t tap) const {
    const int64_t at = output * stride + tap * dilation - before;
    return at >= 0 && at < in ? at : -1;
  }
  // The outputs whose windows may reach position i, and by which tap: -1 where none does.
  FULMAR_DEVICE int64_t first_output(int64_t i) const {
    const int64_t at = i + before - (taps - 1) * dilation;
    return at <= 0 ? 0 : (at + stride - 1) / stride;
  }
  FULMAR_DEVICE int64_t end_output(int64_t i) const {
    const int64_t end = (i + before) / stride + 1;
    return end < out ? end : out;
  }
  FULMAR_DEVICE int64_t tap(int64_t i, int64_t output) const {
    const int64_t past = i + before - output * stride, k = past / dilation;
    return k * dilation == past ? k : -1;
  }
  // How many taps of an output lie inside.
  FULMAR_DEVICE int64_t taps_inside(int64_t output) const {
    const int64_t begin = output * stride - before;
    const int64_t first = begin >= 0 ? 0 : (-begin + dilation - 1) / dilation;
    const int64_t end = begin >= in ? 0 : (in - 1 - begin) / dilation + 1;
    const int64_t last = end < taps ? end : taps;
    return last > first ? last - first : 0;
  }
};

struct Axes {
  Axis rows, columns;
};

inline Axes axes_of(const Shape& in, const Shape& out, int64_t tap_rows, int64_t tap_columns,
                    const Window& window) {
  return {{in.height(), out.height(), tap_rows, window.stride[0], window.dilation[0],
           window.padding[0]},
          {in.width(), out.width(), tap_columns, window.stride[1], window.dilation[1],
           window.padding[2]}};
}

// body(output row, output column, tap row, tap column) for all windows that reach an input pixel.
template <class Body>
FULMAR_DEVICE void for_windows(const Axes& axes, const Pixel& p, const Body& body) {
  const int64_t end_row = axes.rows.end_output(p.row);
  const int64_t end_column = axes.columns.end_output(p.column);
  for (int64_t row = axes.rows.first_output(p.row); row < end_row; row++) {
    const int64_t kh = axes.rows.tap(p.row, row);
    if (kh < 0) continue;
    for (int64_t column = axes.columns.first_output(p.column); column < end_column; column++) {
      const int64_t kw = axes.columns.tap(p.column, column);
      if (kw >= 0) body(row, column, kh, kw);
    }
  }
}

}  // namespace fulmar::cuda
