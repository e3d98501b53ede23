#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/error.h"

namespace fulmar::reference {

// Calls body(i) for every i in [0, n), shared out over the pool where there is one. Each body
// writes only memory that belongs to its i.
template <class Body>
void for_each(const Stream& stream, int64_t n, const Body& body) {
  if (stream.pool) {
    stream.pool->run(n, [&](int64_t i, int) { body(i); });
  } else {
    for (int64_t i = 0; i < n; i++) body(i);
  }
}

// The elements of a contiguous tensor.
template <class T>
T* elements(const View& view) {
  if (view.type != dtype_of<T>())
    usage_error(std::string("reference: a kernel expects ") + name_of(dtype_of<T>()) +
                " and was given " + name_of(view.type) + " " + view.shape.to_string());
  return view.as<T>();
}
inline double* reals(const View& view) { return elements<double>(view); }

// The element of x that the element (n, h, w, c) of a larger tensor meets: x repeats along extents
// of 1.
inline int64_t repeated_at(const Shape& x, int64_t n, int64_t h, int64_t w, int64_t c) {
  const int64_t image = x.images() == 1 ? 0 : n, row = x.height() == 1 ? 0 : h;
  const int64_t column = x.width() == 1 ? 0 : w, channel = x.channels() == 1 ? 0 : c;
  return ((image * x.height() + row) * x.width() + column) * x.channels() + channel;
}

// Axis 0 is rows, 1 columns. The position that tap `tap` of the window at output `out` reads, or -1
// where that lies in the padding.
inline int64_t input_of(const Window& window, int axis, int64_t out, int64_t tap, int64_t extent) {
  const int64_t in =
      out * window.stride[axis] + tap * window.dilation[axis] - window.padding[2 * axis];
  return in >= 0 && in < extent ? in : -1;
}

// The other way round: the output whose tap `tap` reads position `in`, or -1 where none does.
inline int64_t output_of(const Window& window, int axis, int64_t in, int64_t tap, int64_t extent) {
  const int64_t from = in + window.padding[2 * axis] - tap * window.dilation[axis];
  if (from < 0 || from % window.stride[axis] != 0) return -1;
  const int64_t out = from / window.stride[axis];
  return out < extent ? out : -1;
}

}  // namespace fulmar::reference
