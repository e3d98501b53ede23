#pragma once

#include <map>
#include <string>
#include <vector>

#include "tools/keras/keras_file.h"
#include "tools/keras/keras_network.h"

namespace fulmar::keras {

struct PlacedWeights {
  std::map<std::string, std::vector<float>> values;  // by the Fulmar model's names
  std::vector<std::string> left_over;                // arrays of the file that no layer takes
};

// Finds the weights of a model's layers in its file: in an HDF5 file by the order and the names
// that Keras gives them, in an archive by their place. Error(file) listing those that are missing,
// and naming one that has another shape or isn't finite.
PlacedWeights place_weights(const KerasFile& file, const std::vector<LayerWeights>& layers);

// The layers of a network as if Keras had made it: each call is a layer, whose weights have the
// names that they have in Fulmar. For files of weights alone.
std::vector<LayerWeights> layers_of(
    const std::vector<std::pair<std::string, std::vector<int64_t>>>& parameters);

}  // namespace fulmar::keras
