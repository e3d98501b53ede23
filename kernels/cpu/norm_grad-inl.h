// batch_norm_grad as kernels take it on load: its tables, and rows without gaps between pixels.
// Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_NORM_GRAD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_NORM_GRAD_INL_H
#undef FULMAR_KERNELS_CPU_NORM_GRAD_INL_H
#else
#define FULMAR_KERNELS_CPU_NORM_GRAD_INL_H
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "kernels/cpu/simd-inl.h"
#include "kernels/fused.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// gamma/s (g - g0/n - (z - mean) g1/(n s^2)) of vectors that meet the same channels.
struct NormGradLanes {
  V centre, scale, average, slope;
  HWY_INLINE V operator()(V g, V z) const {
    return hn::Mul(scale, hn::NegMulAdd(hn::Sub(z, centre), slope, hn::Sub(g, average)));
  }
};

// Its tables. table(of): of(channel) for each lane that a kernel meets.
struct NormGrad {
  Scratch<float> centre, scale, average, slope;

  // Without dy being normalised there are none.
  template <class Table>
  NormGrad(const Cotangent& dy, const Table& table) {
    if (!dy.normalised()) return;
    const float *gamma = dy.gamma.as<float>(), *mean = dy.mean.as<float>();
    const float* var = dy.var.as<float>();
    const int64_t channels = dy.gamma.shape.elements();
    const double *n = dy.sums.as<double>() + 2 * channels, *totals = dy.grad_sums.as<double>();
    const auto variance = [&](int64_t c) { return static_cast<double>(var[c]) + dy.epsilon; };
    centre = table([&](int64_t c) { return mean[c]; });
    scale =
        table([&](int64_t c) { return static_cast<double>(gamma[c]) / std::sqrt(variance(c)); });
    average = table([&](int64_t c) { return totals[c] / n[c]; });
    slope = table([&](int64_t c) { return totals[channels + c] / (n[c] * variance(c)); });
  }
  HWY_INLINE NormGradLanes at(int64_t e) const {
    const D d;
    return {hn::LoadU(d, centre.data() + e), hn::LoadU(d, scale.data() + e),
            hn::LoadU(d, average.data() + e), hn::LoadU(d, slope.data() + e)};
  }
};

// Runs of elements of a cotangent that isn't pooled.
class FlatCotangent {
 public:
  FlatCotangent(const Cotangent& dy, int64_t channels)
      : dy_(dy.dy.as<float>()),
        z_(dy.normalised() ? dy.z.as<float>() : nullptr),
        channels_(channels),
        period_(std::lcm(channels, lanes())),
        // A run may begin with any channel.
        norm_(dy, [&](const auto& of) {
          return period_tile({0, period_ + channels, 0}, channels, of);
        }) {}

  bool in_memory() const { return !z_; }
  const float* dy() const { return dy_; }
  const float* z() const { return z_; }

  // dz of `count` elements from `element` on: where they lie, or made in `memory`.
  HWY_INLINE const float* at(int64_t element, int64_t count, float* memory) const {
    if (in_memory()) return dy_ + element;
    make(element, count, memory);
    return memory;
  }

 private:
  HWY_NOINLINE void make(int64_t element, int64_t count, float* to) const {
    const D d;
    const int64_t step = lanes(), first = element % channels_;
    const float *g = dy_ + element, *z = z_ + element;
    for (int64_t phase = 0; phase < std::min(count, period_); phase += step) {
      const NormGradLanes through = norm_.at(first + phase);
      int64_t e = phase;
      for (; e + step <= count; e += period_)
        hn::StoreU(through(hn::LoadU(d, g + e), hn::LoadU(d, z + e)), d, to + e);
      if (e >= count) continue;
      const Part part{count - e};
      store_part(through(part(g + e), part(z + e)), to + e, count - e);
    }
  }

  const float *dy_, *z_;
  int64_t channels_;
  int64_t period_;  // elements after which lanes meet the same channels again
  NormGrad norm_;
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
