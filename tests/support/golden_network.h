#pragma once

#include <memory>
#include <string>

#include "engine/network.h"
#include "engine/optimizer.h"
#include "engine/session.h"
#include "tests/support/goldens.h"

namespace fulmar::test {

// The polar-low network of a golden file (its widths, batch and crop) on a tape, with its loss and
// without dropout. Weights are the formula's: set_formula_weights.
struct GoldenNetwork {
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  Val x, labels, logits, loss;

  GoldenNetwork(const Golden& golden, Mode mode, bool unbiased_running_variance = true);
  // To be called before grad, with a model made of the tape before.
  void fuse(const Device& device);
  void set_batch(Session& session, const Golden& golden, int64_t seed) const;
};

// A gradient for each parameter, in the model's order.
std::vector<Val> parameter_gradients(Tape& tape, const Model& model, Val loss);

// Whether the exact gradient of a parameter in a train-mode step at crop 64 is 0: of biases before
// batch normalisation, and of the skips' biases where a block gives one pixel.
bool has_zero_gradient(const Golden& golden, const std::string& parameter);
// What such a gradient may be at most, relative to the largest in its layer.
constexpr double zero_gradient_bound = 1e-5;
// The norm of the largest gradient of the other parameters in its layer.
double layer_gradient_norm(const Golden& golden, const std::string& prefix,
                           const std::string& parameter);

// An optimiser as the files' metadata describes it.
AdamW adamw_of(const nlohmann::json& how);

}  // namespace fulmar::test
