#pragma once

#include <cstdint>
#include <string>

#include "data/dataset.h"
#include "data/image.h"
#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "tools/run/json.h"
#include "tools/run/label_choice.h"
#include "tools/run/observer.h"
#include "tools/run/pixel_evaluation.h"

namespace fulmar::tools {

struct LabelledOptions {
  LabelChoice choice;  // filled in
  int64_t batch = 0;   // patches at a time; 0: by the crop
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
};

// How a model that gives each pixel a class does on all pixels of a dataset, picture by picture.
PixelEvaluation evaluate_labelled(const Checkpoint& checkpoint, const data::Dataset& dataset,
                                  const LabelledOptions& options, Context& context, Device& device,
                                  Observer& observer);

// What a run's report has of it: its numbers, where it comes from, and pictures.
Json pixel_report(const PixelEvaluation& evaluation, const std::string& model,
                  const data::Dataset& dataset, const LabelledOptions& options,
                  const std::string& command, Context& context, Device& device);

// The file of it in a run folder: one for each pair of a folder and a model file.
std::string pixels_path(const std::string& run, const std::string& folder,
                        const std::string& model);

}  // namespace fulmar::tools
