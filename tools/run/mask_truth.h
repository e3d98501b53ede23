#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/picture/geometry.h"
#include "model/explain/mask.h"

namespace fulmar::tools {

// Where a picture's mask lies: under `folder` by the longest end of the picture's path for which
// there is a PNG ("test/pos/a.png", "pos/a.png", "a.png"); without a folder under one called masks
// beside one that the picture lies in, as `fulmar synth` writes them. Empty: nowhere.
std::string find_mask(const std::string& picture, const std::string& folder);

// A mask on the picture's pixels, of those that the network saw.
struct MaskTruth {
  std::vector<uint8_t> inside;  // of the rectangle of pixels that was seen
  int64_t top = 0, left = 0, height = 0, width = 0;

  // Error(file) where the mask is no picture of these extents.
  MaskTruth(const std::string& path, const data::ImageHeader& picture, const SeenArea& seen);

  bool empty() const;
  double share() const;
  bool has_centre() const;
  // The part of a map [picture's height, width] that was seen.
  std::vector<float> seen(const std::vector<float>& map, int64_t picture_width) const;
};

// The mean over the bands of a picture, each pixel; NaN and nodata as 0.
std::vector<float> brightness_of(const data::Image& image);

}  // namespace fulmar::tools
