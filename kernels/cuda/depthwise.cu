#include "kernels/cuda/ops.h"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/windows.cuh"

namespace fulmar::cuda {
namespace {

template <int lanes>
FULMAR_DEVICE void multiply_add(Vec<float, lanes>& sum, const Vec<float, lanes>& a,
                                const Vec<float, lanes>& b) {
  FULMAR_UNROLL
  for (int k = 0; k < lanes; k++) sum.v[k] += a.v[k] * b.v[k];
}

template <class T>
struct Forward {
  const T* x;
  const float* w;
  T* y;
  Extent in, out;
  Axes axes;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    Vec<float, lanes> sum{};
    for (int64_t kh = 0; kh < axes.rows.taps; kh++) {
      const int64_t row = axes.rows.source(p.row, kh);
      if (row < 0) continue;
      for (int64_t kw = 0; kw < axes.columns.taps; kw++) {
        const int64_t column = axes.columns.source(p.column, kw);
        if (column < 0) continue;
        const int64_t tap = kh * axes.columns.taps + kw;
        multiply_add(sum, load<lanes>(x + in.at(p.image, row, column) + p.channel),
                     load<lanes>(w + tap * in.channels + p.channel));
      }
    }
    store<lanes>(y + out.at(p.image, p.row, p.column) + p.channel, sum);
  }
};

template <class T>
struct InputGrad {
  const T* dy;
  const float* w;
  T* dx;
  Extent in, out;
  Axes axes;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    Vec<float, lanes> sum{};
    for_windows(axes, p, [&](int64_t row, int64_t column, int64_t kh, int64_t kw) {
      multiply_add(sum, load<lanes>(dy + out.at(p.image, row, column) + p.channel),
                   load<lanes>(w + (kh * axes.columns.taps + kw) * in.channels + p.channel));
    });
    store<lanes>(dx + in.at(p.image, p.row, p.column) + p.channel, sum);
  }
};

// A column of the sums is one weight, a row one pixel of dy.
template <class T>
struct AddWeightGrad {
  const T *x, *dy;
  Extent in, out;
  Axes axes;
  FULMAR_DEVICE void operator()(int64_t, int64_t pixel, int64_t weight, RunSum<1>& run) const {
    const int64_t tap = divide(weight, in.channels), c = weight - tap * in.channels;
    const int64_t kh = divide(tap, axes.columns.taps), kw = tap - kh * axes.columns.taps;
    const int64_t line = divide(pixel, out.width), image = divide(line, out.height);
    const int64_t row = axes.rows.source(line - image * out.height, kh);
    const int64_t column = axes.columns.source(pixel - line * out.width, kw);
    if (row < 0 || column < 0) return;
    run.of[0] += number(x[in.at(image, row, column) + c]) * number(dy[pixel * out.channels + c]);
  }
};
struct KeepWeightGrad {
  float* dw;
  FULMAR_DEVICE void operator()(int64_t, int64_t weight, const Sum<1>& sum) const {
    dw[weight] = static_cast<float>(sum.of[0]);
  }
};

}  // namespace

// Weights [Kh,Kw,C] as a View: row = kernel row, pixel = kernel column.
void depthwise_conv2d(Stream& stream, const View& x, const View& w, const View& y,
                      const Window& window) {
  const Axes axes = axes_of(x.shape, y.shape, w.shape.height(), w.shape.width(), window);
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const Forward<T> body{elements<T>(x),     reals(w),           elements<T>(y),
                          extent_of(x.shape), extent_of(y.shape), axes};
    each_pixel<T>(stream, "depthwise_conv2d", y.shape, body, body.x, body.w, body.y);
  });
}

void depthwise_conv2d_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                                 const Window& window) {
  const Axes axes = axes_of(dx.shape, dy.shape, w.shape.height(), w.shape.width(), window);
  for_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    const InputGrad<T> body{elements<T>(dy),     reals(w), elements<T>(dx), extent_of(dx.shape),
                            extent_of(dy.shape), axes};
    each_pixel<T>(stream, "depthwise_conv2d_input_grad", dx.shape, body, body.dy, body.w, body.dx);
  });
}

void depthwise_conv2d_weight_grad(Stream& stream, const View& x, const View& dy, const View& dw,
                                  const Window& window, void*) {
  const Axes axes = axes_of(x.shape, dy.shape, dw.shape.height(), dw.shape.width(), window);
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const AddWeightGrad<T> body{elements<T>(x), elements<T>(dy), extent_of(x.shape),
                                extent_of(dy.shape), axes};
    sum_rows<1>(stream, "depthwise_conv2d_weight_grad", {1, dy.shape.pixels(), dw.shape.elements()},
                body, KeepWeightGrad{reals(dw)});
  });
}

}  // namespace fulmar::cuda
