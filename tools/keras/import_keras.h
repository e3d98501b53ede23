#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "model/polar_low.h"
#include "tools/keras/imported_model.h"
#include "tools/keras/keras_network.h"

namespace fulmar::keras {

struct ImportOptions {
  NetworkOptions network;
  std::vector<std::string> classes;     // in the outputs' order; none: "0", "1", …
  std::optional<std::string> positive;  // of two classes; none: pos or positive, else the second
  double threshold = 0.5;
  // For a file of weights alone: "polar-low", at this size and crop.
  std::string known_network;
  model::PolarLowOptions polar_low{};
  int64_t crop = 0;  // 0: the size
};

struct Imported : ImportedModel {
  std::string keras_version;  // may be empty
  int64_t layers = 0;         // of the Keras model
};

// Reads a Keras model (HDF5, or a .keras archive) and writes it as a model file, whole or not at
// all. Error(file) naming the file, what is wrong with it or what isn't supported; Error(usage) for
// options that don't fit the model.
Imported import_keras(const std::string& from, const std::string& to, const ImportOptions& options,
                      Device& device);

}  // namespace fulmar::keras
