#pragma once

#include <memory>
#include <span>

#include "engine/batch_source.h"
#include "engine/network.h"
#include "engine/ops.h"

namespace fulmar::model {

struct ProgramOptions {
  Mode mode = Mode::eval;
  int64_t height = 0, width = 0;  // of what the network sees: the crop
  WarpOptions warp{};             // how it is read from the source
  CrossEntropy loss{};
  bool unbiased_running_variance = true;
};

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
FULMAR_API Program record_program(const Network& network, std::span<const TensorSpec> tensors,
                                  const ProgramOptions& options);

}  // namespace fulmar::model
