#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/loaded.cuh"
#include "kernels/cuda/ops.h"

// Tensors are [pixels, channels]; sums are rows of `channels` doubles.
namespace fulmar::cuda {
namespace {

// A block's pixels are added up about their first, and moved to the shift in double: else few
// values far from the shift lose their variance in float.
template <class T>
struct AddDeviations {
  const T* x;
  const float* shift;

  template <int lanes>
  struct Kept {
    Vec<float, lanes> shift, origin;
  };
  template <int lanes>
  FULMAR_DEVICE Kept<lanes> keep(int64_t channel) const {
    Kept<lanes> kept;
    kept.shift = channel_values<lanes>(shift, channel);
    kept.origin = kept.shift;
    return kept;
  }
  template <int lanes>
  FULMAR_DEVICE void begin(Kept<lanes>& kept, int64_t i) const {
    kept.origin = load<lanes>(x + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const float difference = kept.origin.v[k] - kept.origin.v[k];  // NaN where not finite
      if (!(difference == 0)) kept.origin.v[k] = kept.shift.v[k];
    }
  }
  template <int lanes>
  FULMAR_DEVICE void add(const Kept<lanes>& kept, int64_t i, FloatSums<2, lanes>& sums) const {
    const auto value = load<lanes>(x + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const float deviation = value.v[k] - kept.origin.v[k];
      sums.of[0][k] += deviation;
      sums.of[1][k] += deviation * deviation;
    }
  }
  template <int lanes>
  FULMAR_DEVICE Sum<2> end(const Kept<lanes>& kept, int k, int64_t pixels,
                           const Sum<2>& sum) const {
    return moved_to(kept.shift.v[k], kept.origin.v[k], static_cast<double>(pixels), sum);
  }
};
struct Moments {
  const double* sums;
  const float* shift;
  float *mean, *var;
  int64_t channels;
  FULMAR_DEVICE void operator()(int64_t c) const {
    const double n = sums[2 * channels + c], about = sums[c] / n;
    mean[c] = static_cast<float>(static_cast<double>(shift[c]) + about);
    // nvcc fuses this: of equal values it may be a rounding error below 0.
    const double variance = sums[channels + c] / n - about * about;
    var[c] = static_cast<float>(variance < 0 ? 0 : variance);
  }
};

struct UpdateRunning {
  const float *mean, *var;
  const double* sums;
  float *running_mean, *running_var;
  double momentum;
  bool unbiased;
  int64_t channels;
  FULMAR_DEVICE void operator()(int64_t c) const {
    const double n = sums[2 * channels + c];
    const double correction = unbiased ? n / (n - 1 > 1 ? n - 1 : 1) : 1;
    running_mean[c] = static_cast<float>(momentum * static_cast<double>(running_mean[c]) +
                                         (1 - momentum) * static_cast<double>(mean[c]));
    running_var[c] = static_cast<float>(momentum * static_cast<double>(running_var[c]) +
                                        (1 - momentum) * static_cast<double>(var[c]) * correction);
  }
};

template <class T>
struct Normalise {
  const T* x;
  Norm norm;
  T* y;
  template <int lanes>
  FULMAR_DEVICE ChannelNorm<lanes> keep(int64_t channel) const {
    return norm.channels<lanes>(channel);
  }
  template <int lanes>
  FULMAR_DEVICE void run(const ChannelNorm<lanes>& of, int64_t i) const {
    auto value = load<lanes>(x + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) value.v[k] = of(value.v[k], k);
    store<lanes>(y + i, value);
  }
};

template <class T>
struct AddGradients : PlainSums {
  const T *dy, *x;
  const float* mean;
  template <int lanes>
  FULMAR_DEVICE Vec<float, lanes> keep(int64_t channel) const {
    return channel_values<lanes>(mean, channel);
  }
  template <int lanes>
  FULMAR_DEVICE void add(const Vec<float, lanes>& centre, int64_t i,
                         FloatSums<2, lanes>& sums) const {
    const auto grad = load<lanes>(dy + i), value = load<lanes>(x + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      sums.of[0][k] += grad.v[k];
      sums.of[1][k] += grad.v[k] * (value.v[k] - centre.v[k]);
    }
  }
};
struct KeepGradients {
  double* sums;
  int64_t channels;
  FULMAR_DEVICE void operator()(int64_t, int64_t c, const Sum<2>& sum) const {
    sums[c] = sum.of[0];
    sums[channels + c] = sum.of[1];
  }
};

// dx may be dy: an element is read before it is written, by one thread.
template <class T>
struct NormaliseGrad {
  const T *dy, *x;
  NormGrad norm;
  T* dx;
  template <int lanes>
  FULMAR_DEVICE ChannelNormGrad<lanes> keep(int64_t channel) const {
    return norm.channels<lanes>(channel);
  }
  template <int lanes>
  FULMAR_DEVICE void run(const ChannelNormGrad<lanes>& of, int64_t i) const {
    const auto in = load<lanes>(x + i);
    auto grad = load<lanes>(dy + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) grad.v[k] = of(grad.v[k], in.v[k], k);
    store<lanes>(dx + i, grad);
  }
};

struct ParamGrad {
  const double* grad_sums;
  const float* var;
  float *dgamma, *dbeta;
  double epsilon;
  int64_t channels;
  FULMAR_DEVICE void operator()(int64_t c) const {
    dgamma[c] =
        static_cast<float>(grad_sums[channels + c] / sqrt(static_cast<double>(var[c]) + epsilon));
    dbeta[c] = static_cast<float>(grad_sums[c]);
  }
};

}  // namespace

void channel_sums(Stream& stream, const View& x, const View& shift, const View& sums) {
  const int64_t channels = x.shape.channels(), pixels = x.shape.pixels();
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const AddDeviations<T> body{elements<T>(x), reals(shift)};
    sum_channels<T, 2>(stream, "channel_sums", {1, pixels, channels}, body,
                       KeepChannelSums{elements<double>(sums), channels, pixels}, body.x);
  });
}

