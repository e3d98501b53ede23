// What a 1x1 convolution of stride 2 reads: the even pixels of even rows, gathered into scratch
// memory and normalised on the way. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_EVEN_PIXELS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_EVEN_PIXELS_INL_H
#undef FULMAR_KERNELS_CPU_EVEN_PIXELS_INL_H
#else
#define FULMAR_KERNELS_CPU_EVEN_PIXELS_INL_H
#endif

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/loaded-inl.h"
#include "kernels/cpu/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Batch normalisation and relu, as a packing functor.
struct PackNormalised {
  Affine affine;
  template <class DX, class VX>
  HWY_INLINE VX operator()(DX d, VX x, int64_t c) const {
    return rectified(d, affine(d, x, c));
  }
};

// Two pixels, `apart` elements from each other, whose channels fill a vector together.
struct TwoPixels {
  int64_t apart;
  template <class DX, class T>
  HWY_INLINE hn::Vec<DX> operator()(DX d, const T* p) const {
#if HWY_TARGET == HWY_SCALAR  // one lane holds no two pixels
    return load_vector(d, p);
#else
    const hn::Half<DX> half;
    return hn::Combine(d, load_vector(half, p + apart), load_vector(half, p));
#endif
  }
};

// Pixels (2i, 2j), numbered over all images.
template <class T>
class EvenPixels {
 public:
  explicit EvenPixels(const Loaded& x)
      : x_(x),
        data_(elements<T>(x.x)),
        width_((x.x.shape.width() + 1) / 2),
        height_((x.x.shape.height() + 1) / 2),
        tables_(x, Channels(x.x.shape.channels())) {}

  int64_t width() const { return width_; }
  int64_t channels() const { return x_.x.shape.channels(); }
  int64_t count() const { return x_.x.shape.images() * height_ * width_; }
  // Where one lies. Those that follow in its row are two pixels apart.
  const T* at(int64_t pixel) const {
    const Shape& shape = x_.x.shape;
    const int64_t row = pixel / width_, source = row / height_ * shape.height() + row % height_ * 2;
    return data_ + (source * shape.width() + pixel % width_ * 2) * shape.channels();
  }

  // Channels [c, c + count) of `pixels` pixels from the number `first` on; c is a multiple of the
  // widest vector. Asks for `ahead.share` floats of what is needed next with each pixel.
  HWY_INLINE void gather(int64_t first, int64_t pixels, int64_t c, int64_t count, Ahead ahead,
                         float* to) const {
    constexpr int64_t at_a_time = 16;
    while (pixels > 0) {
      const int64_t run = std::min({width_ - first % width_, pixels, at_a_time});
      for (int64_t i = 0; i < run * ahead.share; i += 16) hwy::Prefetch(ahead.next + i);
      ahead.next += run * ahead.share;
      if (x_.normalised())
        copy(at(first) + c, run, count, PackNormalised{tables_.affine()}, c, to);
      else
        copy(at(first) + c, run, count, Keep(), c, to);
      first += run;
      pixels -= run;
      to += run * count;
    }
  }

 private:
  template <class Packing>
  HWY_INLINE void copy(const T* from, int64_t pixels, int64_t count, const Packing& packing,
                       int64_t c, float* to) const {
    const D d;
    const int64_t step = 2 * x_.x.shape.channels();
    int64_t i = 0;
    if (step == lanes())
      for (; i + 2 <= pixels; i += 2)
        hn::StoreU(packing(d, TwoPixels{step}(d, from + i * step), 0), d, to + i * count);
    if (i < pixels)
      copy_runs(from + i * step, step, to + i * count, count, count, pixels - i, packing, c);
  }

  Loaded x_;
  const T* data_;
  int64_t width_, height_;
  NormaliseTables tables_;
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
