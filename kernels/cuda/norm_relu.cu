#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/loaded.cuh"
#include "kernels/cuda/ops.h"

// y = relu(z + skip), both normalised or the skip as it is, in one pass each way.
namespace fulmar::cuda {
namespace {

enum class Skip { none, plain, normalised };

// body(std::integral_constant<Skip, ...>) for the kind of skip.
template <class Body>
void for_skip(const Loaded& skip, const Body& body) {
  if (skip.normalised())
    body(std::integral_constant<Skip, Skip::normalised>());
  else if (skip.x)
    body(std::integral_constant<Skip, Skip::plain>());
  else
    body(std::integral_constant<Skip, Skip::none>());
}

template <int lanes, Skip kind>
struct TwoNorms {
  ChannelNorm<lanes> z, skip;
};
template <int lanes>
struct TwoNorms<lanes, Skip::plain> {
  ChannelNorm<lanes> z;
};
template <int lanes>
struct TwoNorms<lanes, Skip::none> {
  ChannelNorm<lanes> z;
};

template <class T, Skip kind>
struct NormRelu {
  const T *z, *skip;
  Norm of_z, of_skip;
  T* y;

  template <int lanes>
  FULMAR_DEVICE TwoNorms<lanes, kind> keep(int64_t channel) const {
    TwoNorms<lanes, kind> norms;
    norms.z = of_z.channels<lanes>(channel);
    if constexpr (kind == Skip::normalised) norms.skip = of_skip.channels<lanes>(channel);
    return norms;
  }
  template <int lanes>
  FULMAR_DEVICE void run(const TwoNorms<lanes, kind>& norms, int64_t i) const {
    auto value = load<lanes>(z + i);
    Vec<float, lanes> past{};
    if constexpr (kind != Skip::none) past = load<lanes>(skip + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      float sum = norms.z(value.v[k], k);
      if constexpr (kind == Skip::plain) sum += past.v[k];
      if constexpr (kind == Skip::normalised) sum += norms.skip(past.v[k], k);
      value.v[k] = rectified(sum);
    }
    store<lanes>(y + i, value);
  }
};

// Whether relu let a value through: by y, or by what z is normalised to.
enum class Mask { y, z };

// Writes g, and adds up g, g (z - mean) and, of two normalisations, g (skip - its mean).
template <class T, Mask mask, int count>
struct MaskedSums : PlainSums {
  const T *dy, *z, *skip, *y;
  Norm of_z;
  const float* skip_mean;
  T* g;

  template <int lanes>
  struct Kept {
    ChannelNorm<lanes> z;
    Vec<float, lanes> skip_mean;
  };
  template <int lanes>
  FULMAR_DEVICE Kept<lanes> keep(int64_t channel) const {
    Kept<lanes> kept;
    kept.z = of_z.channels<lanes>(channel);
    if constexpr (count == 3) kept.skip_mean = channel_values<lanes>(skip_mean, channel);
    return kept;
  }
  template <int lanes>
  FULMAR_DEVICE void add(const Kept<lanes>& kept, int64_t i, FloatSums<count, lanes>& sums) const {
    const auto from = load<lanes>(z + i);
    auto masked = load<lanes>(dy + i);
    Vec<float, lanes> output, past;
    if constexpr (mask == Mask::y) output = load<lanes>(y + i);
    if constexpr (count == 3) past = load<lanes>(skip + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const float out = mask == Mask::y ? output.v[k] : kept.z(from.v[k], k);
      if (out <= 0) masked.v[k] = 0;
      sums.of[0][k] += masked.v[k];
      sums.of[1][k] += masked.v[k] * (from.v[k] - kept.z.centre.v[k]);
      if constexpr (count == 3) sums.of[2][k] += masked.v[k] * (past.v[k] - kept.skip_mean.v[k]);
    }
    store<lanes>(g + i, masked);
  }
};

struct KeepMaskedSums {
  double *sums, *skip_sums;  // skip_sums may be null
  int64_t channels;
  template <int count>
  FULMAR_DEVICE void operator()(int64_t, int64_t c, const Sum<count>& sum) const {
    sums[c] = sum.of[0];
    sums[channels + c] = sum.of[1];
    if constexpr (count == 3) {
      skip_sums[c] = sum.of[0];
      skip_sums[channels + c] = sum.of[2];
    }
  }
};

template <class T, Mask mask, int count>
void norm_relu_grad_of(const Stream& stream, const View& dy, const Loaded& z, const Loaded& skip,
                       const View& y, const NormReluGrad& d) {
  MaskedSums<T, mask, count> body{};
  body.dy = elements<T>(dy);
  body.z = elements<T>(z.x);
  body.of_z = Norm::of(z);
  body.g = elements<T>(d.g);
  if (mask == Mask::y) body.y = elements<T>(y);
  if (count == 3) {
    body.skip = elements<T>(skip.x);
    body.skip_mean = reals(skip.mean);
  }
  sum_channels<T, count>(
      stream, "norm_relu_grad", {1, z.x.shape.pixels(), z.x.shape.channels()}, body,
      KeepMaskedSums{elements<double>(d.sums), count == 3 ? elements<double>(d.skip_sums) : nullptr,
                     z.x.shape.channels()},
      body.dy, body.z, body.skip, body.y, body.g);
}

}  // namespace

void norm_relu(Stream& stream, const Loaded& z, const Loaded& skip, const View& y) {
  for_type_of(y, [&](auto zero) {
    using T = decltype(zero);
    for_skip(skip, [&](auto kind) {
      const NormRelu<T, decltype(kind)::value> body{elements<T>(z.x),
                                                    skip.x ? elements<T>(skip.x) : nullptr,
                                                    Norm::of(z), Norm::of(skip), elements<T>(y)};
      each_channel<T>(stream, "norm_relu", y.shape, body, body.z, body.skip, body.y);
    });
  });
}

// g may be dy: an element is read before it is written, by one thread.
void norm_relu_grad(Stream& stream, const View& dy, const Loaded& z, const Loaded& skip,
                    const View& y, const NormReluGrad& d) {
  for_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    if (skip.normalised())
      norm_relu_grad_of<T, Mask::y, 3>(stream, dy, z, skip, y, d);
    else if (y)
      norm_relu_grad_of<T, Mask::y, 2>(stream, dy, z, skip, y, d);
    else
      norm_relu_grad_of<T, Mask::z, 2>(stream, dy, z, skip, y, d);
  });
}

}  // namespace fulmar::cuda
