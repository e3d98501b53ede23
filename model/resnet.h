#pragma once

#include <cstdint>
#include <vector>

#include "engine/network.h"

namespace fulmar::model {

struct ResnetOptions {
  int64_t channels = 3;  // bands of the input
  int64_t classes = 2;
  // Of each stage: how many bottlenecks, and the filters of their 3x3 convolutions; a block gives
  // `expansion` times as many. The first has the stem's filters.
  std::vector<int64_t> blocks{3, 4, 6, 3}, widths{64, 128, 256, 512};
  int64_t expansion = 4;
};

// A residual network of bottlenecks (He et al. 2016), its stride on the 3x3 convolutions, with the
// names that torchvision gives the layers: conv1, bn1, layer1.0.conv1, layer1.0.downsample.0, fc.
// The defaults are ResNet-50. Input: scaled pictures; output: logits [N,1,1,classes], behind the
// embedding "avgpool" [N,1,1,expansion * last width].
FULMAR_API Network resnet(const ResnetOptions& options = {});

}  // namespace fulmar::model
