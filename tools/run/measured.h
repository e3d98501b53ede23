#pragma once

#include <cstdint>

#include "data/image.h"
#include "kernels/warp.h"

namespace fulmar::tools {

// Whether any band of a picture's pixel was measured, by the file and as the network reads it: the
// pictures of its training may have declared a nodata value that this file only has.
bool is_measured(const data::Image& image, int64_t pixel, const WarpOptions& read);

}  // namespace fulmar::tools
