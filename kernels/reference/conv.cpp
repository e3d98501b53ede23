#include <algorithm>

#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

// Weights [Kh,Kw,Ci/groups,Co] as a View: image = kernel row, row = kernel column, pixel = input
// channel of the group. Inner loops run over output channels, which are contiguous.
namespace fulmar::reference {

void conv2d(Stream& stream, const View& x, const View& w, const View& bias, const View& y,
            const Window& window, int64_t groups, void*) {
  const int64_t rows = w.shape.images(), columns = w.shape.height(), inputs = w.shape.width();
  const int64_t outputs = y.shape.channels() / groups;
  reals(x), reals(w), reals(y);
  for_each(stream, y.shape.images() * y.shape.height(), [&](int64_t task) {
    const int64_t n = task / y.shape.height(), oh = task % y.shape.height();
    for (int64_t ow = 0; ow < y.shape.width(); ow++) {
      double* out = y.at<double>(n, oh, ow);
      for (int64_t co = 0; co < y.shape.channels(); co++) out[co] = bias ? reals(bias)[co] : 0;
      for (int64_t kh = 0; kh < rows; kh++)
        for (int64_t kw = 0; kw < columns; kw++) {
          const int64_t ih = input_of(window, 0, oh, kh, x.shape.height());
          const int64_t iw = input_of(window, 1, ow, kw, x.shape.width());
          if (ih < 0 || iw < 0) continue;
          const double* in = x.at<double>(n, ih, iw);
          for (int64_t g = 0; g < groups; g++)
            for (int64_t ci = 0; ci < inputs; ci++) {
              const double value = in[g * inputs + ci];
              const double* weight = w.at<double>(kh, kw, ci) + g * outputs;
              for (int64_t co = 0; co < outputs; co++) out[g * outputs + co] += value * weight[co];
            }
        }
    }
  });
}

void conv2d_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                       const Window& window, int64_t groups, void*) {
  const int64_t rows = w.shape.images(), columns = w.shape.height(), inputs = w.shape.width();
  const int64_t outputs = dy.shape.channels() / groups;
  reals(dy), reals(w), reals(dx);
  for_each(stream, dx.shape.images() * dx.shape.height(), [&](int64_t task) {
    const int64_t n = task / dx.shape.height(), ih = task % dx.shape.height();
    for (int64_t iw = 0; iw < dx.shape.width(); iw++) {
      double* in_grad = dx.at<double>(n, ih, iw);
      std::fill_n(in_grad, dx.shape.channels(), 0.0);
      for (int64_t kh = 0; kh < rows; kh++)
        for (int64_t kw = 0; kw < columns; kw++) {
          const int64_t oh = output_of(window, 0, ih, kh, dy.shape.height());
          const int64_t ow = output_of(window, 1, iw, kw, dy.shape.width());
          if (oh < 0 || ow < 0) continue;
          const double* out_grad = dy.at<double>(n, oh, ow);
          for (int64_t g = 0; g < groups; g++)
            for (int64_t ci = 0; ci < inputs; ci++) {
              const double* weight = w.at<double>(kh, kw, ci) + g * outputs;
              double sum = 0;
              for (int64_t co = 0; co < outputs; co++)
                sum += out_grad[g * outputs + co] * weight[co];
              in_grad[g * inputs + ci] += sum;
            }
        }
    }
  });
}

void conv2d_weight_grad(Stream& stream, const View& x, const View& dy, const View& dw,
                        const Window& window, int64_t groups, void*) {
  const int64_t columns = dw.shape.height(), inputs = dw.shape.width();
  const int64_t outputs = dy.shape.channels() / groups;
  reals(x), reals(dy), reals(dw);
  for_each(stream, dw.shape.images() * columns * inputs, [&](int64_t task) {
    const int64_t kh = task / (columns * inputs), kw = task / inputs % columns, ci = task % inputs;
    double* weight_grad = dw.at<double>(kh, kw, ci);
    std::fill_n(weight_grad, dw.shape.channels(), 0.0);
    for (int64_t n = 0; n < dy.shape.images(); n++)
      for (int64_t oh = 0; oh < dy.shape.height(); oh++)
        for (int64_t ow = 0; ow < dy.shape.width(); ow++) {
          const int64_t ih = input_of(window, 0, oh, kh, x.shape.height());
          const int64_t iw = input_of(window, 1, ow, kw, x.shape.width());
          if (ih < 0 || iw < 0) continue;
          const double* in = x.at<double>(n, ih, iw);
          const double* out_grad = dy.at<double>(n, oh, ow);
          for (int64_t g = 0; g < groups; g++)
            for (int64_t co = 0; co < outputs; co++)
              weight_grad[g * outputs + co] += in[g * inputs + ci] * out_grad[g * outputs + co];
        }
  });
}

}  // namespace fulmar::reference
