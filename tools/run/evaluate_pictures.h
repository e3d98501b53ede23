#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "data/dataset.h"
#include "data/image.h"
#include "data/pictures.h"
#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "tools/run/evaluation.h"
#include "tools/run/observer.h"

namespace fulmar::tools {

struct EvaluateOptions {
  double threshold = -1;  // -1: the model's
  int64_t batch = 0;      // pictures at a time; 0: by the crop
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
  bool mistakes = false;  // also decode whole pictures, for a report
};

// The pictures of a dataset with the model's bands, whole, each decoded when it is copied.
// Error(file).
std::unique_ptr<data::Pictures> open_whole_pictures(const data::Dataset& dataset,
                                                    const Preprocess& preprocess,
                                                    const EvaluateOptions& options,
                                                    ThreadPool& pool);

// A model's results for the pictures of a folder. `device` is asked for once the pictures' headers
// were read. Fills in where the evaluation comes from but for the model file's CRC, time and
// command. Error(file), Error(usage), Error(cancelled).
Evaluation evaluate_pictures(const Checkpoint& checkpoint, const data::Dataset& dataset,
                             const EvaluateOptions& options, Context& context,
                             const std::function<Device&()>& device, Observer& observer);

}  // namespace fulmar::tools
