#include "kernels/cuda/ops.h"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/windows.cuh"

// Dense convolution, plain: any window and any groups, one thread for each result, sums as those of
// sums.cuh.
// With bf16 weights are rounded to it before they multiply, as a tensor core takes them.
// Weights w [Kh,Kw,Ci/groups,Co]; output channel group g reads input channel group g.
namespace fulmar::cuda {
namespace {

struct Geometry {
  Extent in, out;
  Axes axes;
  int64_t in_group, out_group;  // channels of a group

  FULMAR_DEVICE int64_t weight(int64_t kh, int64_t kw, int64_t ci) const {
    return ((kh * axes.columns.taps + kw) * in_group + ci) * out.channels;
  }
};
Geometry geometry_of(const Shape& x, const Shape& w, const Shape& y, const Window& window,
                     int64_t groups) {
  return {extent_of(x), extent_of(y), axes_of(x, y, w.images(), w.height(), window),
          x.channels() / groups, y.channels() / groups};
}

template <class T>
FULMAR_DEVICE float factor(float weight) {
  return number(rounded<T>(weight));
}

template <class T>
struct Forward {
  const T* x;
  const float *w, *bias;  // bias may be null
  T* y;
  Geometry g;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const Pixel p = g.out.pixel(i, 1);
    const int64_t group = divide(p.channel, g.out_group);
    LongSum sum(bias ? static_cast<double>(bias[p.channel]) : 0);
    for (int64_t kh = 0; kh < g.axes.rows.taps; kh++) {
      const int64_t row = g.axes.rows.source(p.row, kh);
      if (row < 0) continue;
      for (int64_t kw = 0; kw < g.axes.columns.taps; kw++) {
        const int64_t column = g.axes.columns.source(p.column, kw);
        if (column < 0) continue;
        const T* from = x + g.in.at(p.image, row, column) + group * g.in_group;
        const float* weights = w + g.weight(kh, kw, 0) + p.channel;
        for (int64_t ci = 0; ci < g.in_group; ci++)
          sum.add(number(from[ci]) * factor<T>(weights[ci * g.out.channels]));
      }
    }
    y[i] = rounded<T>(sum.sum());
  }
};

template <class T>
struct InputGrad {
  const T* dy;
  const float* w;
  T* dx;
  Geometry g;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const Pixel p = g.in.pixel(i, 1);
    const int64_t group = divide(p.channel, g.in_group), ci = p.channel - group * g.in_group;
    LongSum sum(0);
    for_windows(g.axes, p, [&](int64_t row, int64_t column, int64_t kh, int64_t kw) {
      const T* from = dy + g.out.at(p.image, row, column) + group * g.out_group;
      const float* weights = w + g.weight(kh, kw, ci) + group * g.out_group;
      for (int64_t co = 0; co < g.out_group; co++)
        sum.add(number(from[co]) * factor<T>(weights[co]));
    });
    dx[i] = rounded<T>(sum.sum());
  }
};

// A column of the sums is one weight, a row one pixel of dy.
template <class T>
struct AddWeightGrad {
  const T *x, *dy;
  Geometry g;
  FULMAR_DEVICE void operator()(int64_t, int64_t pixel, int64_t weight, RunSum<1>& run) const {
    const int64_t rest = divide(weight, g.out.channels), co = weight - rest * g.out.channels;
    const int64_t tap = divide(rest, g.in_group), ci = rest - tap * g.in_group;
    const int64_t kh = divide(tap, g.axes.columns.taps), kw = tap - kh * g.axes.columns.taps;
    const int64_t line = divide(pixel, g.out.width), image = divide(line, g.out.height);
    const int64_t row = g.axes.rows.source(line - image * g.out.height, kh);
    const int64_t column = g.axes.columns.source(pixel - line * g.out.width, kw);
    if (row < 0 || column < 0) return;
    const int64_t c = divide(co, g.out_group) * g.in_group + ci;
    run.of[0] +=
        number(x[g.in.at(image, row, column) + c]) * number(dy[pixel * g.out.channels + co]);
  }
};
struct KeepWeightGrad {
  float* dw;
  FULMAR_DEVICE void operator()(int64_t, int64_t weight, const Sum<1>& sum) const {
    dw[weight] = static_cast<float>(sum.of[0]);
  }
};

}  // namespace

void conv2d(Stream& stream, const View& x, const View& w, const View& bias, const View& y,
            const Window& window, int64_t groups, void*) {
  const Geometry g = geometry_of(x.shape, w.shape, y.shape, window, groups);
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    each(stream, "conv2d", y.shape.elements(),
         Forward<T>{elements<T>(x), reals(w), bias ? reals(bias) : nullptr, elements<T>(y), g});
  });
}

void conv2d_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                       const Window& window, int64_t groups, void*) {
  const Geometry g = geometry_of(dx.shape, w.shape, dy.shape, window, groups);
  for_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    each(stream, "conv2d_input_grad", dx.shape.elements(),
         InputGrad<T>{elements<T>(dy), reals(w), elements<T>(dx), g});
  });
}

void conv2d_weight_grad(Stream& stream, const View& x, const View& dy, const View& dw,
                        const Window& window, int64_t groups, void*) {
  const Geometry g = geometry_of(x.shape, dw.shape, dy.shape, window, groups);
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    sum_rows<1>(stream, "conv2d_weight_grad", {1, dy.shape.pixels(), dw.shape.elements()},
                AddWeightGrad<T>{elements<T>(x), elements<T>(dy), g}, KeepWeightGrad{reals(dw)});
  });
}

}  // namespace fulmar::cuda
