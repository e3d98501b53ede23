#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "engine/network.h"

namespace fulmar::model {

// Calls that convolutional networks are made of, with PyTorch's conventions: padding that keeps the
// middle of a window on its pixel, and its batch normalisation.
class ConvBlocks {
 public:
  // Kernels of convolutions begin by `initializer`; "": as the layer's own default.
  explicit ConvBlocks(Network& network, std::string initializer = "")
      : network_(network), initializer_(std::move(initializer)) {}

  Network& network() { return network_; }
  // Without a bias, but where it is asked for.
  std::string conv(const std::string& name, const std::string& x, int64_t filters, int64_t kernel,
                   int64_t stride = 1, int64_t dilation = 1, bool use_bias = false) {
    Attributes attributes{
        {"filters", filters}, {"kernel", kernel}, {"stride", stride}, {"use_bias", use_bias}};
    if (dilation > 1) attributes["dilation"] = dilation;
    if (!initializer_.empty()) attributes["initializer"] = initializer_;
    return network_.add("conv2d", name, {x}, padded(kernel / 2 * dilation, attributes));
  }
  std::string norm(const std::string& name, const std::string& x, bool zero_gamma = false) {
    Attributes attributes{{"epsilon", 1e-5}, {"momentum", 0.9}};
    if (zero_gamma) attributes["zero_gamma"] = true;
    return network_.add("batch_normalization", name, {x}, attributes);
  }
  std::string relu(const std::string& name, const std::string& x) {
    return network_.add("activation", name, {x}, {{"function", std::string("relu")}});
  }
  static Attributes padded(int64_t pixels, Attributes attributes) {
    attributes["padding"] = std::string("explicit");
    for (const char* side : {"pad_top", "pad_bottom", "pad_left", "pad_right"})
      attributes[side] = pixels;
    return attributes;
  }

 private:
  Network& network_;
  std::string initializer_;
};

}  // namespace fulmar::model
