#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/cli.h"

namespace fulmar::tools {

struct PredictPixelsOptions {
  std::string model;               // file
  std::vector<std::string> paths;  // scenes, and folders of scenes
  std::optional<std::string> bands;
  std::string out;               // folder
  int64_t tile = 0;              // side of the parts of a scene; 0: the crop, or what must be
  std::optional<int64_t> halo;   // pixels that they see around their own
  std::optional<size_t> memory;  // bytes that choose the tile
  bool probabilities = false;    // written too
  std::string csv;               // file of areas
  int64_t max_pixels = 0;
};

// Whether a model file gives each pixel a class.
bool calls_pixels(const std::string& model);

// `fulmar predict` of such a model: for each scene and task OUT/STEM.TASK.tif and .png, and
// OUT/STEM.maps.png, the scene and its maps beside each other.
int predict_pixels(const PredictPixelsOptions& options, const SharedOptions& shared);

}  // namespace fulmar::tools