void moments(Stream& stream, const View& sums, const View& shift, const View& mean,
             const View& var) {
  const int64_t channels = mean.shape.channels();
  each(stream, "moments", channels,
       Moments{elements<double>(sums), reals(shift), reals(mean), reals(var), channels});
}

void update_running(Stream& stream, const View& mean, const View& var, const View& sums,
                    const View& running_mean, const View& running_var, double momentum,
                    bool unbiased) {
  const int64_t channels = mean.shape.channels();
  each(stream, "update_running", channels,
       UpdateRunning{reals(mean), reals(var), elements<double>(sums), reals(running_mean),
                     reals(running_var), momentum, unbiased, channels});
}

void batch_norm(Stream& stream, const View& x, const View& gamma, const View& beta,
                const View& mean, const View& var, const View& y, double epsilon) {
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const Normalise<T> body{elements<T>(x), Norm::of({x, gamma, beta, mean, var, epsilon}),
                            elements<T>(y)};
    each_channel<T>(stream, "batch_norm", x.shape, body, body.x, body.y);
  });
}

void batch_norm_grad_sums(Stream& stream, const View& dy, const View& x, const View& mean,
                          const View& sums) {
  const int64_t channels = x.shape.channels();
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    AddGradients<T> body{};
    body.dy = elements<T>(dy);
    body.x = elements<T>(x);
    body.mean = reals(mean);
    sum_channels<T, 2>(stream, "batch_norm_grad_sums", {1, x.shape.pixels(), channels}, body,
                       KeepGradients{elements<double>(sums), channels}, body.dy, body.x);
  });
}

void batch_norm_grad(Stream& stream, const View& dy, const View& x, const View& gamma,
                     const View& mean, const View& var, const View& sums, const View& grad_sums,
                     const View& dx, double epsilon) {
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const NormaliseGrad<T> body{
        elements<T>(dy), elements<T>(x),
        NormGrad::of({dy, {}, x, gamma, mean, var, sums, grad_sums, epsilon}), elements<T>(dx)};
    each_channel<T>(stream, "batch_norm_grad", x.shape, body, body.dy, body.x, body.dx);
  });
}

void batch_norm_param_grad(Stream& stream, const View& grad_sums, const View& var,
                           const View& dgamma, const View& dbeta, double epsilon) {
  const int64_t channels = var.shape.channels();
  each(stream, "batch_norm_param_grad", channels,
       ParamGrad{elements<double>(grad_sums), reals(var), reals(dgamma), reals(dbeta), epsilon,
                 channels});
}

}  // namespace fulmar::cuda
