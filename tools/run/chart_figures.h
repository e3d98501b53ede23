#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"
#include "tools/run/json.h"
#include "tools/run/label_choice.h"
#include "tools/run/pixel_evaluation.h"
#include "tools/run/scene_map.h"

namespace fulmar::tools {

// Of the scenes that a model is worst at (by the mean of the tasks' accuracies), each task's chart,
// the model's map and where they differ, beside the scene; small. An array of objects: "picture",
// "task", "png" (base64), "width", "height".
Json chart_figures(SceneMapper& mapper, const data::Dataset& dataset, const LabelChoice& choice,
                   const PixelEvaluation& evaluation, const data::ImageLimits& limits);

// Each task's classes with their colours, "#rrggbb": an object of objects.
Json class_colours_json(const std::vector<PixelClasses>& classes);

}  // namespace fulmar::tools
