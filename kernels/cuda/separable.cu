#include "kernels/cuda/each.cuh"
#include "kernels/cuda/ops.h"

namespace fulmar::cuda {
namespace {

template <class T>
struct Plain {
  const T* x;
  const float *gamma, *beta, *mean, *var;
  const float *depthwise, *pointwise, *bias;
  T* y;
  float epsilon;
  Extent in;
  int64_t outputs;

  FULMAR_DEVICE float loaded(const T* pixel, int64_t c) const {
    const float value = number(pixel[c]);
    if (!gamma) return value;
    const float y =
        number(rounded<T>(gamma[c] / sqrtf(var[c] + epsilon) * (value - mean[c]) + beta[c]));
    return y < 0 ? 0 : y;
  }
  FULMAR_DEVICE void operator()(int64_t i) const {
    const int64_t p = divide(i, outputs), o = i - p * outputs;
    const Pixel at = in.pixel(p * in.channels, 1);
    float sum = 0;
    for (int64_t c = 0; c < in.channels; c++) {
      float d = 0;
      for (int64_t t = 0; t < 9; t++) {
        const int64_t row = at.row + t / 3 - 1, column = at.column + t % 3 - 1;
        if (row < 0 || row >= in.height || column < 0 || column >= in.width) continue;
        d += loaded(x + in.at(at.image, row, column), c) * depthwise[t * in.channels + c];
      }
      sum += number(rounded<T>(d)) * number(rounded<T>(pointwise[c * outputs + o]));
    }
    y[i] = rounded<T>(bias ? sum + bias[o] : sum);
  }
};

}  // namespace

size_t separable_workspace(Stream&, const Loaded&, const View&, const View&, const View&,
                           const View&, const View&, const View&) {
  return 0;
}

void separable(Stream& stream, const Loaded& x, const View& depthwise, const View& pointwise,
               const View& bias, const View& shift, const View& y, const View& sums, void*) {
  for_type_of(x.x, [&](auto zero) {
    using T = decltype(zero);
    const bool n = x.normalised();
    const Plain<T> body{elements<T>(x.x),
                        n ? reals(x.gamma) : nullptr,
                        n ? reals(x.beta) : nullptr,
                        n ? reals(x.mean) : nullptr,
                        n ? reals(x.var) : nullptr,
                        reals(depthwise),
                        reals(pointwise),
                        bias.shape.rank() > 0 ? reals(bias) : nullptr,
                        elements<T>(y),
                        static_cast<float>(x.epsilon),
                        extent_of(x.x.shape),
                        y.shape.channels()};
    each(stream, "separable", y.shape.elements(), body);
  });
  if (sums.shape.rank() > 0) channel_sums(stream, y, shift, sums);
}

}  // namespace fulmar::cuda
