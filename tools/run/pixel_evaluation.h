#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/batch_source.h"
#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "model/confusion.h"
#include "tools/run/json.h"
#include "tools/run/observer.h"

namespace fulmar::tools {

// Pixels at a patch's edges that see too little around them to count, where the scene goes on.
int64_t customary_halo(int64_t crop);

// How a model does on labelled pixels, by task. Months are those that the pictures' names tell.
struct PixelEvaluation {
  struct Task {
    std::string name;
    std::vector<std::string> classes;
    model::Confusion confusion;  // of all pixels with a label
  };
  // One picture of those that were evaluated.
  struct Scene {
    std::string path, name;
    std::vector<Task> tasks{};
  };
  std::vector<Task> tasks;
  double loss = 0;
  std::vector<Scene> scenes{};  // where each was looked at by itself
};

// Lets the network call all pixels of a source. Error(usage) where the model isn't one of pixels.
PixelEvaluation evaluate_pixels(const Checkpoint& checkpoint, BatchSource& source, Context& context,
                                Device& device, const std::string& job, Observer& observer);

// The same, one source for each scene, all of the same tensors: each scene's counts too.
PixelEvaluation evaluate_scenes(
    const Checkpoint& checkpoint, std::vector<PixelEvaluation::Scene> scenes,
    const std::function<std::unique_ptr<BatchSource>(size_t)>& source_of, Context& context,
    Device& device, Observer& observer);

// The AutoICE challenge's score of R2 of SIC and weighted F1 of SOD and FLOE, all in percent: its
// rounding to three digits, its weights 2, 2 and 1.
double combined_score(double sic, double sod, double floe);

// The JSON of `fulmar eval --json`; undefined numbers are null.
Json numbers_json(const PixelEvaluation& evaluation);
// A table with a line for each scene and task, and behind them for each month and task, as CSV.
std::string scenes_csv(const PixelEvaluation& evaluation);
// "SIC: accuracy 0.9123, mean IoU 0.8123; …".
std::string one_line(const PixelEvaluation& evaluation);

}  // namespace fulmar::tools
