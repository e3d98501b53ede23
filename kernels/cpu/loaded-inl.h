// What fused kernels load: rows of a tensor in scratch memory whose channels fill whole vectors,
// batch-normalised and rectified on the way. Compiled once per instruction set, inside its
// namespace.
#if defined(FULMAR_KERNELS_CPU_LOADED_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_LOADED_INL_H
#undef FULMAR_KERNELS_CPU_LOADED_INL_H
#else
#define FULMAR_KERNELS_CPU_LOADED_INL_H
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cpu/gemm-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/fused.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// How channels lie in scratch rows. Several pixels may share a vector; else each starts a new one,
// and lanes behind its last channel are 0.
struct Channels {
  int64_t count;   // of the tensor
  int64_t stride;  // floats from a pixel to the next in scratch memory
  int64_t period;  // floats after which lanes meet the same channels again: whole vectors

  explicit HWY_INLINE Channels(int64_t channels)
      : count(channels),
        stride(lanes() % channels == 0 ? channels : (channels + lanes() - 1) / lanes() * lanes()),
        period(std::max(stride, lanes())) {}
  bool dense() const { return stride == count; }

  // of(channel) for every lane of a period; 0 where there is no channel.
  template <class Of>
  Scratch<float> table(const Of& of) const {
    Scratch<float> values(static_cast<size_t>(period));
    for (int64_t e = 0; e < period; e++)
      values[e] = e % stride < count ? static_cast<float>(of(e % stride)) : 0.0F;
    return values;
  }
};

// max(0, x), and NaN where x is.
template <class DX>
HWY_INLINE hn::Vec<DX> rectified(DX d, hn::Vec<DX> x) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128  // their Max hides NaN
  return hn::IfThenZeroElse(hn::Le(x, hn::Zero(d)), x);
#else
  return hn::Max(hn::Zero(d), x);
#endif
}

// Batch normalisation of vectors of one phase.
template <class DX>
struct AffineLanes {
  hn::Vec<DX> centre, scale, offset;
  HWY_INLINE hn::Vec<DX> operator()(hn::Vec<DX> x) const {
    return hn::MulAdd(hn::Sub(x, centre), scale, offset);
  }
};

// Batch normalisation of vectors of any width, by tables as long as NormaliseTables makes them.
struct Affine {
  const float *centre, *scale, *offset;
  template <class DX>
  HWY_INLINE AffineLanes<DX> at(DX d, int64_t c) const {
    return {hn::LoadU(d, centre + c), hn::LoadU(d, scale + c), hn::LoadU(d, offset + c)};
  }
  template <class DX>
  HWY_INLINE hn::Vec<DX> operator()(DX d, hn::Vec<DX> x, int64_t c) const {
    return at(d, c)(x);
  }
};

// Its tables.
struct NormaliseTables {
  Scratch<float> centre, scale, offset;

  NormaliseTables(const Loaded& x, const Channels& channels) {
    if (!x.normalised()) return;
    const float *gamma = x.gamma.as<float>(), *beta = x.beta.as<float>();
    const float *mean = x.mean.as<float>(), *var = x.var.as<float>();
    centre = channels.table([&](int64_t c) { return mean[c]; });
    offset = channels.table([&](int64_t c) { return beta[c]; });
    scale = channels.table([&](int64_t c) {
      return static_cast<double>(gamma[c]) / std::sqrt(static_cast<double>(var[c]) + x.epsilon);
    });
  }
  Affine affine() const { return {centre.data(), scale.data(), offset.data()}; }
};

// y[...] = op_of(phase)(x, e) for `pixels` pixels, from a tensor into scratch memory, e the place
// there; with a second tensor (x, second, e). op_of holds a phase's tables in registers. `room`
// behind the pixels up to a whole vector is written too, by what op makes of 0.
template <class OpOf, class... X>
HWY_INLINE void load_pixels(const Channels& channels, int64_t pixels, float* y, const OpOf& op_of,
                            const X*... x) {
  const D d;
  const int64_t step = lanes();
  if (channels.dense()) {
    const int64_t n = pixels * channels.count, whole = n / step * step, period = channels.period;
    for (int64_t phase = 0; phase < period; phase += step) {
      const auto op = op_of(phase);
      for (int64_t e = phase; e < whole; e += period)
        hn::StoreU(op(load_vector(d, x + e)..., e), d, y + e);
    }
    if (whole < n)
      hn::StoreU(op_of(whole % period)(load_first(d, x + whole, n - whole)..., whole), d,
                 y + whole);
    return;
  }
  for (int64_t c = 0; c < channels.stride; c += step) {
    const auto op = op_of(c);
    const int64_t left = std::min(step, channels.count - c);
    for (int64_t p = 0; p < pixels; p++) {
      const int64_t e = p * channels.stride + c;
      hn::StoreU(op(load_first(d, x + p * channels.count + c, left)..., e), d, y + e);
    }
  }
}

// Of load_pixels: as it is.
struct Plainly {
  HWY_INLINE auto operator()(int64_t /*phase*/) const {
    return [](V v, int64_t) HWY_ATTR { return v; };
  }
};

// The way back from scratch memory into a tensor; nothing behind the pixels is written.
template <class T>
HWY_INLINE void store_pixels(const Channels& channels, const float* x, int64_t pixels, T* y) {
  const D d;
  const int64_t step = lanes();
  if (channels.dense()) {
    const int64_t n = pixels * channels.count, whole = n / step * step;
    for (int64_t e = 0; e < whole; e += step) store_vector(d, hn::LoadU(d, x + e), y + e);
    if (whole < n) store_first(d, hn::LoadU(d, x + whole), y + whole, n - whole);
    return;
  }
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t c = 0; c < channels.stride; c += step)
      store_first(d, hn::LoadU(d, x + p * channels.stride + c), y + p * channels.count + c,
                  std::min(step, channels.count - c));
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
