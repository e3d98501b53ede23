#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/label_store.h"
#include "engine/context.h"
#include "model/pixel_output.h"
#include "model/task.h"
#include "tools/run/observer.h"
#include "tools/run/train_config.h"

namespace fulmar::tools {

// The classes of one task: their numbers in label rasters, and their names.
struct PixelClasses {
  std::string task;
  std::vector<int64_t> numbers;
  std::vector<std::string> names;
  bool of_numbers = false;  // the network gives a number; the class is the nearest one

  int64_t channels() const { return of_numbers ? 1 : std::ssize(names); }
  // The class of a pixel whose channels lie at `values`: numbers, or logits or probabilities.
  int64_t called(const float* values) const;
};

// What --classes says, by the layers' names: names with commas between, a JSON file, or JSON.
// Error(usage) where it makes no sense or leaves a layer out; Error(file) for a file.
std::vector<PixelClasses> read_classes(const std::string& text,
                                       const std::vector<std::string>& layers);
// As read_classes() takes it.
std::string classes_text(const std::vector<PixelClasses>& classes);

// What --ignore says. Error(usage): a number that no label raster can hold.
std::vector<int64_t> ignored_numbers(const std::optional<std::vector<double>>& given);

// Fills in the classes of a dataset that nobody named: the numbers that its labels hold; and class
// weights that are to balance them.
// Error(file) for a label raster that can't be read; Error(usage) where they hold fewer than two
// numbers, or more than classes can be, or where parts that are held out hold others.
void choose_classes(TrainConfig& config, const data::Dataset& dataset,
                    const std::vector<const data::Dataset*>& held_out, int64_t max_pixels,
                    Context& context, Observer& observer);

// The label rasters of a dataset, by the layers of `classes`. Errors as ignored_numbers().
std::vector<data::LabelLayer> label_layers(const data::Dataset& dataset,
                                           const std::vector<PixelClasses>& classes,
                                           const std::optional<std::vector<double>>& ignore);

// The network's outputs and their tasks. Error(usage): a loss of a task that isn't there, or a unit
// of one that has classes.
model::PixelOutputs pixel_outputs(const std::vector<PixelClasses>& classes,
                                  const TrainConfig& config);
// Error(usage): weights of other tasks than these, or of another number of classes.
model::Heads pixel_heads(const std::vector<PixelClasses>& classes, const TrainConfig& config);

// Whether a model gives each pixel a class, by all of its heads.
bool is_by_pixel(const model::Heads& heads);
// The classes of such a model.
std::vector<PixelClasses> classes_of(const model::Heads& heads);

}  // namespace fulmar::tools
