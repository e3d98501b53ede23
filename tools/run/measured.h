#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"
#include "kernels/warp.h"

namespace fulmar::tools {

// Of each pixel of a picture, or of a part of it that was read from `path`, whether any band was
// measured, by the file and as the network reads it: the pictures of its training may have declared
// a nodata value that this file only has. Of a sea-ice scene in NetCDF, whether its SAR was, which
// is 0 where it is masked.
std::vector<uint8_t> measured_pixels(const std::string& path, const data::Image& image,
                                     const data::PicturePart& part, const WarpOptions& read,
                                     const data::ImageLimits& limits);

}  // namespace fulmar::tools
