#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/network.h"

namespace fulmar::exchange {

// A weight or statistic of a network as a PyTorch module's state_dict has it.
struct TorchWeight {
  std::string key;   // "layer1.0.conv1.weight"
  std::string name;  // Fulmar's, "layer1.0.conv1/kernel"; empty: "….num_batches_tracked", int64 []
  std::vector<int64_t> shape;  // PyTorch's
  // Of each axis of PyTorch's which one it is of Fulmar's; -1: of extent 1.
  std::vector<int> axes;
  std::vector<int64_t> own_shape;
};

// In the order of the network's calls. A separable convolution is two modules there, depthwise and
// pointwise.
std::vector<TorchWeight> torch_weights(const Network& network, const Model& model);

// Values in the other order, row-major.
std::vector<double> to_torch(const TorchWeight& weight, const std::vector<double>& own);
std::vector<double> from_torch(const TorchWeight& weight, const std::vector<double>& theirs);

// The key of torchvision's residual networks for one of Hugging Face's; other keys as they are.
std::string torchvision_key(const std::string& key);

}  // namespace fulmar::exchange
