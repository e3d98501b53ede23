// The cotangent of a tensor as fused kernels read it, a row or a part of one at a time.
// Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_COTANGENT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_COTANGENT_INL_H
#undef FULMAR_KERNELS_CPU_COTANGENT_INL_H
#else
#define FULMAR_KERNELS_CPU_COTANGENT_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/loaded-inl.h"
#include "kernels/cpu/norm_grad-inl.h"
#include "kernels/cpu/separable-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

template <class T>
class CotangentRows {
 public:
  // shape: of the tensor whose cotangent it is.
  CotangentRows(const Cotangent& dy, const Shape& shape, const Channels& channels)
      : dy_(dy),
        channels_(channels),
        height_(shape.height()),
        width_(shape.width()),
        pooled_height_((height_ + 1) / 2),
        pooled_width_((width_ + 1) / 2),
        norm_(dy, [&](const auto& of) { return channels.table(of); }) {}
  bool pooled() const { return dy_.pooled(); }

  // What products of `depth` steps a tile ask for, so that dy and z of pixels from `element` on are
  // near when load() wants them. A pooled dy is loaded by spread().
  HWY_INLINE AheadByTile asks_dy(int64_t element, int64_t depth) const {
    if (pooled() && !dy_.normalised()) return {asked_at(dy_.dy.as<T>()), 0, 0};
    return asks(pooled() ? dy_.z : dy_.dy, element, depth);
  }
  HWY_INLINE AheadByTile asks_z(int64_t element, int64_t depth) const {
    if (pooled() || !dy_.normalised()) return {asked_at(dy_.dy.as<T>()), 0, 0};
    return asks(dy_.z, element, depth);
  }

  // What the pool's cotangent gives to a row, into scratch memory: each pixel gathers it from the
  // windows in which it won.
  void spread(int64_t image, int64_t row, float* g) const {
    const int64_t at = row + height_ % 2;  // the padding of 'same' is 1 before an odd extent
    const int64_t q = at / 2;
    if (at % 2 == 1)
      spread_windows<1>(image, {{q, 1}}, g);
    else if (q == 0)
      spread_windows<1>(image, {{q, 0}}, g);
    else
      spread_windows<2>(image, {{q, 0}, {q - 1, 2}}, g);
  }

  // dz of some pixels of a row; g: theirs from spread(), where the cotangent is pooled.
  HWY_INLINE void load(int64_t image, int64_t row, int64_t first, int64_t pixels, const float* g,
                       float* dz) const {
    const int64_t at = ((image * height_ + row) * width_ + first) * channels_.count;
    const T* const dy = pooled() ? nullptr : elements<T>(dy_.dy) + at;
    if (!dy_.normalised() && !pooled()) return load_pixels(channels_, pixels, dz, Plainly(), dy);
    if (!dy_.normalised()) {
      std::memcpy(dz, g, static_cast<size_t>(pixels * channels_.stride) * sizeof(float));
      return;
    }
    const T* const z = elements<T>(dy_.z) + at;
    if (pooled())
      return load_pixels(
          channels_, pixels, dz,
          [&, g](int64_t phase) HWY_ATTR {
            return [through = norm_.at(phase), g](V x, int64_t e)
                       HWY_ATTR { return through(hn::LoadU(D(), g + e), x); };
          },
          z);
    load_pixels(
        channels_, pixels, dz,
        [&](int64_t phase) HWY_ATTR {
          return [through = norm_.at(phase)](V v, V x, int64_t) HWY_ATTR { return through(v, x); };
        },
        dy, z);
  }

 private:
  static HWY_INLINE AheadByTile asks(const View& x, int64_t element, int64_t depth) {
    constexpr int64_t line = asked_floats<T>(16);
    return {asked_at(x.as<T>() + element), depth * line, line};
  }

  // A row of windows, and which row of their taps meets the row that is spread.
  struct Windows {
    int64_t q;
    int tap_row;
  };
  template <int count>
  void spread_windows(int64_t image, const Windows (&windows)[count], float* g) const {
    const int64_t pooled_row = pooled_width_ * channels_.count;
    const T* dy[count];
    const uint8_t* argmax[count];
    for (int i = 0; i < count; i++) {
      const int64_t at = (image * pooled_height_ + windows[i].q) * pooled_row;
      dy[i] = elements<T>(dy_.dy) + at;
      argmax[i] = dy_.argmax.as<uint8_t>() + at;
    }
    for_channels(channels_.count, [&](auto d, int64_t c) HWY_ATTR {
      const hn::RebindToSigned<decltype(d)> di;
      const hn::Rebind<uint8_t, decltype(d)> d8;
      using VX = hn::Vec<decltype(d)>;
      // What a window's three columns get.
      const auto read = [&](int64_t element, VX(&column)[3]) HWY_ATTR {
        if constexpr (count == 2) {  // for the next rows' windows
          hwy::Prefetch(dy[0] + pooled_row + element);
          hwy::Prefetch(argmax[0] + pooled_row + element);
        }
#pragma GCC unroll 2
        for (int i = 0; i < count; i++) {
          const auto v = load_vector(d, dy[i] + element);
          const auto codes = hn::PromoteTo(di, hn::LoadU(d8, argmax[i] + element));
#pragma GCC unroll 3
          for (int k = 0; k < 3; k++) {
            const auto won =
                hn::RebindMask(d, hn::Eq(codes, hn::Set(di, 3 * windows[i].tap_row + k)));
            const auto part = hn::IfThenElseZero(won, v);
            column[k] = i == 0 ? part : hn::Add(column[k], part);
          }
        }
      };
      const int64_t step = channels_.stride;
      float* to = g + c;
      VX column[3], before = hn::Zero(d);  // before: for the last column of the window before
      int64_t p = 0;
      if (width_ % 2 == 1) {  // the first column of the first window is padding
        read(c, column);
        hn::StoreU(column[1], d, to);
        before = column[2];
        to += step;
        p = 1;
      }
      for (; p < pooled_width_; p++, to += 2 * step) {
        read(p * channels_.count + c, column);
        hn::StoreU(hn::Add(before, column[0]), d, to);
        hn::StoreU(column[1], d, to + step);
        before = column[2];
      }
    });
  }

  const Cotangent& dy_;
  Channels channels_;
  int64_t height_, width_, pooled_height_, pooled_width_;
  NormGrad norm_;
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
