#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

namespace fulmar::reference {
namespace {

template <class Body>
void for_each_pixel(const Shape& shape, const Body& body) {
  for (int64_t n = 0; n < shape.images(); n++)
    for (int64_t h = 0; h < shape.height(); h++)
      for (int64_t w = 0; w < shape.width(); w++) body(n, h, w);
}

template <class T>
void fill_with(const View& y, double value) {
  for_each_pixel(y.shape, [&](int64_t n, int64_t h, int64_t w) {
    std::fill_n(y.at<T>(n, h, w), y.shape.channels(), static_cast<T>(value));
  });
}

// Calls body(large index, small index) for every element of `large`; an axis on which `small` has
// extent 1 is read there again and again.
template <class Body>
void for_each_pair(const Shape& large, const Shape& small, const Body& body) {
  int64_t i = 0;
  for (int64_t n = 0; n < large.images(); n++)
    for (int64_t h = 0; h < large.height(); h++)
      for (int64_t w = 0; w < large.width(); w++)
        for (int64_t c = 0; c < large.channels(); c++) body(i++, repeated_at(small, n, h, w, c));
}

}  // namespace

void copy(Stream&, const View& x, const View& y) {
  const size_t pixel_bytes = static_cast<size_t>(x.shape.channels()) * size_of(x.type);
  const int64_t size = static_cast<int64_t>(size_of(x.type));
  for_each_pixel(x.shape, [&](int64_t n, int64_t h, int64_t w) {
    const int64_t from = n * x.stride[0] + h * x.stride[1] + w * x.stride[2];
    const int64_t to = n * y.stride[0] + h * y.stride[1] + w * y.stride[2];
    std::memcpy(y.as<char>() + to * size, x.as<char>() + from * size, pixel_bytes);
  });
}

void fill(Stream&, const View& y, double value) {
  switch (y.type) {
    case DType::f64:
      return fill_with<double>(y, value);
    case DType::f32:
      return fill_with<float>(y, value);
    case DType::i32:
      return fill_with<int32_t>(y, value);
    case DType::u16:
      return fill_with<uint16_t>(y, value);
    case DType::u8:
      return fill_with<uint8_t>(y, value);
    case DType::bf16:
      break;
  }
  usage_error(std::string("reference: fill has no ") + name_of(y.type));
}

void broadcast(Stream&, const View& x, const View& y) {
  const double* from = reals(x);
  double* to = reals(y);
  for_each_pair(y.shape, x.shape, [&](int64_t large, int64_t small) { to[large] = from[small]; });
}

void reduce_sum(Stream&, const View& x, const View& y) {
  const double* from = reals(x);
  double* to = reals(y);
  std::fill_n(to, y.shape.elements(), 0.0);
  for_each_pair(x.shape, y.shape, [&](int64_t large, int64_t small) { to[small] += from[large]; });
}

void count_nonfinite(Stream&, std::span<const View> x, const View& count) {
  int64_t found = 0;
  for (const View& view : x) {
    if (view.type == DType::i32) {
      found += *elements<int32_t>(view);
      continue;
    }
    const double* value = reals(view);
    found += std::count_if(value, value + view.shape.elements(),
                           [](double v) { return !std::isfinite(v); });
  }
  *elements<int32_t>(count) =
      static_cast<int32_t>(std::min<int64_t>(found, std::numeric_limits<int32_t>::max()));
}

}  // namespace fulmar::reference
