// Elementwise work on flat channels-last memory, period by period, with a table's value for each
// channel. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_PERIODS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_PERIODS_INL_H
#undef FULMAR_KERNELS_CPU_PERIODS_INL_H
#else
#define FULMAR_KERNELS_CPU_PERIODS_INL_H
#endif

#include <algorithm>
#include <cmath>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/loaded-inl.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// y[e] = op(load, e, phase) over [pixels][channels] in memory
template <class T, class Op>
void for_periods(Stream& stream, const View& y, const Op& op) {
  const int64_t channels = y.shape.channels(), step = lanes();
  const Period period = period_of(channels);
  const int64_t grain = rows_per_chunk(period.elements, elementwise_grain) * period.elements;
  T* out = elements<T>(y);
  with_stores(y, [&](auto store) HWY_ATTR {
    const typename decltype(store)::Load load;
    for_chunks(stream, y.shape.elements(), grain, [&](int64_t begin, int64_t end, int) HWY_ATTR {
      int64_t e = begin;
      for (; e + period.elements <= end; e += period.elements)
        for (int64_t phase = 0; phase < period.elements; phase += step)
          store(op(load, e + phase, phase), out + e + phase);
      for (int64_t phase = 0; e < end; e += step, phase += step) {
        const int64_t count = std::min(step, end - e);
        store_part(op(Part{count}, e, phase), out + e, count);
      }
      store.finish();
    });
  });
}

// The tables of a batch normalisation, by period.
struct PeriodNorm {
  Scratch<float> centre, scale, offset;

  // Without `of` being normalised there are none.
  explicit PeriodNorm(const Loaded& of) {
    if (!of.normalised()) return;
    const int64_t channels = of.x.shape.channels();
    const Period period = period_of(channels);
    const float *g = of.gamma.as<float>(), *b = of.beta.as<float>();
    const float *m = of.mean.as<float>(), *v = of.var.as<float>();
    centre = period_tile(period, channels, [&](int64_t c) { return m[c]; });
    scale = period_tile(period, channels, [&](int64_t c) {
      return static_cast<double>(g[c]) / std::sqrt(static_cast<double>(v[c]) + of.epsilon);
    });
    offset = period_tile(period, channels, [&](int64_t c) { return b[c]; });
  }
  Affine affine() const { return {centre.data(), scale.data(), offset.data()}; }
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
