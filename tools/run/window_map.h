#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/band_files.h"
#include "data/georeference.h"
#include "data/image.h"
#include "engine/context.h"
#include "model/classifier.h"

// A classifier of pictures over scenes that are larger than its crop.
namespace fulmar::tools {

// What the classifier says of windows of its crop, `stride` pixels apart; their grid lies in the
// scene's middle.
struct WindowMap {
  int64_t side = 0, stride = 0;  // pixels
  int64_t top = 0, left = 0;     // of the first window
  int64_t rows = 0, columns = 0;
  int64_t classes = 0;
  std::vector<float> probabilities;  // [rows,columns,classes]; NaN where less than half is measured

  float at(int64_t row, int64_t column, int64_t label) const {
    return probabilities[static_cast<size_t>((row * columns + column) * classes + label)];
  }
  // A window's middle, pixels from the scene's corner.
  double middle(int64_t start, int64_t number) const {
    return static_cast<double>(start + number * stride) + static_cast<double>(side) / 2;
  }
  // Where the map lies whose pixels are the windows' middles with half a stride around them.
  data::Georeference placed(const data::Georeference& scene) const;
};

// A window that is of a class, and more so than all whose middles lie within half a window.
struct Detection {
  double row = 0, column = 0;  // of its middle, pixels from the scene's corner
  float probability = 0;
};
// The likeliest first.
std::vector<Detection> detections(const WindowMap& map, int64_t label, double threshold);

// Error(usage): the model resizes pictures. Error(file): a scene smaller than the crop, or one that
// the model can't take. `progress`: rows of windows done, of so many; it may throw.
WindowMap map_windows(model::Classifier& classifier, const std::string& path,
                      const data::BandFiles& bands, int64_t stride, int64_t batch,
                      const data::ImageLimits& limits,
                      const std::function<void(int64_t, int64_t)>& progress);

}  // namespace fulmar::tools
