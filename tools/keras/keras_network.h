#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/network.h"
#include "engine/picture/preprocess.h"

namespace fulmar::keras {

struct NetworkOptions {
  std::optional<int64_t> size;      // pixels a side, where the model leaves it open
  std::optional<int64_t> channels;  // where the model leaves them open
  Interpolation resize = Interpolation::nearest;
  // What the model's input is for a pixel of 0, and for one of 255.
  std::array<double, 2> scale{0, 255};
};

// A weight of a layer, and where it goes.
struct WeightPlace {
  std::string parameter;       // the Fulmar model's: "conv2d/kernel"
  std::vector<int64_t> shape;  // which it has there
  // Its names in Keras, the usual one first; none: all elements are `value`, or are `values`.
  std::vector<std::string> keras{};
  double value = 0;
  std::vector<float> values{};
  double least = 0;  // smaller elements become this; 0: as they are
  bool statistic = false;
};

// The weights of one layer in Keras' order.
struct LayerWeights {
  std::string top;      // the layer of the outermost model that it is, or is part of
  std::string name;     // its own name
  std::string archive;  // its path in a .keras file's weights: "layers/sequential/layers/dense"
  bool trainable = true;
  std::vector<WeightPlace> weights{};
};

// What the output is, as far as the last layer says.
enum class OutputKind { classes, pixel_classes, labels, unknown };

// What a model's configuration says.
struct KerasNetwork {
  Network network;        // its output: logits, where the output kind is known
  Preprocess preprocess;  // of its input
  std::vector<LayerWeights> weights;
  OutputKind output = OutputKind::unknown;
  int64_t classes = 0;                     // of a known output
  std::string output_layer, output_class;  // Keras' name and class of the last layer
  int64_t layers = 0;                      // of the Keras model, nested ones' too
  std::vector<std::string> notes;          // a sentence each
};

// Reads a model's configuration (model_config of an HDF5 file, config.json of a .keras archive) as
// `version` of Keras ("2.15.0") means it. Error(file) naming the layer and its class, for what
// can't be read or isn't supported; Error(usage) for options that don't fit the model.
KerasNetwork read_network(const std::string& config, const std::string& version,
                          const NetworkOptions& options);

}  // namespace fulmar::keras
