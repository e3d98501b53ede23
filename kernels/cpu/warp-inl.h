// A few columns of one output row of `warp`: positions, taps, interpolation, noise.
#if defined(FULMAR_KERNELS_CPU_WARP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_WARP_INL_H
#undef FULMAR_KERNELS_CPU_WARP_INL_H
#else
#define FULMAR_KERNELS_CPU_WARP_INL_H
#endif

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/philox-inl.h"
#include "kernels/view.h"
#include "kernels/warp.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t most_columns = 128;
constexpr int most_bands = WarpOptions::max_bands;

// Memory for `most_columns` columns, band by band.
struct WarpColumns {
  HWY_ALIGN int32_t left[most_columns], top[most_columns];
  HWY_ALIGN float across[most_columns], down[most_columns];  // fractions
  HWY_ALIGN uint32_t pair[2][2 * most_columns];      // two neighbouring pixels, above and below
  HWY_ALIGN float tap[most_bands][4][most_columns];  // upper left, right, lower left, right
  HWY_ALIGN float value[most_bands][most_columns];
};

HWY_INLINE V lerp(V a, V b, V t) { return hn::MulAdd(t, hn::Sub(b, a), a); }

// Where output pixels (column + i, row) read, i in [0, count): the first tap and the fractions.
// Positions far out are drawn in, so that they fit an integer; all taps are outside there.
HWY_INLINE void warp_positions(const WarpSample& sample, double column, double row, int64_t count,
                               bool nearest, WarpColumns& to) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<int32_t, decltype(d)> di;
  const hn::Rebind<float, decltype(d)> df;
  const auto axis = [&](int64_t i, const double* a, int64_t extent, int32_t* first,
                        float* fraction) HWY_ATTR {
    const auto x = hn::Add(hn::Set(d, column + static_cast<double>(i)), hn::Iota(d, 0));
    auto position =
        hn::Add(hn::Add(hn::Mul(hn::Set(d, a[0]), x), hn::Set(d, a[1] * row)), hn::Set(d, a[2]));
    position = hn::Max(position, hn::Set(d, -2.0));
    position = hn::Min(position, hn::Set(d, static_cast<double>(extent) + 1));
    if (nearest) position = hn::Add(position, hn::Set(d, 0.5));
    const auto whole = hn::Floor(position);
    hn::StoreU(hn::DemoteTo(di, whole), di, first + i);
    hn::StoreU(hn::DemoteTo(df, hn::Sub(position, whole)), df, fraction + i);
  };
  // Lanes beyond `count` are computed and not used; most_columns is a multiple of any vector.
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(hn::Lanes(d))) {
    axis(i, sample.map.a.data(), sample.source_width, to.left, to.across);
    axis(i, sample.map.a.data() + 3, sample.source_height, to.top, to.down);
  }
}

// The valid part of one image.
template <class T>
struct WarpSource {
  const T* data;
  int64_t row_stride, pixel_stride, height, width;
  int64_t elements;  // of the slot, from `data` on
  bool clamp;

  HWY_INLINE bool holds(int64_t x, int64_t y) const {
    return x >= 0 && x < width && y >= 0 && y < height;
  }
  // nullptr: outside
  HWY_INLINE const T* pixel(int64_t x, int64_t y) const {
    if (clamp) {
      x = std::clamp<int64_t>(x, 0, width - 1);
      y = std::clamp<int64_t>(y, 0, height - 1);
    }
    return holds(x, y) ? data + y * row_stride + x * pixel_stride : nullptr;
  }
};

// Whether all taps of columns [0, count) lie in the source, `reach` to the right and down. A map
// takes straight lines to straight lines: between two columns inside all are inside.
template <class T>
HWY_INLINE bool taps_inside(const WarpSource<T>& source, int64_t count, int64_t reach,
                            const WarpColumns& at) {
  const auto inside = [&](int64_t i) {
    return source.holds(at.left[i], at.top[i]) &&
           source.holds(at.left[i] + reach, at.top[i] + reach);
  };
  return count > 0 && inside(0) && inside(count - 1);
}

// What lies in WarpColumns::tap: the bits of a float, or of an int32 where the source has whole
// numbers, which a vector converts faster; -1 then stands for a tap outside.
template <class T>
using TapValue = std::conditional_t<std::is_integral_v<T>, int32_t, float>;
template <class T>
HWY_INLINE void set_tap(float* tap, T value) {
  const auto bits = static_cast<TapValue<T>>(value);
  std::memcpy(tap, &bits, sizeof(bits));
}

