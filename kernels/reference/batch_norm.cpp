#include <algorithm>
#include <cmath>

#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

// Tensors are [pixels, channels]; sums are rows of `channels` numbers.
namespace fulmar::reference {

void channel_sums(Stream&, const View& x, const View& shift, const View& sums) {
  const int64_t channels = x.shape.channels(), pixels = x.shape.pixels();
  const double *value = reals(x), *about = reals(shift);
  double *s0 = reals(sums), *s1 = s0 + channels, *count = s1 + channels;
  std::fill_n(s0, 2 * channels, 0.0);
  std::fill_n(count, channels, static_cast<double>(pixels));
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t c = 0; c < channels; c++) {
      const double deviation = value[p * channels + c] - about[c];
      s0[c] += deviation;
      s1[c] += deviation * deviation;
    }
}

void moments(Stream&, const View& sums, const View& shift, const View& mean, const View& var) {
  const int64_t channels = mean.shape.channels();
  const double *s0 = reals(sums), *s1 = s0 + channels, *n = s1 + channels;
  for (int64_t c = 0; c < channels; c++) {
    reals(mean)[c] = reals(shift)[c] + s0[c] / n[c];
    const double variance = s1[c] / n[c] - (s0[c] / n[c]) * (s0[c] / n[c]);
    reals(var)[c] = variance < 0 ? 0 : variance;
  }
}

void update_running(Stream&, const View& mean, const View& var, const View& sums,
                    const View& running_mean, const View& running_var, double momentum,
                    bool unbiased) {
  const int64_t channels = mean.shape.channels();
  const double* n = reals(sums) + 2 * channels;
  double *mean_kept = reals(running_mean), *var_kept = reals(running_var);
  for (int64_t c = 0; c < channels; c++) {
    const double correction = unbiased ? n[c] / std::max(n[c] - 1, 1.0) : 1;
    mean_kept[c] = momentum * mean_kept[c] + (1 - momentum) * reals(mean)[c];
    var_kept[c] = momentum * var_kept[c] + (1 - momentum) * reals(var)[c] * correction;
  }
}

void batch_norm(Stream& stream, const View& x, const View& gamma, const View& beta,
                const View& mean, const View& var, const View& y, double epsilon) {
  const int64_t channels = x.shape.channels();
  for_each(stream, x.shape.images() * x.shape.height(), [&](int64_t row) {
    for (int64_t p = row * x.shape.width(); p < (row + 1) * x.shape.width(); p++) {
      const double* in = reals(x) + p * channels;
      double* out = reals(y) + p * channels;
      for (int64_t c = 0; c < channels; c++) {
        const double s = std::sqrt(reals(var)[c] + epsilon);
        out[c] = reals(gamma)[c] * (in[c] - reals(mean)[c]) / s + reals(beta)[c];
      }
    }
  });
}

void batch_norm_grad_sums(Stream&, const View& dy, const View& x, const View& mean,
                          const View& sums) {
  const int64_t channels = x.shape.channels();
  const double *grad = reals(dy), *value = reals(x);
  double *g0 = reals(sums), *g1 = g0 + channels;
  std::fill_n(g0, 2 * channels, 0.0);
  for (int64_t p = 0; p < x.shape.pixels(); p++)
    for (int64_t c = 0; c < channels; c++) {
      g0[c] += grad[p * channels + c];
      g1[c] += grad[p * channels + c] * (value[p * channels + c] - reals(mean)[c]);
    }
}

void batch_norm_grad(Stream& stream, const View& dy, const View& x, const View& gamma,
                     const View& mean, const View& var, const View& sums, const View& grad_sums,
                     const View& dx, double epsilon) {
  const int64_t channels = x.shape.channels();
  const double *g0 = reals(grad_sums), *g1 = g0 + channels, *n = reals(sums) + 2 * channels;
  for_each(stream, x.shape.images() * x.shape.height(), [&](int64_t row) {
    for (int64_t p = row * x.shape.width(); p < (row + 1) * x.shape.width(); p++) {
      const double* in = reals(x) + p * channels;
      const double* grad = reals(dy) + p * channels;
      double* out = reals(dx) + p * channels;
      for (int64_t c = 0; c < channels; c++) {
        const double s2 = reals(var)[c] + epsilon;
        out[c] = reals(gamma)[c] / std::sqrt(s2) *
                 (grad[c] - g0[c] / n[c] - (in[c] - reals(mean)[c]) * g1[c] / (n[c] * s2));
      }
    }
  });
}

void batch_norm_param_grad(Stream&, const View& grad_sums, const View& var, const View& dgamma,
                           const View& dbeta, double epsilon) {
  const int64_t channels = var.shape.channels();
  const double *g0 = reals(grad_sums), *g1 = g0 + channels;
  for (int64_t c = 0; c < channels; c++) {
    reals(dgamma)[c] = g1[c] / std::sqrt(reals(var)[c] + epsilon);
    reals(dbeta)[c] = g0[c];
  }
}

}  // namespace fulmar::reference
