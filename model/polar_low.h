#pragma once

#include <cstdint>
#include <vector>

#include "engine/network.h"

namespace fulmar::model {

struct PolarLowOptions {
  int64_t channels = 3;  // bands of the input
  int64_t classes = 2;
  // Filters of the stem (the first) and of each block; the last convolution has twice the last.
  std::vector<int64_t> widths{8, 16, 32, 64, 128, 256, 512};
  double dropout = 0.5;
};

// The "custom Xception" of Grahn & Bianchi (TGRS 2022, arXiv 2203.16401) with the names that Keras
// gives the published network's layers: conv2d, separable_conv2d_k, batch_normalization_k,
// activation_k, dense. Input: pictures scaled to 0..1 and cropped; output: logits [N,1,1,classes].
FULMAR_API Network polar_low(const PolarLowOptions& options = {});

}  // namespace fulmar::model