// Reads the taps of columns [0, count). fixed_bands: 0 or the number of bands.
template <int taps, int fixed_bands, class T>
void warp_taps(const WarpSource<T>& source, int64_t count, int64_t some_bands, const float* fill,
               WarpColumns& to) {
  const int64_t bands = fixed_bands ? fixed_bands : some_bands;
  if (taps_inside(source, count, taps == 4, to)) {
    for (int64_t i = 0; i < count; i++) {
      const T* upper =
          source.data + to.top[i] * source.row_stride + to.left[i] * source.pixel_stride;
      for (int64_t b = 0; b < bands; b++) {
        set_tap<T>(&to.tap[b][0][i], upper[b]);
        if constexpr (taps == 4) {
          const T* lower = upper + source.row_stride;
          set_tap<T>(&to.tap[b][1][i], upper[b + source.pixel_stride]);
          set_tap<T>(&to.tap[b][2][i], lower[b]);
          set_tap<T>(&to.tap[b][3][i], lower[b + source.pixel_stride]);
        }
      }
    }
    return;
  }
  for (int64_t i = 0; i < count; i++)
    for (int t = 0; t < taps; t++) {
      const T* pixel = source.pixel(to.left[i] + t % 2, to.top[i] + t / 2);
      for (int64_t b = 0; b < bands; b++) {
        if (pixel) {
          set_tap<T>(&to.tap[b][t][i], pixel[b]);
        } else {
          const auto outside = std::is_integral_v<T> ? TapValue<T>{-1} : TapValue<T>(fill[b]);
          std::memcpy(&to.tap[b][t][i], &outside, sizeof(outside));
        }
      }
    }
}

// value = interpolated taps, in source units; taps that hold no number become the fill.
template <int taps, class T>
HWY_INLINE void warp_interpolate(int64_t count, int64_t bands, const WarpOptions& options,
                                 WarpColumns& to) {
  const D d;
  const V nodata = hn::Set(d, options.nodata);
  for (int64_t b = 0; b < bands; b++) {
    const V fill = hn::Set(d, options.fill[b]);
    const auto tap = [&](int t, int64_t i) HWY_ATTR {
      V v = hn::Load(d, to.tap[b][t] + i);
      if constexpr (std::is_integral_v<T>) {
        const V bits = v;
        v = hn::ConvertTo(d, hn::BitCast(hn::RebindToSigned<D>(), bits));
        v = hn::IfThenElse(hn::Lt(v, hn::Zero(d)), fill, v);
      } else {
        v = hn::IfThenElse(hn::IsFinite(v), v, fill);
      }
      if (options.has_nodata) v = hn::IfThenElse(hn::Eq(v, nodata), fill, v);
      return v;
    };
    for (int64_t i = 0; i < count; i += lanes()) {
      V v = tap(0, i);
      if constexpr (taps == 4) {
        const V fx = hn::Load(d, to.across + i), fy = hn::Load(d, to.down + i);
        v = lerp(lerp(v, tap(1, i), fx), lerp(tap(2, i), tap(3, i), fx), fy);
      }
      hn::Store(v, d, to.value[b] + i);
    }
  }
}

// One load reads two neighbouring pixels of few bytes.
constexpr int64_t pair_bytes = 8;

