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
  HWY_ALIGN float tap[most_bands][4][most_columns];          // upper left, right, lower left, right
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
  // A map takes straight lines to straight lines: between two columns inside all are inside.
  constexpr int64_t reach = taps == 4;
  const auto inside = [&](int64_t i) HWY_ATTR {
    return source.holds(to.left[i], to.top[i]) &&
           source.holds(to.left[i] + reach, to.top[i] + reach);
  };
  if (count > 0 && inside(0) && inside(count - 1)) {
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
  for (int64_t i = 0; i < count; i++)
    for (int64_t b = 0; b < bands; b++) y[i * bands + b] = from.value[b][i];
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
