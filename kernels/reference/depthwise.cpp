#include <algorithm>

#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

// Weights [Kh,Kw,C] as a View: row = kernel row, pixel = kernel column.
namespace fulmar::reference {

void depthwise_conv2d(Stream& stream, const View& x, const View& w, const View& y,
                      const Window& window) {
  const int64_t channels = y.shape.channels();
  reals(x), reals(w), reals(y);
  for_each(stream, y.shape.images() * y.shape.height(), [&](int64_t task) {
    const int64_t n = task / y.shape.height(), oh = task % y.shape.height();
    for (int64_t ow = 0; ow < y.shape.width(); ow++) {
      double* out = y.at<double>(n, oh, ow);
      std::fill_n(out, channels, 0.0);
      for (int64_t kh = 0; kh < w.shape.height(); kh++)
        for (int64_t kw = 0; kw < w.shape.width(); kw++) {
          const int64_t ih = input_of(window, 0, oh, kh, x.shape.height());
          const int64_t iw = input_of(window, 1, ow, kw, x.shape.width());
          if (ih < 0 || iw < 0) continue;
          const double* in = x.at<double>(n, ih, iw);
          const double* weight = w.at<double>(0, kh, kw);
          for (int64_t c = 0; c < channels; c++) out[c] += in[c] * weight[c];
        }
    }
  });
}

void depthwise_conv2d_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                                 const Window& window) {
  const int64_t channels = dx.shape.channels();
  reals(dy), reals(w), reals(dx);
  for_each(stream, dx.shape.images() * dx.shape.height(), [&](int64_t task) {
    const int64_t n = task / dx.shape.height(), ih = task % dx.shape.height();
    for (int64_t iw = 0; iw < dx.shape.width(); iw++) {
      double* in_grad = dx.at<double>(n, ih, iw);
      std::fill_n(in_grad, channels, 0.0);
      for (int64_t kh = 0; kh < w.shape.height(); kh++)
        for (int64_t kw = 0; kw < w.shape.width(); kw++) {
          const int64_t oh = output_of(window, 0, ih, kh, dy.shape.height());
          const int64_t ow = output_of(window, 1, iw, kw, dy.shape.width());
          if (oh < 0 || ow < 0) continue;
          const double* out_grad = dy.at<double>(n, oh, ow);
          const double* weight = w.at<double>(0, kh, kw);
          for (int64_t c = 0; c < channels; c++) in_grad[c] += out_grad[c] * weight[c];
        }
    }
  });
}

void depthwise_conv2d_weight_grad(Stream& stream, const View& x, const View& dy, const View& dw,
                                  const Window& window, void*) {
  const int64_t channels = dw.shape.channels();
  reals(x), reals(dy), reals(dw);
  for_each(stream, dw.shape.height() * dw.shape.width(), [&](int64_t task) {
    const int64_t kh = task / dw.shape.width(), kw = task % dw.shape.width();
    double* weight_grad = dw.at<double>(0, kh, kw);
    std::fill_n(weight_grad, channels, 0.0);
    for (int64_t n = 0; n < dy.shape.images(); n++)
      for (int64_t oh = 0; oh < dy.shape.height(); oh++)
        for (int64_t ow = 0; ow < dy.shape.width(); ow++) {
          const int64_t ih = input_of(window, 0, oh, kh, x.shape.height());
          const int64_t iw = input_of(window, 1, ow, kw, x.shape.width());
          if (ih < 0 || iw < 0) continue;
          const double* in = x.at<double>(n, ih, iw);
          const double* out_grad = dy.at<double>(n, oh, ow);
          for (int64_t c = 0; c < channels; c++) weight_grad[c] += in[c] * out_grad[c];
        }
  });
}

}  // namespace fulmar::reference
