#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/network.h"

namespace fulmar::model {

struct ResnetOptions {
  // bottleneck: 1x1, 3x3 and 1x1, which gives `expansion` times the width; basic: 3x3 and 3x3.
  enum class Block { basic, bottleneck };

  int64_t channels = 3;  // bands of the input
  int64_t classes = 2;   // 0: no last layer, the embedding is the output
  Block block = Block::bottleneck;
  // Of each stage: how many blocks, and the filters of their 3x3 convolutions. The first has the
  // stem's filters.
  std::vector<int64_t> blocks{3, 4, 6, 3}, widths{64, 128, 256, 512};
  int64_t expansion = 4;
  // Pixels of the input along a side of an output pixel, at most: stages beyond dilate their 3x3
  // convolutions instead of halving (torchvision's replace_stride_with_dilation). 4, 8, 16, 32, …
  int64_t output_stride = 1 << 20;
  // Weights begin as torchvision's: convolutions normal with variance 2 / fan_out, the last layer
  // uniform within 1 / sqrt(fan_in). Else as Keras' do.
  bool torch_initialization = true;
  // The last gamma of each block begins at 0: a block is the identity then (Goyal et al. 2017).
  bool zero_gamma = false;

  int64_t outputs(size_t stage) const {
    return block == Block::basic ? widths[stage] : expansion * widths[stage];
  }
};

// "resnet18", "resnet34", "resnet50", "resnet101" or "resnet152". Error(usage) for another name.
FULMAR_API ResnetOptions resnet_named(const std::string& name);
FULMAR_API std::vector<std::string> resnet_names();
FULMAR_API bool is_resnet_name(const std::string& name);

// A residual network (He et al. 2016), the stride of a bottleneck on its 3x3 convolution, with the
// names that torchvision gives the layers: conv1, bn1, layer1.0.conv1, layer1.0.downsample.0, fc.
// The defaults are ResNet-50. Input: scaled pictures; output: logits [N,1,1,classes], behind the
// embedding "avgpool" [N,1,1,outputs of the last stage], which is the output where there are no
// classes.
FULMAR_API Network resnet(const ResnetOptions& options = {});

// Adds its stem and stages behind the call `x`; gives the last call [N,h,w,outputs], the features.
FULMAR_API std::string add_resnet_features(Network& network, const std::string& x,
                                           const ResnetOptions& options);

}  // namespace fulmar::model
