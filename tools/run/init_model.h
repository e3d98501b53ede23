#pragma once

#include <optional>
#include <string>

#include "engine/io/checkpoint.h"
#include "tools/run/train_config.h"

namespace fulmar::tools {

// Whether a network is polar_low() with some widths: the configuration says all of it then. Others
// are trained as their model file has them.
bool is_polar_low(const Network& network);

// The description in a model file, where its network isn't polar_low(). Error(file) as Checkpoint.
std::optional<ModelInfo> foreign_model(const std::string& path);

// Fills in what the configuration leaves open and the foreign model of --init says: size, crop and
// channels. Error(usage) naming an option that the model has no room for.
void take_from_init(TrainConfig& config);

// A foreign model's network and pictures, for these classes: where there are as many as before, all
// of it, else the last layer with weights is another one. Error(file) naming the file where that
// can't be; `type` is of the pictures.
struct StartedModel {
  ModelInfo info;    // network and preprocessing alone
  std::string anew;  // the layer that has no weights in the file; empty: none
};
StartedModel started_from(const ModelInfo& foreign, const std::string& path,
                          const TrainConfig& config, int64_t classes, DType type);

}  // namespace fulmar::tools
