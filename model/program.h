#pragma once

#include <memory>
#include <span>

#include "engine/batch_source.h"
#include "engine/checkpoint.h"
#include "engine/ops.h"

namespace fulmar::model {

struct ProgramOptions {
  Mode mode = Mode::eval;
  int64_t height = 0, width = 0;  // of what the network sees: the crop
  WarpOptions warp{};             // how it is read from the source
  CrossEntropy loss{};
  bool unbiased_running_variance = true;
};

// The options that follow from a model's preprocessing: training, evaluation and prediction read
// pictures alike. Error(usage) for a preprocessing record that makes no sense.
FULMAR_API ProgramOptions program_options(const Preprocess& preprocess, Mode mode);

// A network on a tape with its preprocessing before it and, where labels are given, a loss behind.
struct Program {
  std::shared_ptr<Tape> tape;
  std::vector<Val> inputs;  // one for each tensor of the source, in their order
  Val input;                // [N,height,width,C]: what the network sees, named "input"
  Val logits;               // [N,1,1,K]
  Val probabilities;        // softmax of them, named "probabilities"
  ops::Loss loss;           // of label and weight; empty without labels
};

// Records for batches of these tensors: `image`, `image/samples`, and if there `label`, `weight`.
// Error(usage) where one of the first two is missing, where pictures don't have the bands that the
// network takes, and naming the layer where shapes don't fit.
FULMAR_API Program record_program(const Network& network, std::span<const TensorSpec> tensors,
                                  const ProgramOptions& options);

// A network's weights and statistics as they are before training, by `seed`. Error(usage) naming
// the layer where shapes don't fit.
FULMAR_API Model new_model(const Network& network, const Preprocess& preprocess, Device& device,
                           uint64_t seed);
// The same with the contents of a model file. Error(file) as Checkpoint::restore.
FULMAR_API Model load_model(const Checkpoint& checkpoint, Device& device);

}  // namespace fulmar::model
