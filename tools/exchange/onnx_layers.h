#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/network.h"
#include "tools/exchange/onnx_graph.h"

namespace fulmar::exchange {

// What a layer is written from. Values are [N,C,H,W] there and [N,H,W,C] in `x` and `y`.
struct OnnxLayer {
  OnnxGraph& graph;
  const Call& call;
  const LayerArgs& args;
  std::vector<std::string> inputs;  // values' names
  std::vector<Shape> x;             // and shapes
  Shape y;
  std::string output;  // the name of the layer's value
  // Constants of the layer's weights by what follows its name in PyTorch's key: "weight", "bias".
  std::map<std::string, std::string> weights;

  // The inputs of a node: x, a weight and, where there is one, a bias.
  std::vector<std::string> with(const std::string& x_name, const std::string& weight,
                                const std::string& bias) const;
};

// By the layer's op; each appends nodes, the last of which gives `output`. Error(usage) for
// attributes that ONNX has no word for.
using OnnxConverter = void (*)(OnnxLayer&);
const std::map<std::string, OnnxConverter>& onnx_layers();

}  // namespace fulmar::exchange
