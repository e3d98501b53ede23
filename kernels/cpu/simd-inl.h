// Helpers of all SIMD kernels; compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_SIMD_INL_H
#undef FULMAR_KERNELS_CPU_SIMD_INL_H
#else
#define FULMAR_KERNELS_CPU_SIMD_INL_H
#endif

#include <cstdint>
#include <cstring>
#include <numeric>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/cpu/elements-inl.h"
#include "kernels/cpu/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int64_t max_lanes = static_cast<int64_t>(hn::MaxLanes(D()));

HWY_INLINE int64_t lanes() { return static_cast<int64_t>(hn::Lanes(D())); }

// A whole vector from memory.
struct Whole {
  template <class T>
  HWY_INLINE V operator()(const T* p) const {
    return load_vector(D(), p);
  }
};

// The same, with a prefetch `ahead` elements later. Beside streaming stores the hardware did not
// prefetch by itself: tanh of 128 MiB took 65 ms without this, 20 ms with it.
struct WholeAhead {
  int64_t ahead = 512;
  template <class T>
  HWY_INLINE V operator()(const T* p) const {
    hwy::Prefetch(p + ahead);
    return load_vector(D(), p);
  }
};

// The first `count` lanes from memory, 0 in the others.
struct Part {
  int64_t count;
  template <class T>
  HWY_INLINE V operator()(const T* p) const {
    return load_first(D(), p, count);
  }
};

template <class T>
HWY_INLINE void store_part(V v, T* p, int64_t count) {
  store_first(D(), v, p, count);
}

// Calls body(d, c) so that vectors of type d, the widest first, cover the channels [c, channels).
template <class DX, class Body>
HWY_INLINE void for_channels_from(DX d, int64_t c, int64_t channels, const Body& body) {
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  for (; c + step <= channels; c += step) body(d, c);
  if constexpr (hn::MaxLanes(DX()) > 1) {
    if (c < channels)
      for_channels_from(hn::CappedTag<float, hn::MaxLanes(DX()) / 2>(), c, channels, body);
  }
}
template <class Body>
HWY_INLINE void for_channels(int64_t channels, const Body& body) {
  for_channels_from(D(), 0, channels, body);
}

// Flat channels-last memory repeats its channels; a period is a run of whole vectors after which
// lanes meet the same channels again: so any channel count works with full vectors.
struct Period {
  int64_t vectors, elements, pixels;
};
HWY_INLINE Period period_of(int64_t channels) {
  int64_t vectors = channels / std::gcd(channels, lanes());
  if (vectors < 4) vectors *= 4 / vectors;  // independent sums hide the latency of additions
  return {vectors, vectors * lanes(), vectors * lanes() / channels};
}

// of(channel) for every element of a period.
template <class Of>
Scratch<float> period_tile(const Period& period, int64_t channels, const Of& of) {
  Scratch<float> tile(static_cast<size_t>(period.elements));
  for (int64_t e = 0; e < period.elements; e++)
    tile[e] = e < channels ? static_cast<float>(of(e)) : tile[e - channels];
  return tile;
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
