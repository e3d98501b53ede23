#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/api.h"
#include "kernels/view.h"
#include "kernels/warp.h"

namespace fulmar {

// The way of a picture to the network: decode -> bands -> resize to size x size -> centre crop ->
// scale. It is part of the model, so that every user of the model does the same.
struct FULMAR_API Preprocess {
  int64_t size = 0;  // side to resize to, pixels; 0: native, no resize
  // nearest: Keras' load_img (Pillow), source pixel floor((i + .5) in/out); bilinear: Keras'
  // image_dataset_from_directory (tf.image.resize), half-pixel centres, no antialias.
  Interpolation resize = Interpolation::nearest;
  int64_t crop = 0;   // side of the centre crop that the network sees, pixels
  int64_t bands = 3;  // 1: grey, 3: RGB; other counts are bands of a raster
  // true: fill surrounds pictures that are smaller than the crop, or not square before a resize.
  // false: such pictures are refused. Without a resize any picture fits that holds the crop.
  bool pad = false;
  // Element type of the pictures that `scale` was chosen for (u8, u16, f32): files of another type
  // are refused, and so are arrays, but for f32 in the same units.
  DType type = DType::u8;
  std::vector<double> scale;  // by band: value = source scale + offset
  std::vector<double> offset;
  std::vector<double> fill;  // by band, source units: outside the picture, NaN and nodata
  std::optional<double> nodata;
  // For pictures in several files: the files' patterns, as "*_VV.tif", in the order of their bands.
  // Programs that read files use them; arrays have their bands already.
  std::vector<std::string> files{};
  bool standardize = false;  // per image, as tf.image.per_image_standardization

  // Pictures of whole numbers: value = source / 255 (u8) or / 65535 (u16), black outside.
  static Preprocess of_pictures(int64_t size, int64_t crop, int64_t bands, DType type = DType::u8);

  // Whether arrays of this element type can hold what `scale` was chosen for.
  bool takes(DType array) const { return array == type || array == DType::f32; }

  // The warp op's options, which all samples of a tape share.
  WarpOptions warp_options() const;

  std::string to_json() const;
  // Error(usage) that names the entry and what is wrong with it.
  static Preprocess from_json(const std::string& json);
};

}  // namespace fulmar
