// The inner loops of the depthwise convolution.
#if defined(FULMAR_KERNELS_CPU_DEPTHWISE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_DEPTHWISE_INL_H
#undef FULMAR_KERNELS_CPU_DEPTHWISE_INL_H
#else
#define FULMAR_KERNELS_CPU_DEPTHWISE_INL_H
#endif

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// How vectors walk over a run of pixels. `vectors` of them, `stride` elements apart, meet the same
// channels (those from `channel` on), so that weights stay in a register: on dense memory a vector
// may hold several pixels or cross from one into the next.
struct Walk {
  int64_t at, channel, vectors;
};

// Covers `elements` of dense channels-last memory that start at channel 0. strided(walk, stride)
// for full vectors; single(d, element, channel) for the rest, with the widest vectors that fit.
template <class Strided, class Single>
HWY_INLINE void walk_dense(int64_t elements, int64_t channels, const Strided& strided,
                           const Single& single) {
  const int64_t step = lanes();
  const int64_t group = channels / std::gcd(channels, step), stride = group * step;
  const int64_t repeats = elements / stride;
  for (int64_t q = 0; q < group && repeats > 0; q++)
    strided(Walk{q * step, q * step % channels, repeats}, stride);
  for_channels_from(D(), repeats * stride, elements,
                    [&](auto d, int64_t e) HWY_ATTR { single(d, e, e % channels); });
}

// A weight per channel, repeated so that a vector may start at any channel.
HWY_INLINE int64_t weight_tile(int64_t channels) { return channels + max_lanes; }

struct DepthwiseTap {
  const float* source;  // what the run's first pixel reads
  const float* weight;  // weight_tile(channels) long
};

template <int vectors, class DX>
HWY_INLINE void correlate_vectors(DX d, const DepthwiseTap* taps, int64_t tap_count, int64_t at,
                                  int64_t stride, int64_t channel, float* y, int64_t y_stride) {
  hn::Vec<DX> sum[vectors];
  for (int v = 0; v < vectors; v++) sum[v] = hn::Zero(d);
  for (int64_t t = 0; t < tap_count; t++) {
    const auto weight = hn::LoadU(d, taps[t].weight + channel);
    const float* x = taps[t].source + at;
    for (int v = 0; v < vectors; v++)
      sum[v] = hn::MulAdd(hn::LoadU(d, x + v * stride), weight, sum[v]);
  }
  for (int v = 0; v < vectors; v++) hn::StoreU(sum[v], d, y + v * y_stride);
}

// y = sum over taps of source * weight; `count` vectors `stride` (y: `y_stride`) elements apart.
template <class DX>
HWY_INLINE void correlate_strided(DX d, const DepthwiseTap* taps, int64_t tap_count, int64_t at,
                                  int64_t stride, int64_t channel, float* y, int64_t y_stride,
                                  int64_t count) {
  int64_t v = 0;
  for (; v + 4 <= count; v += 4)
    correlate_vectors<4>(d, taps, tap_count, at + v * stride, stride, channel, y + v * y_stride,
                         y_stride);
  for (; v < count; v++)
    correlate_vectors<1>(d, taps, tap_count, at + v * stride, stride, channel, y + v * y_stride,
                         y_stride);
}

// A run of `count` pixels, `y_step` pixels apart; each reads `source_step` pixels after the last.
HWY_INLINE void correlate_run(const DepthwiseTap* taps, int64_t tap_count, float* y, int64_t count,
                              int64_t channels, int64_t source_step, int64_t y_step) {
  if (source_step == 1 && y_step == 1) {
    walk_dense(
        count * channels, channels,
        [&](const Walk& walk, int64_t stride) HWY_ATTR {
          correlate_strided(D(), taps, tap_count, walk.at, stride, walk.channel, y + walk.at,
                            stride, walk.vectors);
        },
        [&](auto d, int64_t e, int64_t channel)
            HWY_ATTR { correlate_vectors<1>(d, taps, tap_count, e, 0, channel, y + e, 0); });
    return;
  }
  for_channels(channels, [&](auto d, int64_t c) HWY_ATTR {
    correlate_strided(d, taps, tap_count, c, source_step * channels, c, y + c, y_step * channels,
                      count);
  });
}

constexpr int most_taps = 9;  // whose sums fit into registers

// sum[t] += x[t] * dy over `count` vectors; sums are in memory between calls.
template <int taps, class DX>
HWY_INLINE void accumulate_taps(DX d, const float* dy, int64_t dy_stride, const float* const* x,
                                int64_t x_stride, int64_t count, float* const* sum) {
  hn::Vec<DX> s[taps];
  for (int t = 0; t < taps; t++) s[t] = hn::LoadU(d, sum[t]);
  for (int64_t v = 0; v < count; v++) {
    const auto g = hn::LoadU(d, dy + v * dy_stride);
    for (int t = 0; t < taps; t++) s[t] = hn::MulAdd(hn::LoadU(d, x[t] + v * x_stride), g, s[t]);
  }
  for (int t = 0; t < taps; t++) hn::StoreU(s[t], d, sum[t]);
}

template <class DX>
HWY_INLINE void accumulate_some(DX d, int64_t taps, const float* dy, int64_t dy_stride,
                                const float* const* x, int64_t x_stride, int64_t count,
                                float* const* sum) {
  switch (taps) {
#define FULMAR_TAPS(n) \
  case n:              \
    return accumulate_taps<n>(d, dy, dy_stride, x, x_stride, count, sum);
    FULMAR_TAPS(1)
    FULMAR_TAPS(2)
    FULMAR_TAPS(3)
    FULMAR_TAPS(4)
    FULMAR_TAPS(5)
    FULMAR_TAPS(6)
    FULMAR_TAPS(7)
    FULMAR_TAPS(8)
    FULMAR_TAPS(9)
#undef FULMAR_TAPS
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
