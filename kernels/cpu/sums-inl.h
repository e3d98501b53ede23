// Sums over pixels for every channel: float lanes for a few pixels, then double; fixed chunks,
// added in order, so that the bits don't depend on the number of threads.
#if defined(FULMAR_KERNELS_CPU_SUMS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_SUMS_INL_H
#undef FULMAR_KERNELS_CPU_SUMS_INL_H
#else
#define FULMAR_KERNELS_CPU_SUMS_INL_H
#endif

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

HWY_INLINE void add_lanes(V v, double* sum, int64_t count) {
  HWY_ALIGN float lane[max_lanes];
  hn::Store(v, D(), lane);
  for (int64_t l = 0; l < count; l++) sum[l] += static_cast<double>(lane[l]);
}

// Adds the terms of elements [begin, end), which start at channel 0, to sums [K][channels].
// `tile`: K * period.elements doubles.
template <int K, class Term>
HWY_NOINLINE void sum_elements(const Term& term, int64_t begin, int64_t end, int64_t channels,
                               const Period& period, double* tile, double* sums) {
  constexpr int64_t periods_per_flush = 32;  // bounds the error of the float sums
  constexpr int unroll = 4;
  const D d;
  const int64_t step = lanes(), size = period.elements;
  const WholeAhead load{std::max<int64_t>(512, 8 * size)};
  std::fill_n(tile, K * size, 0.0);
  const int64_t full = begin + (end - begin) / size * size;
  for (int64_t block = begin; block < full; block += periods_per_flush * size) {
    const int64_t stop = std::min(full, block + periods_per_flush * size);
    int64_t q = 0;
    for (; q + unroll <= period.vectors; q += unroll) {
      V a0[K], a1[K], a2[K], a3[K];
      for (int k = 0; k < K; k++) a0[k] = a1[k] = a2[k] = a3[k] = hn::Zero(d);
      const int64_t phase = q * step;
      for (int64_t e = block + phase; e < stop; e += size) {
        term(load, e, phase, a0);
        term(load, e + step, phase + step, a1);
        term(load, e + 2 * step, phase + 2 * step, a2);
        term(load, e + 3 * step, phase + 3 * step, a3);
      }
      for (int k = 0; k < K; k++) {
        double* sum = tile + k * size + phase;
        add_lanes(a0[k], sum, step);
        add_lanes(a1[k], sum + step, step);
        add_lanes(a2[k], sum + 2 * step, step);
        add_lanes(a3[k], sum + 3 * step, step);
      }
    }
    for (; q < period.vectors; q++) {
      V a[K];
      for (int k = 0; k < K; k++) a[k] = hn::Zero(d);
      for (int64_t e = block + q * step; e < stop; e += size) term(load, e, q * step, a);
      for (int k = 0; k < K; k++) add_lanes(a[k], tile + k * size + q * step, step);
    }
  }
  for (int64_t e = full; e < end; e += step) {
    const int64_t count = std::min(step, end - e), phase = e - full;
    V a[K];
    for (int k = 0; k < K; k++) a[k] = hn::Zero(d);
    term(Part{count}, e, phase, a);
    for (int k = 0; k < K; k++) add_lanes(a[k], tile + k * size + phase, count);
  }
  for (int k = 0; k < K; k++)
    for (int64_t e = 0; e < size; e += channels)
      for (int64_t c = 0; c < channels; c++) sums[k * channels + c] += tile[k * size + e + c];
}

// sums [outer][K][channels] of x [outer][pixels][channels]. term(load, e, phase, a) adds to a[K]
// what the lanes at element e give; their channels' parameters lie at `phase` of a period_tile.
template <int K, class Term>
void sum_pixels(Stream& stream, int64_t outer, int64_t pixels, int64_t channels, const Term& term,
                double* sums) {
  constexpr int64_t most_chunks = 64, least_elements = 1 << 15;
  std::fill_n(sums, outer * K * channels, 0.0);
  if (pixels == 0) return;
  const Period period = period_of(channels);
  int64_t chunk = std::max((pixels + most_chunks - 1) / most_chunks,
                           (least_elements + channels - 1) / channels);
  chunk = (chunk + period.pixels - 1) / period.pixels * period.pixels;
  const int64_t chunks = (pixels + chunk - 1) / chunk;
  Scratch<double> partial(chunks > 1 ? static_cast<size_t>(outer * chunks * K * channels) : 0);
  double* parts = chunks > 1 ? partial.data() : sums;

  const int64_t grain = chunks > 1 ? 1 : rows_per_chunk(pixels * channels, least_elements);
  for_chunks(stream, outer * chunks, grain, [&](int64_t first, int64_t last, int worker) HWY_ATTR {
    auto* tile = static_cast<double*>(
        stream.pool->scratch(worker, static_cast<size_t>(K * period.elements) * sizeof(double)));
    for (int64_t task = first; task < last; task++) {
      const int64_t image = task / chunks, at = task % chunks * chunk;
      const int64_t begin = (image * pixels + at) * channels;
      const int64_t count = std::min(chunk, pixels - at) * channels;
      sum_elements<K>(term, begin, begin + count, channels, period, tile,
                      parts + task * K * channels);
    }
  });
  if (chunks == 1) return;
  for (int64_t image = 0; image < outer; image++)
    for (int64_t i = 0; i < chunks; i++)
      for (int64_t k = 0; k < K * channels; k++)
        sums[image * K * channels + k] += partial[(image * chunks + i) * K * channels + k];
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
