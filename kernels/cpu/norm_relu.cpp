#include <algorithm>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm_relu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/periods-inl.h"
#include "kernels/cpu/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

template <class T>
void norm_relu_of(Stream& stream, const Loaded& z, const Loaded& skip, const View& y) {
  const PeriodNorm of_z(z), of_skip(skip);
  const T *from = elements<T>(z.x), *past = elements<T>(skip.x);
  const Affine norm = of_z.affine(), skip_norm = of_skip.affine();
  const D d;
  if (!skip.x)
    return for_periods<T>(stream, y, [=](const auto& load, int64_t e, int64_t phase) HWY_ATTR {
      return rectified(d, norm(d, load(from + e), phase));
    });
  if (!skip.normalised())
    return for_periods<T>(stream, y, [=](const auto& load, int64_t e, int64_t phase) HWY_ATTR {
      return rectified(d, hn::Add(norm(d, load(from + e), phase), load(past + e)));
    });
  for_periods<T>(stream, y, [=](const auto& load, int64_t e, int64_t phase) HWY_ATTR {
    return rectified(d,
                     hn::Add(norm(d, load(from + e), phase), skip_norm(d, load(past + e), phase)));
  });
}

void norm_relu(Stream& stream, const Loaded& z, const Loaded& skip, const View& y) {
  for_type_of(y, [&]<class T>(std::type_identity<T>) { norm_relu_of<T>(stream, z, skip, y); });
}

// Whole vectors are stored as they are, others as they were loaded.
template <class T>
HWY_INLINE void store_as(const WholeAhead&, V v, T* p) {
  store_vector(D(), v, p);
}
template <class T>
HWY_INLINE void store_as(const Part& part, V v, T* p) {
  store_part(v, p, part.count);
}

// relu's output where it is in memory, and made anew out of z.
template <class T>
struct Saved {
  const T* y;
  template <class Load>
  HWY_INLINE V operator()(const Load& load, V /*z*/, int64_t e, int64_t /*phase*/) const {
    return load(y + e);
  }
};
struct Remade {
  Affine norm;
  template <class Load>
  HWY_INLINE V operator()(const Load&, V z, int64_t /*e*/, int64_t phase) const {
    return norm(D(), z, phase);
  }
};

// Writes g, and adds up g, g (z - mean) and, of two normalisations, g (skip - its mean).
template <class T, class Output, bool both>
struct MaskedCorrelation {
  Output output;
  const T *dy, *z, *skip;
  const float *mean, *skip_mean;
  T* g;
  template <class Load>
  HWY_INLINE void operator()(const Load& load, int64_t e, int64_t phase, V* sum) const {
    const D d;
    const V from = load(z + e);
    const V masked =
        hn::IfThenZeroElse(hn::Le(output(load, from, e, phase), hn::Zero(d)), load(dy + e));
    store_as(load, masked, g + e);
    sum[0] = hn::Add(sum[0], masked);
    sum[1] = hn::MulAdd(masked, hn::Sub(from, hn::LoadU(d, mean + phase)), sum[1]);
    if constexpr (both)
      sum[2] = hn::MulAdd(masked, hn::Sub(load(skip + e), hn::LoadU(d, skip_mean + phase)), sum[2]);
  }
};

template <class T>
void norm_relu_grad_of(Stream& stream, const View& dy, const Loaded& z, const Loaded& skip,
                       const View& y, const NormReluGrad& d) {
  const int64_t channels = z.x.shape.channels(), pixels = z.x.shape.pixels();
  const PeriodNorm norm(z), skip_norm(skip);
  const auto add_up = [&](auto output, auto both) {
    constexpr int rows = decltype(both)::value ? 3 : 2;
    const MaskedCorrelation<T, decltype(output), decltype(both)::value> term{
        output,
        elements<T>(dy),
        elements<T>(z.x),
        elements<T>(skip.x),
        norm.centre.data(),
        skip_norm.centre.data(),
        elements<T>(d.g)};
    Scratch<double> sums(static_cast<size_t>(rows * channels));
    sum_pixels<rows>(stream, 1, pixels, channels, term, sums.data());
    std::copy_n(sums.data(), 2 * channels, d.sums.as<double>());
    if (rows == 2) return;
    std::copy_n(sums.data(), channels, d.skip_sums.as<double>());
    std::copy_n(sums.data() + 2 * channels, channels, d.skip_sums.as<double>() + channels);
  };
  if (skip.normalised()) return add_up(Saved<T>{elements<T>(y)}, std::true_type());
  if (y) return add_up(Saved<T>{elements<T>(y)}, std::false_type());
  add_up(Remade{norm.affine()}, std::false_type());
}

void norm_relu_grad(Stream& stream, const View& dy, const Loaded& z, const Loaded& skip,
                    const View& y, const NormReluGrad& d) {
  for_type_of(
      dy, [&]<class T>(std::type_identity<T>) { norm_relu_grad_of<T>(stream, dy, z, skip, y, d); });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(norm_relu);
void norm_relu(Stream& stream, const Loaded& z, const Loaded& skip, const View& y) {
  HWY_DYNAMIC_DISPATCH(norm_relu)(stream, z, skip, y);
}

HWY_EXPORT(norm_relu_grad);
void norm_relu_grad(Stream& stream, const View& dy, const Loaded& z, const Loaded& skip,
                    const View& y, const NormReluGrad& d) {
  HWY_DYNAMIC_DISPATCH(norm_relu_grad)(stream, dy, z, skip, y, d);
}

}  // namespace fulmar::cpu
#endif
