#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

namespace fulmar::reference {
namespace {

// The two source positions that an output position mixes: (1 - fraction) low + fraction high.
struct Taps {
  int64_t low, high;
  double fraction;
};

Taps taps_of(int64_t out, int64_t in_extent, int64_t out_extent, const Resize& resize) {
  const double last = static_cast<double>(in_extent - 1);
  double position = 0;
  if (!resize.align_corners)
    position = (static_cast<double>(out) + .5) * static_cast<double>(in_extent) /
                   static_cast<double>(out_extent) -
               .5;
  else if (out_extent > 1)
    position = static_cast<double>(out) * last / static_cast<double>(out_extent - 1);
  position = std::clamp(position, 0.0, last);
  if (resize.interpolation == Interpolation::nearest) {
    const int64_t nearest =
        std::min(static_cast<int64_t>(std::floor(position + .5)), in_extent - 1);
    return {nearest, nearest, 0};
  }
  const int64_t low = static_cast<int64_t>(std::floor(position));
  return {low, std::min(low + 1, in_extent - 1), position - static_cast<double>(low)};
}

// A position of weight 0 adds nothing, be it NaN.
double mix(double low, double high, double fraction) {
  return fraction == 0 ? low : (1 - fraction) * low + fraction * high;
}

// body(row taps, column taps, row, column) for every pixel of an output of extents [height, width].
template <class Body>
void for_each_output(const Shape& in, const Shape& out, const Resize& resize, const Body& body) {
  for (int64_t h = 0; h < out.height(); h++)
    for (int64_t w = 0; w < out.width(); w++)
      body(taps_of(h, in.height(), out.height(), resize),
           taps_of(w, in.width(), out.width(), resize), h, w);
}

}  // namespace

void resize(Stream& stream, const View& x, const View& y, const Resize& resize) {
  reals(x), reals(y);
  for_each(stream, y.shape.images(), [&](int64_t n) {
    for_each_output(x.shape, y.shape, resize, [&](Taps r, Taps c, int64_t h, int64_t w) {
      const double *low_low = x.at<double>(n, r.low, c.low),
                   *low_high = x.at<double>(n, r.low, c.high);
      const double *high_low = x.at<double>(n, r.high, c.low),
                   *high_high = x.at<double>(n, r.high, c.high);
      double* out = y.at<double>(n, h, w);
      for (int64_t k = 0; k < y.shape.channels(); k++)
        out[k] = mix(mix(low_low[k], low_high[k], c.fraction),
                     mix(high_low[k], high_high[k], c.fraction), r.fraction);
    });
  });
}

void resize_grad(Stream& stream, const View& dy, const View& dx, const Resize& resize) {
  reals(dy), reals(dx);
  for_each(stream, dx.shape.images(), [&](int64_t n) {
    const int64_t image = dx.shape.height() * dx.shape.width() * dx.shape.channels();
    std::fill_n(reals(dx) + n * image, image, 0.0);
    for_each_output(dx.shape, dy.shape, resize, [&](Taps r, Taps c, int64_t h, int64_t w) {
      const double* grad = dy.at<double>(n, h, w);
      for (int64_t k = 0; k < dy.shape.channels(); k++) {
        dx.at<double>(n, r.low, c.low)[k] += (1 - r.fraction) * (1 - c.fraction) * grad[k];
        dx.at<double>(n, r.low, c.high)[k] += (1 - r.fraction) * c.fraction * grad[k];
        dx.at<double>(n, r.high, c.low)[k] += r.fraction * (1 - c.fraction) * grad[k];
        dx.at<double>(n, r.high, c.high)[k] += r.fraction * c.fraction * grad[k];
      }
    });
  });
}

}  // namespace fulmar::reference
