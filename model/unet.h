#pragma once

#include <cstdint>
#include <vector>

#include "engine/network.h"
#include "model/pixel_output.h"

namespace fulmar::model {

struct UnetOptions {
  int64_t channels = 3;  // bands of the input
  PixelOutputs outputs{{"labels", 2}};
  std::vector<int64_t> widths{16, 32, 64, 64};  // filters of each level, the finest first
  // How extents are doubled: false: half-pixel centres, alike wherever a tile lies in its scene;
  // true: corners upon corners, as the AutoICE challenge's starter does it.
  bool align_corners = false;
};

// A U-Net (Ronneberger et al. 2015) that keeps extents, with two 3x3 convolutions, each behind it
// batch normalisation and relu, at every level and below the last, whose width it has. On the way
// up it doubles extents (bilinear), pads what an odd extent lacks, and puts the level's own values
// behind. Outputs are 1x1 convolutions of the finest level. Of any extents that halving leaves
// 1x1 or more of.
FULMAR_API Network unet(const UnetOptions& options);

}  // namespace fulmar::model
