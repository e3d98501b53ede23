#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "tools/run/json.h"
#include "tools/run/label_choice.h"
#include "tools/run/pixel_evaluation.h"
#include "tools/run/scene_map.h"

namespace fulmar::tools {

// A scene as reports show it: small, with the labels of each task at the pixels that picked() takes
// of a map.
struct ShownScene {
  data::Image picture;
  std::vector<std::vector<uint8_t>> charts;
  int64_t width = 0;  // of the charts
  int64_t scene_height = 0, scene_width = 0;
};
ShownScene shown_scene(const data::Sample& sample, const data::Dataset& dataset,
                       const std::vector<PixelClasses>& classes, const LabelChoice& choice,
                       const data::ImageLimits& limits);
constexpr int64_t shown_side = 320;  // the most pixels of it each way

// Of the scenes that a model is worst at (by the mean of the tasks' accuracies), each task's chart,
// the model's map and where they differ, beside the scene; small. An array of objects: "picture",
// "task", "png" (base64), "width", "height".
Json chart_figures(SceneMapper& mapper, const data::Dataset& dataset, const LabelChoice& choice,
                   const PixelEvaluation& evaluation, const data::ImageLimits& limits);

// Each task's classes with their colours, "#rrggbb": an object of objects.
Json class_colours_json(const std::vector<PixelClasses>& classes);

}  // namespace fulmar::tools
