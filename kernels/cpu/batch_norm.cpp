#include <algorithm>
#include <cmath>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/batch_norm.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/norm_grad-inl.h"
#include "kernels/cpu/periods-inl.h"
#include "kernels/cpu/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

template <class T>
struct Squares {
  const T* x;
  const float* shift;
  template <class Load>
  HWY_INLINE void operator()(const Load& load, int64_t e, int64_t phase, V* sum) const {
    const V centred = hn::Sub(load(x + e), hn::LoadU(D(), shift + phase));
    sum[0] = hn::Add(sum[0], centred);
    sum[1] = hn::MulAdd(centred, centred, sum[1]);
  }
};

// The first two rows of the sums, about `centre` [channels].
void deviation_sums(Stream& stream, const View& x, const float* centre, double* sums) {
  const int64_t channels = x.shape.channels();
  const auto tile =
      period_tile(period_of(channels), channels, [&](int64_t c) { return centre[c]; });
  for_type_of(x, [&]<class T>(std::type_identity<T>) {
    sum_pixels<2>(stream, 1, x.shape.pixels(), channels, Squares<T>{elements<T>(x), tile.data()},
                  sums);
  });
}

template <class T>
struct Correlation {
  const T *dy, *x;
  const float* mean;
  template <class Load>
  HWY_INLINE void operator()(const Load& load, int64_t e, int64_t phase, V* sum) const {
    const V g = load(dy + e);
    sum[0] = hn::Add(sum[0], g);
    sum[1] = hn::MulAdd(g, hn::Sub(load(x + e), hn::LoadU(D(), mean + phase)), sum[1]);
  }
};

void batch_norm_grad_sums(Stream& stream, const View& dy, const View& x, const View& mean,
                          const View& sums) {
  const int64_t channels = x.shape.channels();
  const float* m = mean.as<float>();
  const auto tile = period_tile(period_of(channels), channels, [&](int64_t c) { return m[c]; });
  for_type_of(x, [&]<class T>(std::type_identity<T>) {
    sum_pixels<2>(stream, 1, x.shape.pixels(), channels,
                  Correlation<T>{elements<T>(dy), elements<T>(x), tile.data()}, sums.as<double>());
  });
}

void batch_norm(Stream& stream, const View& x, const View& gamma, const View& beta,
                const View& mean, const View& var, const View& y, double epsilon) {
  const PeriodNorm norm({x, gamma, beta, mean, var, epsilon});
  for_type_of(x, [&]<class T>(std::type_identity<T>) {
    for_periods<T>(
        stream, y,
        [from = elements<T>(x), affine = norm.affine()](const auto& load, int64_t e, int64_t phase)
            HWY_ATTR { return affine(D(), load(from + e), phase); });
  });
}

