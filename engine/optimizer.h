#pragma once

#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/attributes.h"
#include "engine/tape.h"
#include "kernels/backend.h"

namespace fulmar {

class Model;

// How weights are updated; Backend::adamw, sgd and lars give the formulas.
using Optimizer = std::variant<AdamW, Sgd, Lars>;

FULMAR_API const char* name_of(const Optimizer& optimizer);  // "adamw", "sgd", "lars"
// Its settings by name, bool or double, in the order of its struct.
FULMAR_API std::vector<std::pair<std::string, Attribute>> settings_of(const Optimizer& optimizer);
// The Model's buffers that hold its state, each as large as all parameters: "/adamw/moment1", …
FULMAR_API std::vector<std::string> state_names(const Optimizer& optimizer);
// Those of every optimiser.
FULMAR_API const std::vector<std::string>& all_state_names();

// The functions below append to a tape.

// The gradient of `loss` [1], a sum over samples, by every parameter, joined in the model's order.
FULMAR_API Val joined_gradients(Tape& tape, const Model& model, Val loss);

// The sums over a step's micro-batches, which the Model holds.
struct GradientSum {
  Val gradient;  // "/gradient_sum" [flat_size]
  Val weight;    // "/weight_sum" [1]: of the losses that were added up
};
FULMAR_API GradientSum gradient_sum(Tape& tape, const Model& model);
// Adds a micro-batch's gradient and weight to them. Gives the sums, for nodes behind it.
FULMAR_API GradientSum record_accumulate(Tape& tape, const Model& model, Val g, Val weight);

// How many NaN and infinities these hold, and what was counted before so: index, i32 [1], kept in
// the Model's "/nonfinite". So an update that reads it, and every later one, changes nothing from
// the first bad step on, until Model::clear.
FULMAR_API Val record_check(Tape& tape, const Model& model, std::span<const Val> x);

// One step of the optimiser with the flat gradient g / weight. It changes nothing where nonfinite
// (index, i32 [1]) is above 0. An empty weight is 1; an empty nonfinite is record_check's of both.
FULMAR_API void record_update(Tape& tape, const Model& model, const Optimizer& optimizer, Val g,
                              Val weight = {}, Val nonfinite = {});

}  // namespace fulmar
