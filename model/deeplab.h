#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/network.h"
#include "model/pixel_output.h"

namespace fulmar::model {

// How pixels of an output see around them: convolutions of several dilations side by side.
struct DeeplabOptions {
  int64_t channels = 3;  // bands of the input
  PixelOutputs outputs{{"labels", 2}};
  std::string encoder = "resnet18";  // see resnet_named()
  int64_t stages = 4;                // of the encoder, from its first
  int64_t output_stride = 16;        // of its features, at most; reached by dilation: 8, 16, 32
  std::vector<int64_t> rates{12, 24, 36};  // of the atrous convolutions, in pixels of the features
  int64_t width = 256;                     // filters of every convolution behind the encoder
  // Side of the windows that are averaged beside them, in pixels of the features; 0: one window of
  // all pixels, so that what a pixel sees depends on the crop.
  int64_t pool = 0;
  bool shared_decoder = false;  // one for all outputs; else each has its own
  double dropout = 0.5;         // behind what the convolutions are joined by
};

// DeepLabV3 (Chen et al. 2017) as torchvision has it: the features of a residual network, atrous
// spatial pyramid pooling, a 3x3 and a 1x1 convolution; logits come back to the input's extents
// (bilinear, half-pixel centres). Of any extents, but that a window must fit into the features.
FULMAR_API Network deeplab(const DeeplabOptions& options);

}  // namespace fulmar::model