void batch_norm_grad(Stream& stream, const View& dy, const View& x, const View& gamma,
                     const View& mean, const View& var, const View& sums, const View& grad_sums,
                     const View& dx, double epsilon) {
  const int64_t channels = x.shape.channels();
  const Period period = period_of(channels);
  const NormGrad norm({dy, {}, x, gamma, mean, var, sums, grad_sums, epsilon},
                      [&](const auto& of) { return period_tile(period, channels, of); });
  for_type_of(x, [&]<class T>(std::type_identity<T>) {
    const T *from = elements<T>(x), *grad = elements<T>(dy);
    for_periods<T>(stream, dx,
                   [&norm, from, grad](const auto& load, int64_t e, int64_t phase)
                       HWY_ATTR { return norm.at(phase)(load(grad + e), load(from + e)); });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

namespace {

// What deviations are taken from, for each channel: the shift, or a sample's mean where that is
// more than 4 standard deviations away. Squares of such deviations are added up in float, and their
// rounding would be as large as the variance.
template <class T>
Scratch<float> centres_of(const T* x, int64_t pixels, int64_t channels, const float* shift) {
  constexpr int64_t most_samples = 16;
  constexpr double golden = 0.6180339887498949;  // its multiples fall evenly, on rows and columns
  const int64_t samples = std::min(pixels, most_samples);
  Scratch<double> sum(static_cast<size_t>(channels)), squares(sum.size());
  for (int64_t i = 0; i < samples; i++) {
    const double place = static_cast<double>(i) * golden;
    const auto spread =
        static_cast<int64_t>((place - std::floor(place)) * static_cast<double>(pixels));
    const T* pixel = x + (pixels == samples ? i : spread) * channels;
    for (int64_t c = 0; c < channels; c++) {
      const double deviation =
          static_cast<double>(to_float(pixel[c])) - static_cast<double>(shift[c]);
      sum[c] += deviation;
      squares[c] += deviation * deviation;
    }
  }
  Scratch<float> centres(shift, shift + channels);
  const auto n = static_cast<double>(samples);
  for (int64_t c = 0; c < channels; c++) {
    const double mean = sum[c] / n, variance = squares[c] / n - mean * mean;
    if (mean * mean > 16 * variance)
      centres[c] = static_cast<float>(static_cast<double>(shift[c]) + mean);
  }
  return centres;
}

}  // namespace

HWY_EXPORT(deviation_sums);
void channel_sums(Stream& stream, const View& x, const View& shift, const View& sums) {
  const int64_t channels = x.shape.channels();
  const auto n = static_cast<double>(x.shape.pixels());
  const float* about = shift.as<float>();
  Scratch<float> centre;
  for_type_of(x, [&]<class T>(std::type_identity<T>) {
    centre = centres_of(elements<T>(x), x.shape.pixels(), channels, about);
  });
  double* out = sums.as<double>();
  HWY_DYNAMIC_DISPATCH(deviation_sums)(stream, x, centre.data(), out);
  for (int64_t c = 0; c < channels; c++) {
    if (centre[c] == about[c]) continue;
    // From sums about the centre to sums about the shift.
    const double apart = static_cast<double>(centre[c]) - static_cast<double>(about[c]);
    out[channels + c] += apart * (2 * out[c] + n * apart);
    out[c] += n * apart;
  }
  std::fill_n(out + 2 * channels, channels, n);
}

HWY_EXPORT(batch_norm_grad_sums);
void batch_norm_grad_sums(Stream& stream, const View& dy, const View& x, const View& mean,
                          const View& sums) {
  HWY_DYNAMIC_DISPATCH(batch_norm_grad_sums)(stream, dy, x, mean, sums);
}

HWY_EXPORT(batch_norm);
void batch_norm(Stream& stream, const View& x, const View& gamma, const View& beta,
                const View& mean, const View& var, const View& y, double epsilon) {
  HWY_DYNAMIC_DISPATCH(batch_norm)(stream, x, gamma, beta, mean, var, y, epsilon);
}

HWY_EXPORT(batch_norm_grad);
void batch_norm_grad(Stream& stream, const View& dy, const View& x, const View& gamma,
                     const View& mean, const View& var, const View& sums, const View& grad_sums,
                     const View& dx, double epsilon) {
  HWY_DYNAMIC_DISPATCH(batch_norm_grad)
  (stream, dy, x, gamma, mean, var, sums, grad_sums, dx, epsilon);
}

// The rest is a few operations per channel, in double.

void moments(Stream&, const View& sums, const View& shift, const View& mean, const View& var) {
  const int64_t channels = mean.shape.elements();
  const double* s = sums.as<double>();
  for (int64_t c = 0; c < channels; c++) {
    const double n = s[2 * channels + c], centre = s[c] / n;
    const double variance = s[channels + c] / n - centre * centre;
    mean.as<float>()[c] = static_cast<float>(static_cast<double>(shift.as<float>()[c]) + centre);
    var.as<float>()[c] = static_cast<float>(variance < 0 ? 0 : variance);  // rounding; NaN stays
  }
}

void update_running(Stream&, const View& mean, const View& var, const View& sums,
                    const View& running_mean, const View& running_var, double momentum,
                    bool unbiased) {
  const int64_t channels = mean.shape.elements();
  const auto move = [momentum](float& running, double batch) {
    running = static_cast<float>(momentum * static_cast<double>(running) + (1 - momentum) * batch);
  };
  for (int64_t c = 0; c < channels; c++) {
    const double n = sums.as<double>()[2 * channels + c];
    const double correction = unbiased ? n / std::max(n - 1, 1.0) : 1.0;
    move(running_mean.as<float>()[c], static_cast<double>(mean.as<float>()[c]));
    move(running_var.as<float>()[c], static_cast<double>(var.as<float>()[c]) * correction);
  }
}

void batch_norm_param_grad(Stream&, const View& grad_sums, const View& var, const View& dgamma,
                           const View& dbeta, double epsilon) {
  const int64_t channels = var.shape.elements();
  const double* g = grad_sums.as<double>();
  for (int64_t c = 0; c < channels; c++) {
    const double deviation = std::sqrt(static_cast<double>(var.as<float>()[c]) + epsilon);
    dgamma.as<float>()[c] = static_cast<float>(g[channels + c] / deviation);
    dbeta.as<float>()[c] = static_cast<float>(g[c]);
  }
}

}  // namespace fulmar::cpu
#endif