#if HWY_TARGET != HWY_SCALAR
// The same as warp_taps and warp_interpolate, for columns whose taps are all inside.
template <int bands, class T>
HWY_NOINLINE void warp_pairs(const WarpSource<T>& source, int64_t count, const WarpOptions& options,
                             WarpColumns& to) {
  constexpr int bits = 8 * sizeof(T);
  static_assert(2 * bands * sizeof(T) <= pair_bytes);
  for (int64_t i = 0; i < count; i++) {
    const T* const pixel = source.data + to.top[i] * source.row_stride + to.left[i] * bands;
    std::memcpy(to.pair[0] + 2 * i, pixel, pair_bytes);
    std::memcpy(to.pair[1] + 2 * i, pixel + source.row_stride, pair_bytes);
  }
  const int64_t padded = (count + lanes() - 1) / lanes() * lanes();
  for (auto& row : to.pair) std::fill(row + 2 * count, row + 2 * padded, 0U);
  const D d;
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  using Words = hn::Vec<hn::RebindToUnsigned<D>>;
  const V nodata = hn::Set(d, options.nodata);
  for (int64_t i = 0; i < count; i += lanes()) {
    Words word[2][2];  // of the row above, then below: first and second 4 bytes of each pair
    for (int row = 0; row < 2; row++) {
      const uint32_t* const pairs = to.pair[row] + 2 * i;
      const Words a = hn::Load(du, pairs), b = hn::Load(du, pairs + lanes());
      word[row][0] = hn::ConcatEven(du, b, a);
      word[row][1] = hn::ConcatOdd(du, b, a);
    }
    const V fx = hn::Load(d, to.across + i), fy = hn::Load(d, to.down + i);
#pragma GCC unroll 4
    for (int b = 0; b < bands; b++) {
      const V fill = hn::Set(d, options.fill[b]);
      const auto tap = [&](int row, int element) HWY_ATTR {
        Words number = word[row][element * bits / 32];
        if constexpr (bits < 32)
          number = hn::And(hn::ShiftRightSame(number, element * bits % 32),
                           hn::Set(du, (uint32_t{1} << bits) - 1));
        V v = hn::BitCast(d, number);
        if constexpr (std::is_integral_v<T>)
          v = hn::ConvertTo(d, hn::BitCast(di, number));
        else
          v = hn::IfThenElse(hn::IsFinite(v), v, fill);
        return options.has_nodata ? hn::IfThenElse(hn::Eq(v, nodata), fill, v) : v;
      };
      const V above = lerp(tap(0, b), tap(0, bands + b), fx);
      const V below = lerp(tap(1, b), tap(1, bands + b), fx);
      hn::Store(lerp(above, below, fy), d, to.value[b] + i);
    }
  }
}
#endif

// Bilinear values by pairs where possible: all taps inside, and the last load too.
template <class T>
HWY_INLINE bool warp_by_pairs([[maybe_unused]] const WarpSource<T>& source,
                              [[maybe_unused]] int64_t count, [[maybe_unused]] int64_t bands,
                              [[maybe_unused]] const WarpOptions& options,
                              [[maybe_unused]] WarpColumns& to) {
#if HWY_TARGET != HWY_SCALAR
  constexpr int64_t size = sizeof(T);
  if constexpr (2 * size <= pair_bytes) {
    if (source.pixel_stride != bands || 2 * bands * size > pair_bytes) return false;
    if (!taps_inside(source, count, 1, to)) return false;
    const int64_t right = std::max(to.left[0], to.left[count - 1]);
    const int64_t bottom = std::max(to.top[0], to.top[count - 1]) + int64_t{1};
    const int64_t last = bottom * source.row_stride + right * bands;
    if (last * size + pair_bytes > source.elements * size) return false;
    if (bands == 1) warp_pairs<1>(source, count, options, to);
    if constexpr (size <= 2) {
      if (bands == 2) warp_pairs<2>(source, count, options, to);
    }
    if constexpr (size == 1) {
      if (bands == 3) warp_pairs<3>(source, count, options, to);
      if (bands == 4) warp_pairs<4>(source, count, options, to);
    }
    return true;
  }
#endif
  return false;
}

// What turns numbers of the source into values, for `bands` vectors of pixels.
struct WarpTables {
  HWY_ALIGN float scale[most_bands * max_lanes], offset[most_bands * max_lanes],
      fill[most_bands * max_lanes];

  HWY_INLINE WarpTables(const WarpOptions& options, int64_t bands) {
    for (int64_t e = 0; e < bands * lanes(); e++) {
      scale[e] = options.scale[e % bands];
      offset[e] = options.offset[e % bands];
      fill[e] = options.fill[e % bands];
    }
  }
};

template <class T>
HWY_INLINE V load_numbers(const T* from) {
  const D d;
  if constexpr (std::is_integral_v<T>) {
    const hn::RebindToSigned<D> di;
    return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(hn::Rebind<T, D>(), from)));
  } else {
    return hn::LoadU(d, from);
  }
}

