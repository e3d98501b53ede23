#pragma once

#include <memory>
#include <optional>
#include <span>

#include "engine/batch_source.h"
#include "engine/checkpoint.h"
#include "engine/ops.h"

namespace fulmar::model {

struct ProgramOptions {
  Mode mode = Mode::eval;
  int64_t height = 0, width = 0;  // of the crop, which the network sees
  WarpOptions warp{};             // how the warp op reads the crop from the source
  CrossEntropy loss{};
  bool unbiased_running_variance = true;
};

// The options for a model's preprocessing: training, evaluation and prediction read pictures alike.
// Error(usage) for a preprocessing record that makes no sense.
FULMAR_API ProgramOptions program_options(const Preprocess& preprocess, Mode mode);

// A network on a tape between its preprocessing and, for batches with labels, its loss.
struct Program {
  std::shared_ptr<Tape> tape;
  std::vector<Val> inputs;  // one for each tensor of the source, in their order
  Val input;                // [N,height,width,C]: the network's input, named "input"
  Val logits;               // [N,1,1,K]
  Val probabilities;        // softmax of them, named "probabilities"
  ops::Loss loss;           // from label and weight; empty without labels
};

// Records a program for batches of these tensors: `image`, `image/samples`, and optionally `label`
// and `weight`. Error(usage) where one of the first two is missing or the pictures' bands are not
// the network's, and naming the layer where shapes don't fit.
FULMAR_API Program record_program(const Network& network, std::span<const TensorSpec> tensors,
                                  const ProgramOptions& options);

// A network's weights and statistics before training, drawn by `seed`; without one all are 0.
// Error(usage) naming the layer where shapes don't fit.
FULMAR_API Model new_model(const Network& network, const Preprocess& preprocess, Device& device,
                           std::optional<uint64_t> seed);
// The weights and statistics of a model file. Error(file) as Checkpoint::restore.
FULMAR_API Model load_model(const Checkpoint& checkpoint, Device& device);

}  // namespace fulmar::model
