#pragma once

#include <array>
#include <cstdint>

#include "kernels/api.h"
#include "kernels/view.h"

namespace fulmar {

enum class Interpolation : int32_t { nearest, bilinear };
// A tap outside the source reads the band's fill value, or the nearest source pixel (fill too where
// the source is empty). Nearest has one tap, floor(position + .5). Bilinear has two taps each way,
// floor(position) and the next.
enum class Border : int32_t { fill, clamp };

// x' = a[0] x + a[1] y + a[2],  y' = a[3] x + a[4] y + a[5]; x is the column, y the row, in pixels,
// integers at pixel centres.
struct Affine {
  std::array<double, 6> a{1, 0, 0, 0, 1, 0};
};

// How warp samples one image. Plain bytes: a batch of records is a u8 tensor [N, sizeof].
struct WarpSample {
  Affine map;  // output pixel -> source pixel

  // A chain of operations cuts at each one's frame: an output pixel is fill where `to_frame[k]`
  // puts it half a pixel or more outside [0, frame_width - 1] x [0, frame_height - 1].
  static constexpr int max_frames = 3;
  int64_t frames = 0;
  std::array<Affine, max_frames> to_frame{};
  std::array<double, max_frames> frame_height{}, frame_width{};

  int64_t source_height = 0, source_width = 0;  // valid part of the slot, at its top left corner

  double gain = 1;     // multiplies every scaled value
  double speckle = 0;  // s.d. of multiplicative noise max(0, 1 + speckle * n), n ~ N(0, 1)
  // Key of that noise. With u_k = uniform(word k of philox(seed, band, row * width + column of the
  // output pixel)): n = sqrt(-2 log(1 - u_0)) cos(2 pi u_1).
  uint64_t seed = 0;
};

// Options that all images of a tape share; part of a model's preprocessing record.
struct WarpOptions {
  static constexpr int max_bands = 32;
  Interpolation interpolation = Interpolation::bilinear;
  Border border = Border::fill;
  std::array<float, max_bands> scale{};  // value = source * scale + offset
  std::array<float, max_bands> offset{};
  // In source units. Taps outside the source, or on NaN, infinity or nodata, read it.
  std::array<float, max_bands> fill{};
  bool has_nodata = false;
  float nodata = 0;
  // The last operation, per image over all pixels and bands: (x - mean) / max(s.d., 1/sqrt(n)), as
  // tf.image.per_image_standardization.
  bool standardize = false;
};

// Every backend checks a batch of samples with it before it reads the source. Error(usage) naming
// the sample: more bands or frames than the limits, or a source larger than its slot.
FULMAR_API void check_warp(const View& source, const WarpSample* samples, const View& y);

}  // namespace fulmar
