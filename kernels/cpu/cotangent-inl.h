// The cotangent of a tensor as fused kernels read it, a row or a part of one at a time.
// Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_COTANGENT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_COTANGENT_INL_H
#undef FULMAR_KERNELS_CPU_COTANGENT_INL_H
#else
#define FULMAR_KERNELS_CPU_COTANGENT_INL_H
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/loaded-inl.h"
#include "kernels/cpu/separable-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

class CotangentRows {
 public:
  // shape: of the tensor whose cotangent it is.
  CotangentRows(const Cotangent& dy, const Shape& shape, const Channels& channels)
      : dy_(dy),
        channels_(channels),
        height_(shape.height()),
        width_(shape.width()),
        pooled_height_((height_ + 1) / 2),
        pooled_width_((width_ + 1) / 2) {
    if (!dy.normalised()) return;
    const float *gamma = dy.gamma.as<float>(), *mean = dy.mean.as<float>();
    const float* var = dy.var.as<float>();
    const double* n = dy.sums.as<double>() + 2 * channels.count;
    const double* totals = dy.grad_sums.as<double>();
    const auto variance = [&](int64_t c) { return static_cast<double>(var[c]) + dy.epsilon; };
    centre_ = channels.table([&](int64_t c) { return mean[c]; });
    scale_ = channels.table(
        [&](int64_t c) { return static_cast<double>(gamma[c]) / std::sqrt(variance(c)); });
    average_ = channels.table([&](int64_t c) { return totals[c] / n[c]; });
    slope_ = channels.table(
        [&](int64_t c) { return totals[channels.count + c] / (n[c] * variance(c)); });
  }
  bool pooled() const { return dy_.pooled(); }

  // What products of `depth` steps a tile ask for, so that dy and z of pixels from `element` on are
  // near when load() wants them. A pooled dy is loaded by spread().
  HWY_INLINE AheadByTile asks_dy(int64_t element, int64_t depth) const {
    if (pooled() && !dy_.normalised()) return {dy_.dy.as<float>(), 0, 0};
    const float* const from = (pooled() ? dy_.z : dy_.dy).as<float>();
    return {from + element, depth * line, line};
  }
  HWY_INLINE AheadByTile asks_z(int64_t element, int64_t depth) const {
    if (pooled() || !dy_.normalised()) return {dy_.dy.as<float>(), 0, 0};
    return {dy_.z.as<float>() + element, depth * line, line};
  }

  // What the pool's cotangent gives to a row, into scratch memory: each pixel gathers it from the
  // windows in which it won.
  void spread(int64_t image, int64_t row, float* g) const {
    const int64_t at = row + height_ % 2;  // the padding of 'same' is 1 before an odd extent
    const int64_t q = at / 2, tap_row = at % 2;
    spread_window(image, q, static_cast<int>(tap_row), g, false);
    if (tap_row == 0 && q > 0) spread_window(image, q - 1, 2, g, true);
  }

  // dz of some pixels of a row; g: theirs from spread(), where the cotangent is pooled.
  HWY_INLINE void load(int64_t image, int64_t row, int64_t first, int64_t pixels, const float* g,
                       float* dz) const {
    const int64_t at = ((image * height_ + row) * width_ + first) * channels_.count;
    const float* const dy = pooled() ? nullptr : dy_.dy.as<float>() + at;
    if (!dy_.normalised() && !pooled()) return load_pixels(channels_, pixels, dz, Plainly(), dy);
    if (!dy_.normalised()) {
      std::memcpy(dz, g, static_cast<size_t>(pixels * channels_.stride) * sizeof(float));
      return;
    }
    const float* const z = dy_.z.as<float>() + at;
    if (pooled())
      return load_pixels(
          channels_, pixels, dz,
          [&, g](int64_t phase) HWY_ATTR {
            return [through = through(phase), g](V x, int64_t e)
                       HWY_ATTR { return through(hn::LoadU(D(), g + e), x); };
          },
          z);
    load_pixels(
        channels_, pixels, dz,
        [&](int64_t phase) HWY_ATTR {
          return [through = through(phase)](V v, V x, int64_t) HWY_ATTR { return through(v, x); };
        },
        dy, z);
  }

 private:
  static constexpr int64_t line = 16;  // floats

  // batch_norm_grad of vectors of one phase.
  struct Through {
    V centre, scale, average, slope;
    HWY_INLINE V operator()(V g, V z) const {
      return hn::Mul(scale, hn::NegMulAdd(hn::Sub(z, centre), slope, hn::Sub(g, average)));
    }
  };
  HWY_INLINE Through through(int64_t phase) const {
    const D d;
    return {hn::LoadU(d, centre_.data() + phase), hn::LoadU(d, scale_.data() + phase),
            hn::LoadU(d, average_.data() + phase), hn::LoadU(d, slope_.data() + phase)};
  }

  // What tap row ky of the windows of pooled row q gives to the row: sets it, or adds to it.
  void spread_window(int64_t image, int64_t q, int tap_row, float* g, bool adds) const {
    const int64_t count = channels_.count, pad = width_ % 2;
    const int64_t at = (image * pooled_height_ + q) * pooled_width_ * count;
    const float* const dy = dy_.dy.as<float>() + at;
    const uint8_t* const argmax = dy_.argmax.as<uint8_t>() + at;
    for_channels(count, [&](auto d, int64_t c) HWY_ATTR {
      const hn::RebindToSigned<decltype(d)> di;
      const hn::Rebind<uint8_t, decltype(d)> d8;
      const auto won = [&](auto codes, int tap_column) HWY_ATTR {
        return hn::RebindMask(d, hn::Eq(codes, hn::Set(di, 3 * tap_row + tap_column)));
      };
      const auto put = [&](int64_t pixel, auto v) HWY_ATTR {
        float* const to = g + pixel * channels_.stride + c;
        hn::StoreU(adds ? hn::Add(hn::LoadU(d, to), v) : v, d, to);
      };
      auto before = hn::Zero(d);  // what the window before gives to its last column
      for (int64_t p = 0; p < pooled_width_; p++) {
        const auto v = hn::LoadU(d, dy + p * count + c);
        const auto codes = hn::PromoteTo(di, hn::LoadU(d8, argmax + p * count + c));
        const int64_t first = 2 * p - pad;
        if (first >= 0) put(first, hn::Add(before, hn::IfThenElseZero(won(codes, 0), v)));
        if (first + 1 < width_) put(first + 1, hn::IfThenElseZero(won(codes, 1), v));
        before = hn::IfThenElseZero(won(codes, 2), v);
      }
    });
  }

  const Cotangent& dy_;
  Channels channels_;
  int64_t height_, width_, pooled_height_, pooled_width_;
  Scratch<float> centre_, scale_, average_, slope_;
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
