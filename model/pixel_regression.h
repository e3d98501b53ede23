#pragma once

#include <cstdint>

#include "engine/network.h"
#include "model/pixel_output.h"

namespace fulmar::model {

// Logistic regression of each pixel by itself: 1x1 convolutions of the input's bands. What a
// network that sees a pixel's surroundings has to beat.
FULMAR_API Network pixel_regression(int64_t channels, const PixelOutputs& outputs);

}  // namespace fulmar::model
