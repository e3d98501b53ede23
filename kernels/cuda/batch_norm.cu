#include "kernels/cuda/ops.h"
#include "kernels/cuda/sums.cuh"

// Tensors are [pixels, channels]; sums are rows of `channels` doubles.
namespace fulmar::cuda {
namespace {

template <class T>
struct AddDeviations {
  const T* x;
  const float* shift;
  int64_t channels;
  FULMAR_DEVICE void operator()(int64_t, int64_t pixel, int64_t c, Sum<2>& sum) const {
    const double deviation =
        static_cast<double>(number(x[pixel * channels + c])) - static_cast<double>(shift[c]);
    sum.of[0] += deviation;
    sum.of[1] += deviation * deviation;
  }
};
struct KeepDeviations {
  double* sums;
  int64_t channels, pixels;
  FULMAR_DEVICE void operator()(int64_t, int64_t c, const Sum<2>& sum) const {
    sums[c] = sum.of[0];
    sums[channels + c] = sum.of[1];
    sums[2 * channels + c] = static_cast<double>(pixels);
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
  const float *gamma, *beta, *mean, *var;
  T* y;
  float epsilon;
  Extent extent;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    const int64_t i = extent.at(p.image, p.row, p.column) + p.channel, c = p.channel;
    const auto g = load<lanes>(gamma + c), b = load<lanes>(beta + c), m = load<lanes>(mean + c);
    const auto v = load<lanes>(var + c);
    auto value = load<lanes>(x + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++)
      value.v[k] = g.v[k] / sqrtf(v.v[k] + epsilon) * (value.v[k] - m.v[k]) + b.v[k];
    store<lanes>(y + i, value);
  }
};

template <class T>
struct AddGradients {
  const T *dy, *x;
  const float* mean;
  int64_t channels;
  FULMAR_DEVICE void operator()(int64_t, int64_t pixel, int64_t c, Sum<2>& sum) const {
    const double grad = static_cast<double>(number(dy[pixel * channels + c]));
    sum.of[0] += grad;
    sum.of[1] += grad * (static_cast<double>(number(x[pixel * channels + c])) -
                         static_cast<double>(mean[c]));
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
  const float *gamma, *mean, *var;
  const double *sums, *grad_sums;
  T* dx;
  double epsilon;
  Extent extent;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    const int64_t i = extent.at(p.image, p.row, p.column) + p.channel;
    const auto in = load<lanes>(x + i);
    auto grad = load<lanes>(dy + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const int64_t c = p.channel + k;
      const double n = sums[2 * extent.channels + c];
      const double s2 = static_cast<double>(var[c]) + epsilon;
      const float g0 = static_cast<float>(grad_sums[c] / n);
      const float g1 = static_cast<float>(grad_sums[extent.channels + c] / (n * s2));
      const float scale = gamma[c] / sqrtf(static_cast<float>(s2));
      grad.v[k] = scale * (grad.v[k] - g0 - (in.v[k] - mean[c]) * g1);
    }
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
    sum_rows<2>(stream, "channel_sums", {1, pixels, channels},
                AddDeviations<T>{elements<T>(x), reals(shift), channels},
                KeepDeviations{elements<double>(sums), channels, pixels});
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
    const Normalise<T> body{elements<T>(x),
                            reals(gamma),
                            reals(beta),
                            reals(mean),
                            reals(var),
                            elements<T>(y),
                            static_cast<float>(epsilon),
                            extent_of(x.shape)};
    each_pixel<T>(stream, "batch_norm", x.shape, body, body.x, body.gamma, body.beta, body.mean,
                  body.var, body.y);
  });
}

void batch_norm_grad_sums(Stream& stream, const View& dy, const View& x, const View& mean,
                          const View& sums) {
  const int64_t channels = x.shape.channels();
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    sum_rows<2>(stream, "batch_norm_grad_sums", {1, x.shape.pixels(), channels},
                AddGradients<T>{elements<T>(dy), elements<T>(x), reals(mean), channels},
                KeepGradients{elements<double>(sums), channels});
  });
}

void batch_norm_grad(Stream& stream, const View& dy, const View& x, const View& gamma,
                     const View& mean, const View& var, const View& sums, const View& grad_sums,
                     const View& dx, double epsilon) {
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const NormaliseGrad<T> body{elements<T>(dy),
                                elements<T>(x),
                                reals(gamma),
                                reals(mean),
                                reals(var),
                                elements<double>(sums),
                                elements<double>(grad_sums),
                                elements<T>(dx),
                                epsilon,
                                extent_of(x.shape)};
    each_pixel<T>(stream, "batch_norm_grad", x.shape, body, body.dy, body.x, body.dx);
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
