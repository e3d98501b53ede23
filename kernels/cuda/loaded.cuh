#pragma once

#include "kernels/cuda/queue.h"
#include "kernels/cuda/vectors.cuh"

// Batch normalisation while a tensor is loaded: Loaded of kernels/fused.h.
namespace fulmar::cuda {

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
  // Parameters need not lie on 16 bytes: they are read once a thread.
  template <int lanes>
  FULMAR_DEVICE ChannelNorm<lanes> channels(int64_t channel) const {
    ChannelNorm<lanes> norm;
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      norm.centre.v[k] = mean[channel + k];
      norm.scale.v[k] = gamma[channel + k] / sqrtf(var[channel + k] + epsilon);
      norm.offset.v[k] = beta[channel + k];
    }
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
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const int64_t c = channel + k;
      const float n = static_cast<float>(sums[2 * all + c]), square = var[c] + epsilon;
      norm.centre.v[k] = mean[c];
      norm.scale.v[k] = gamma[c] / sqrtf(square);
      norm.offset.v[k] = static_cast<float>(grad_sums[c]) / n;
      norm.slope.v[k] = static_cast<float>(grad_sums[all + c]) / (n * square);
    }
    return norm;
  }
};

// NaN stays.
FULMAR_DEVICE float rectified(float x) { return x <= 0 ? 0 : x; }

}  // namespace fulmar::cuda
