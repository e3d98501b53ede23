#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

namespace fulmar::reference {
namespace {

// Taps of the window at output `out` that lie inside, along one axis.
int64_t taps_inside(const Window& window, int axis, int64_t out, int64_t kernel, int64_t extent) {
  int64_t count = 0;
  for (int64_t tap = 0; tap < kernel; tap++) count += input_of(window, axis, out, tap, extent) >= 0;
  return count;
}

}  // namespace

void max_pool(Stream& stream, const View& x, const View& y, const View& argmax,
              std::array<int64_t, 2> kernel, const Window& window) {
  const int64_t channels = y.shape.channels();
  reals(x), reals(y), elements<uint8_t>(argmax);
  for_each(stream, y.shape.images() * y.shape.height(), [&](int64_t task) {
    const int64_t n = task / y.shape.height(), oh = task % y.shape.height();
    for (int64_t ow = 0; ow < y.shape.width(); ow++) {
      double* best = y.at<double>(n, oh, ow);
      uint8_t* where = argmax.at<uint8_t>(n, oh, ow);
      std::fill_n(best, channels, -std::numeric_limits<double>::infinity());
      std::fill_n(where, channels, uint8_t{0});
      bool first = true;
      for (int64_t kh = 0; kh < kernel[0]; kh++)
        for (int64_t kw = 0; kw < kernel[1]; kw++) {
          const int64_t ih = input_of(window, 0, oh, kh, x.shape.height());
          const int64_t iw = input_of(window, 1, ow, kw, x.shape.width());
          if (ih < 0 || iw < 0) continue;
          const double* in = x.at<double>(n, ih, iw);
          for (int64_t c = 0; c < channels; c++)
            if (first || in[c] > best[c] || (std::isnan(in[c]) && !std::isnan(best[c]))) {
              best[c] = in[c];
              where[c] = static_cast<uint8_t>(kh * kernel[1] + kw);
            }
          first = false;
        }
    }
  });
}

void max_pool_grad(Stream& stream, const View& dy, const View& argmax, const View& dx,
                   std::array<int64_t, 2> kernel, const Window& window) {
  const int64_t channels = dx.shape.channels();
  reals(dy), reals(dx), elements<uint8_t>(argmax);
  for_each(stream, dx.shape.images() * dx.shape.height(), [&](int64_t task) {
    const int64_t n = task / dx.shape.height(), ih = task % dx.shape.height();
    for (int64_t iw = 0; iw < dx.shape.width(); iw++) {
      double* in_grad = dx.at<double>(n, ih, iw);
      std::fill_n(in_grad, channels, 0.0);
      for (int64_t kh = 0; kh < kernel[0]; kh++)
        for (int64_t kw = 0; kw < kernel[1]; kw++) {
          const int64_t oh = output_of(window, 0, ih, kh, dy.shape.height());
          const int64_t ow = output_of(window, 1, iw, kw, dy.shape.width());
          if (oh < 0 || ow < 0) continue;
          const double* out_grad = dy.at<double>(n, oh, ow);
          const uint8_t* where = argmax.at<uint8_t>(n, oh, ow);
          for (int64_t c = 0; c < channels; c++)
            if (where[c] == kh * kernel[1] + kw) in_grad[c] += out_grad[c];
        }
    }
  });
}

void average_pool(Stream& stream, const View& x, const View& y, std::array<int64_t, 2> kernel,
                  const Window& window) {
  const int64_t channels = y.shape.channels();
  reals(x), reals(y);
  for_each(stream, y.shape.images() * y.shape.height(), [&](int64_t task) {
    const int64_t n = task / y.shape.height(), oh = task % y.shape.height();
    for (int64_t ow = 0; ow < y.shape.width(); ow++) {
      double* out = y.at<double>(n, oh, ow);
      std::fill_n(out, channels, 0.0);
      for (int64_t kh = 0; kh < kernel[0]; kh++)
        for (int64_t kw = 0; kw < kernel[1]; kw++) {
          const int64_t ih = input_of(window, 0, oh, kh, x.shape.height());
          const int64_t iw = input_of(window, 1, ow, kw, x.shape.width());
          if (ih < 0 || iw < 0) continue;
          const double* in = x.at<double>(n, ih, iw);
          for (int64_t c = 0; c < channels; c++) out[c] += in[c];
        }
      const int64_t count = taps_inside(window, 0, oh, kernel[0], x.shape.height()) *
                            taps_inside(window, 1, ow, kernel[1], x.shape.width());
      for (int64_t c = 0; c < channels && count > 0; c++) out[c] /= static_cast<double>(count);
    }
  });
}

void average_pool_grad(Stream& stream, const View& dy, const View& dx,
                       std::array<int64_t, 2> kernel, const Window& window) {
  const int64_t channels = dx.shape.channels();
  reals(dy), reals(dx);
  for_each(stream, dx.shape.images() * dx.shape.height(), [&](int64_t task) {
    const int64_t n = task / dx.shape.height(), ih = task % dx.shape.height();
    for (int64_t iw = 0; iw < dx.shape.width(); iw++) {
      double* in_grad = dx.at<double>(n, ih, iw);
      std::fill_n(in_grad, channels, 0.0);
      for (int64_t kh = 0; kh < kernel[0]; kh++)
        for (int64_t kw = 0; kw < kernel[1]; kw++) {
          const int64_t oh = output_of(window, 0, ih, kh, dy.shape.height());
          const int64_t ow = output_of(window, 1, iw, kw, dy.shape.width());
          if (oh < 0 || ow < 0) continue;
          const int64_t count = taps_inside(window, 0, oh, kernel[0], dx.shape.height()) *
                                taps_inside(window, 1, ow, kernel[1], dx.shape.width());
          const double* out_grad = dy.at<double>(n, oh, ow);
          for (int64_t c = 0; c < channels; c++)
            in_grad[c] += out_grad[c] / static_cast<double>(count);
        }
    }
  });
}

}  // namespace fulmar::reference
