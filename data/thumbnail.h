#pragma once

#include <cstdint>

#include "data/image.h"

namespace fulmar::data {

// The picture with at most `side` pixels each way, as u8 for the screen: means over boxes of
// pixels, never enlarged. Grey of 1 or 2 bands (the first), else colours of the first three. Whole
// numbers of 8 bits stay as they are; 16 bits and floats are stretched, all bands alike, from the
// darkest 1 % to the brightest 1 % of what is left. NaN and nodata count for nothing; where there
// is nothing else the picture is black. Error(usage) for a side below 1, an empty picture or
// another type.
Image thumbnail(const Image& image, int64_t side);

}  // namespace fulmar::data
