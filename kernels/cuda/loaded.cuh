#pragma once

#include "kernels/cuda/each.cuh"

// Batch normalisation while a tensor is loaded: Loaded of kernels/fused.h.
namespace fulmar::cuda {

// What belongs to `lanes` channels, by 16 bytes where they lie on such.
template <int lanes, class T>
FULMAR_DEVICE Vec<T, lanes> channel_values(const T* from, int64_t channel) {
  if constexpr (lanes % lanes_of<T> == 0) {
    if (reinterpret_cast<uintptr_t>(from + channel) % 16 == 0) return load<lanes>(from + channel);
  }
  Vec<T, lanes> value;
  FULMAR_UNROLL
  for (int k = 0; k < lanes; k++) value.v[k] = from[channel + k];
  return value;
}

// gamma (x - mean) / sqrt(var + epsilon) + beta of `lanes` channels.
template <int lanes>
struct ChannelNorm {
  Vec<float, lanes> centre, scale, offset;

  FULMAR_DEVICE float operator()(float x, int k) const {
    return (x - centre.v[k]) * scale.v[k] + offset.v[k];
  }
};

// Where the parameters lie; null: x stays as it is.
struct Norm {
  const float *gamma = nullptr, *beta = nullptr, *mean = nullptr, *var = nullptr;
  float epsilon = 0;

  static Norm of(const Loaded& x) {
    if (!x.normalised()) return {};
    return {reals(x.gamma), reals(x.beta), reals(x.mean), reals(x.var),
            static_cast<float>(x.epsilon)};
  }
  FULMAR_DEVICE bool given() const { return gamma != nullptr; }
  template <int lanes>
  FULMAR_DEVICE ChannelNorm<lanes> channels(int64_t channel) const {
    ChannelNorm<lanes> norm;
    norm.centre = channel_values<lanes>(mean, channel);
    norm.offset = channel_values<lanes>(beta, channel);
    norm.scale = channel_values<lanes>(gamma, channel);
    const auto square = channel_values<lanes>(var, channel);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) norm.scale.v[k] /= sqrtf(square.v[k] + epsilon);
    return norm;
  }
};

// gamma/s (g - g0/n - (z - mean) g1/(n s^2)) of `lanes` channels: Cotangent of kernels/fused.h.
template <int lanes>
struct ChannelNormGrad {
  Vec<float, lanes> centre, scale, offset, slope;

  FULMAR_DEVICE float operator()(float g, float z, int k) const {
    return scale.v[k] * (g - offset.v[k] - (z - centre.v[k]) * slope.v[k]);
  }
};

struct NormGrad {
  const float *gamma = nullptr, *mean = nullptr, *var = nullptr;
  const double *sums = nullptr, *grad_sums = nullptr;  // [3][all], [2][all]
  float epsilon = 0;
  int64_t all = 0;

  static NormGrad of(const Cotangent& dy) {
    if (!dy.normalised()) return {};
    return {reals(dy.gamma),
            reals(dy.mean),
            reals(dy.var),
            elements<double>(dy.sums),
            elements<double>(dy.grad_sums),
            static_cast<float>(dy.epsilon),
            dy.gamma.shape.channels()};
  }
  FULMAR_DEVICE bool given() const { return gamma != nullptr; }
  template <int lanes>
  FULMAR_DEVICE ChannelNormGrad<lanes> channels(int64_t channel) const {
    ChannelNormGrad<lanes> norm;
    norm.centre = channel_values<lanes>(mean, channel);
    norm.scale = channel_values<lanes>(gamma, channel);
    const auto spread = channel_values<lanes>(var, channel);
    const auto n = channel_values<lanes>(sums + 2 * all, channel);
    const auto g0 = channel_values<lanes>(grad_sums, channel);
    const auto g1 = channel_values<lanes>(grad_sums + all, channel);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const float pixels = static_cast<float>(n.v[k]), square = spread.v[k] + epsilon;
      norm.scale.v[k] /= sqrtf(square);
      norm.offset.v[k] = static_cast<float>(g0.v[k]) / pixels;
      norm.slope.v[k] = static_cast<float>(g1.v[k]) / (pixels * square);
    }
    return norm;
  }
};

// NaN stays.
FULMAR_DEVICE float rectified(float x) { return x <= 0 ? 0 : x; }

}  // namespace fulmar::cuda