// A run of pixels that a map only shifts by whole pixels: y = (number * scale + offset) * gain. The
// row after is fetched.
template <class T>
HWY_NOINLINE void warp_shifted(const T* from, int64_t row_stride, int64_t count, int64_t bands,
                               const WarpTables& tables, const WarpOptions& options, double gain,
                               float* y) {
  const D d;
  const V nodata = hn::Set(d, options.nodata), factor = hn::Set(d, static_cast<float>(gain));
  const int64_t size = count * bands, period = bands * lanes();
  int64_t phase = 0;
  const auto values = [&](const T* numbers) HWY_ATTR {
    V v = load_numbers(numbers);
    const V fill = hn::Load(d, tables.fill + phase);
    if constexpr (!std::is_integral_v<T>) v = hn::IfThenElse(hn::IsFinite(v), v, fill);
    if (options.has_nodata) v = hn::IfThenElse(hn::Eq(v, nodata), fill, v);
    v = hn::MulAdd(v, hn::Load(d, tables.scale + phase), hn::Load(d, tables.offset + phase));
    phase = phase + lanes() == period ? 0 : phase + lanes();
    return hn::Mul(v, factor);
  };
  int64_t e = 0;
  for (; e + lanes() <= size; e += lanes()) {
    hwy::Prefetch(from + e + row_stride);
    hn::StoreU(values(from + e), d, y + e);
  }
  if (e == size) return;
  T rest[max_lanes] = {};
  std::memcpy(rest, from + e, static_cast<size_t>(size - e) * sizeof(T));
  store_part(values(rest), y + e, size - e);
}

// value *= max(0, 1 + speckle n) by the formula of kernels/warp.h; `pixel`: number of the first.
HWY_INLINE void warp_speckle(const WarpSample& sample, int64_t band, int64_t pixel, int64_t count,
                             float* value) {
  const D d;
  uint32_t words[4 * philox_lanes];
  HWY_ALIGN float u0[most_columns], u1[most_columns];
  // As far as the vectors below read: Highway's functions must not see what was never written.
  const int64_t padded = (count + lanes() - 1) / lanes() * lanes();
  for (int64_t i = 0; i < padded; i += philox_lanes) {
    philox_block(sample.seed, static_cast<uint64_t>(band), static_cast<uint64_t>(pixel + i), words);
    for (int64_t j = 0; j < philox_lanes; j++) {
      u0[i + j] = static_cast<float>(static_cast<int32_t>(words[4 * j] >> 8));
      u1[i + j] = static_cast<float>(static_cast<int32_t>(words[4 * j + 1] >> 8));
    }
  }
  const V unit = hn::Set(d, 1.0f / 16777216.0f), one = hn::Set(d, 1.0f);
  const V turn = hn::Set(d, static_cast<float>(2 * 3.14159265358979323846 / 16777216.0));
  const V speckle = hn::Set(d, static_cast<float>(sample.speckle));
  for (int64_t i = 0; i < count; i += lanes()) {
    const V log_u = hn::Log(d, hn::NegMulAdd(hn::Load(d, u0 + i), unit, one));
    const V radius = hn::Sqrt(hn::Mul(hn::Set(d, -2.0f), log_u));
    const V normal = hn::Mul(radius, hn::Cos(d, hn::Mul(hn::Load(d, u1 + i), turn)));
    const V noise = hn::Max(hn::Zero(d), hn::MulAdd(speckle, normal, one));
    hn::Store(hn::Mul(hn::Load(d, value + i), noise), d, value + i);
  }
}

// y [count][bands] = (value * scale + offset) * gain * noise
HWY_INLINE void warp_finish(const WarpSample& sample, const WarpOptions& options, int64_t pixel,
                            int64_t count, int64_t bands, WarpColumns& from, float* y) {
  const D d;
  for (int64_t b = 0; b < bands; b++) {
    const V scale = hn::Set(d, options.scale[b]), offset = hn::Set(d, options.offset[b]);
    const V gain = hn::Set(d, static_cast<float>(sample.gain));
    float* value = from.value[b];
    for (int64_t i = 0; i < count; i += lanes())
      hn::Store(hn::Mul(hn::MulAdd(hn::Load(d, value + i), scale, offset), gain), d, value + i);
    if (sample.speckle > 0) warp_speckle(sample, b, pixel, count, value);
  }
  int64_t i = 0;
  const auto value = [&](int64_t b) HWY_ATTR { return hn::Load(d, from.value[b] + i); };
  if (bands == 3)
    for (; i + lanes() <= count; i += lanes())
      hn::StoreInterleaved3(value(0), value(1), value(2), d, y + 3 * i);
  else if (bands == 1)
    for (; i + lanes() <= count; i += lanes()) hn::StoreU(value(0), d, y + i);
  for (; i < count; i++)
    for (int64_t b = 0; b < bands; b++) y[i * bands + b] = from.value[b][i];
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
