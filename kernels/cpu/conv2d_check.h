#pragma once

#include "kernels/backend.h"

namespace fulmar::cpu {

// Throws Error(usage), naming what doesn't fit, unless these are shapes of one convolution.
void check_conv2d(const View& x, const View& w, const View& y, const Window& window,
                  int64_t groups);
// And, where there are any, samples of pictures that can't be read.
void check_conv2d(const Loaded& x, const View& w, const View& y, const Window& window,
                  int64_t groups);

}  // namespace fulmar::cpu
