#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/context.h"
#include "engine/picture/geometry.h"
#include "engine/picture/preprocess.h"

namespace fulmar::model::explain {

// What the network sees of a picture [1,H,W,bands]: [1,crop,crop,bands], row-major. `sample`: how
// it is read, such as centre_sample() has it. Error(usage) where the picture doesn't fit.
FULMAR_API std::vector<float> input_of(Context& context, Device& device,
                                       const Preprocess& preprocess, const View& picture,
                                       const WarpSample& sample);

// A map of what the network sees, [crop,crop,channels], on the grid of the whole picture,
// [height,width,channels]: bilinear between pixels, 0 outside the crop. Error(usage) with misfit().
FULMAR_API std::vector<float> on_picture(std::span<const float> map, const Preprocess& preprocess,
                                         int64_t height, int64_t width);

}  // namespace fulmar::model::explain
