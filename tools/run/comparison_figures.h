#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"
#include "engine/context.h"
#include "tools/run/comparison.h"
#include "tools/run/label_choice.h"

namespace fulmar::tools {

// What figures and receptive fields of a comparison are made of.
struct ComparedModel {
  std::string model;     // file
  data::Dataset tested;  // with label files
  std::string folder;    // for files of explanations
  Device* device;
  LabelChoice labels;
  bool by_pixel;
};

// The effective receptive fields of a model of pixels over some test pictures, by task, with their
// drawings: a figure for each. Error(file), Error(cancelled).
std::vector<ComparedField> measure_fields(const ComparedModel& model,
                                          const std::vector<size_t>& pictures, Context& context,
                                          std::vector<ComparedFigure>* figures);

// Maps, Grad-CAMs and receptive fields of the lines' first seeds beside each other, of the pictures
// that the trainings differ most about. `explained` as ComparisonOptions has it.
void add_figures(Comparison& comparison, const std::vector<ComparedModel>& models,
                 const std::vector<std::string>& explained, int64_t max_pixels, Context& context,
                 Observer& observer);

}  // namespace fulmar::tools
