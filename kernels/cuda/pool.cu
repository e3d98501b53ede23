#include "kernels/cuda/each.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/windows.cuh"

namespace fulmar::cuda {
namespace {

template <class T>
struct MaxPool {
  const T* x;
  T* y;
  uint8_t* argmax;
  Extent in, out;
  Axes axes;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    Vec<float, lanes> best;
    Vec<uint8_t, lanes> where{};
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) best.v[k] = -INFINITY;
    bool first = true;
    for (int64_t kh = 0; kh < axes.rows.taps; kh++) {
      const int64_t row = axes.rows.source(p.row, kh);
      if (row < 0) continue;
      for (int64_t kw = 0; kw < axes.columns.taps; kw++) {
        const int64_t column = axes.columns.source(p.column, kw);
        if (column < 0) continue;
        const auto value = load<lanes>(x + in.at(p.image, row, column) + p.channel);
        const uint8_t tap = static_cast<uint8_t>(kh * axes.columns.taps + kw);
        FULMAR_UNROLL
        for (int k = 0; k < lanes; k++) {
          const bool first_nan = value.v[k] != value.v[k] && best.v[k] == best.v[k];
          if (first || value.v[k] > best.v[k] || first_nan) {
            best.v[k] = value.v[k];
            where.v[k] = tap;
          }
        }
        first = false;
      }
    }
    const int64_t i = out.at(p.image, p.row, p.column) + p.channel;
    store<lanes>(y + i, best);
    store<lanes>(argmax + i, where);
  }
};

template <class T>
struct MaxPoolGrad {
  const T* dy;
  const uint8_t* argmax;
  T* dx;
  Extent in, out;
  Axes axes;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    Vec<float, lanes> sum{};
    for_windows(axes, p, [&](int64_t row, int64_t column, int64_t kh, int64_t kw) {
      const int64_t i = out.at(p.image, row, column) + p.channel;
      const auto grad = load<lanes>(dy + i);
      const auto where = load<lanes>(argmax + i);
      FULMAR_UNROLL
      for (int k = 0; k < lanes; k++)
        if (where.v[k] == kh * axes.columns.taps + kw) sum.v[k] += grad.v[k];
    });
    store<lanes>(dx + in.at(p.image, p.row, p.column) + p.channel, sum);
  }
};

template <class T>
struct AveragePool {
  const T* x;
  T* y;
  Extent in, out;
  Axes axes;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    LongSum sum[lanes];
    for (int64_t kh = 0; kh < axes.rows.taps; kh++) {
      const int64_t row = axes.rows.source(p.row, kh);
      if (row < 0) continue;
      for (int64_t kw = 0; kw < axes.columns.taps; kw++) {
        const int64_t column = axes.columns.source(p.column, kw);
        if (column < 0) continue;
        const auto value = load<lanes>(x + in.at(p.image, row, column) + p.channel);
        FULMAR_UNROLL
        for (int k = 0; k < lanes; k++) sum[k].add(value.v[k]);
      }
    }
    const int64_t count = axes.rows.taps_inside(p.row) * axes.columns.taps_inside(p.column);
    Vec<float, lanes> mean;
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++)
      mean.v[k] = count > 0 ? sum[k].sum() / static_cast<float>(count) : 0;
    store<lanes>(y + out.at(p.image, p.row, p.column) + p.channel, mean);
  }
};

template <class T>
struct AveragePoolGrad {
  const T* dy;
  T* dx;
  Extent in, out;
  Axes axes;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    double sum[lanes] = {};  // ties of bf16 are common here, and fall as the reference's do
    for_windows(axes, p, [&](int64_t row, int64_t column, int64_t, int64_t) {
      const auto grad = load<lanes>(dy + out.at(p.image, row, column) + p.channel);
      const int64_t count = axes.rows.taps_inside(row) * axes.columns.taps_inside(column);
      FULMAR_UNROLL
      for (int k = 0; k < lanes; k++)
        sum[k] += static_cast<double>(grad.v[k]) / static_cast<double>(count);
    });
    Vec<float, lanes> total;
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) total.v[k] = static_cast<float>(sum[k]);
    store<lanes>(dx + in.at(p.image, p.row, p.column) + p.channel, total);
  }
};

}  // namespace

void max_pool(Stream& stream, const View& x, const View& y, const View& argmax,
              std::array<int64_t, 2> kernel, const Window& window) {
  if (kernel[0] * kernel[1] > max_pool_taps)
    usage_error("cuda: max_pool: a window of " + std::to_string(kernel[0]) + "x" +
                std::to_string(kernel[1]) + " has more than the " + std::to_string(max_pool_taps) +
                " taps that argmax can name");
  const Axes axes = axes_of(x.shape, y.shape, kernel[0], kernel[1], window);
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const MaxPool<T> body{elements<T>(x),     elements<T>(y),     elements<uint8_t>(argmax),
                          extent_of(x.shape), extent_of(y.shape), axes};
    each_pixel<T>(stream, "max_pool", y.shape, body, body.x, body.y, body.argmax);
  });
}

void max_pool_grad(Stream& stream, const View& dy, const View& argmax, const View& dx,
                   std::array<int64_t, 2> kernel, const Window& window) {
  const Axes axes = axes_of(dx.shape, dy.shape, kernel[0], kernel[1], window);
  for_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    const MaxPoolGrad<T> body{elements<T>(dy),     elements<uint8_t>(argmax), elements<T>(dx),
                              extent_of(dx.shape), extent_of(dy.shape),       axes};
    each_pixel<T>(stream, "max_pool_grad", dx.shape, body, body.dy, body.argmax, body.dx);
  });
}

void average_pool(Stream& stream, const View& x, const View& y, std::array<int64_t, 2> kernel,
                  const Window& window) {
  const Axes axes = axes_of(x.shape, y.shape, kernel[0], kernel[1], window);
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const AveragePool<T> body{elements<T>(x), elements<T>(y), extent_of(x.shape),
                              extent_of(y.shape), axes};
    each_pixel<T>(stream, "average_pool", y.shape, body, body.x, body.y);
  });
}

void average_pool_grad(Stream& stream, const View& dy, const View& dx,
                       std::array<int64_t, 2> kernel, const Window& window) {
  const Axes axes = axes_of(dx.shape, dy.shape, kernel[0], kernel[1], window);
  for_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    const AveragePoolGrad<T> body{elements<T>(dy), elements<T>(dx), extent_of(dx.shape),
                                  extent_of(dy.shape), axes};
    each_pixel<T>(stream, "average_pool_grad", dx.shape, body, body.dy, body.dx);
  });
}

}  // namespace fulmar::cuda
