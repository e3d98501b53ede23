// What a 1x1 convolution of stride 2 reads: the even pixels of even rows, gathered into scratch
// memory and normalised on the way. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_EVEN_PIXELS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_EVEN_PIXELS_INL_H
#undef FULMAR_KERNELS_CPU_EVEN_PIXELS_INL_H
#else
#define FULMAR_KERNELS_CPU_EVEN_PIXELS_INL_H
#endif

#include "kernels/cpu/loaded-inl.h"
#include "kernels/cpu/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// max(0, x), and NaN where x is.
template <class DX>
HWY_INLINE hn::Vec<DX> rectified(DX d, hn::Vec<DX> x) {
  return hn::IfThenZeroElse(hn::Le(x, hn::Zero(d)), x);
}

// Batch normalisation of vectors of any width, by tables as long as NormaliseTables makes them.
struct Affine {
  const float *centre, *scale, *offset;
  template <class DX>
  HWY_INLINE hn::Vec<DX> operator()(DX d, hn::Vec<DX> x, int64_t c) const {
    return hn::MulAdd(hn::Sub(x, hn::LoadU(d, centre + c)), hn::LoadU(d, scale + c),
                      hn::LoadU(d, offset + c));
  }
};
// The same and relu, as a packing functor.
struct PackNormalised {
  Affine affine;
  template <class DX, class VX>
  HWY_INLINE VX operator()(DX d, VX x, int64_t c) const {
    return rectified(d, affine(d, x, c));
  }
};

class EvenPixels {
 public:
  explicit EvenPixels(const Loaded& x) : x_(x), tables_(x, Channels(x.x.shape.channels())) {}

  // Channels [c, c + count) of `pixels` even pixels from the number `first` on, which counts them
  // over all even rows of all images. c is a multiple of the widest vector.
  HWY_INLINE void gather(int64_t first, int64_t pixels, int64_t c, int64_t count, float* to) const {
    const Shape& shape = x_.x.shape;
    const int64_t width = (shape.width() + 1) / 2, height = (shape.height() + 1) / 2;
    const int64_t channels = shape.channels();
    while (pixels > 0) {
      const int64_t row = first / width, column = first % width;
      const int64_t run = std::min(width - column, pixels);
      const int64_t source = row / height * shape.height() + row % height * 2;
      const float* from = x_.x.as<float>() + (source * shape.width() + 2 * column) * channels + c;
      if (x_.normalised())
        copy_runs(from, 2 * channels, to, count, count, run, PackNormalised{affine()}, c);
      else
        copy_runs(from, 2 * channels, to, count, count, run, Keep(), c);
      first += run;
      pixels -= run;
      to += run * count;
    }
  }

 private:
  Affine affine() const {
    return {tables_.centre.data(), tables_.scale.data(), tables_.offset.data()};
  }
  Loaded x_;
  NormaliseTables tables_;
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
