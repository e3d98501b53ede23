#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/plan.h"
#include "model/program.h"
#include "model/train_step.h"

namespace fulmar::model {

struct LayerSummary {
  std::string name, op, scope;  // as the network's call
  Shape output;                 // of one image: [1,H,W,C]
  int64_t trainable = 0;        // elements of its weights
  int64_t statistics = 0;       // elements of its running statistics
  double flops = 0;             // forward, one image; see Op::flops
};

// The memory that a tape needs, in bytes. The planner knows it before anything runs.
struct MemoryNeed {
  int64_t batch = 0;
  size_t activations = 0;  // the plan's: values, gradients, scratch memory of the kernels
  size_t weights = 0;      // parameters, running statistics
  size_t optimizer = 0;    // sum of gradients, AdamW's moments
  size_t pictures = 0;     // one batch as the decoder gives it

  size_t total() const { return activations + weights + optimizer + pictures; }
};

struct Summary {
  std::vector<LayerSummary> layers;
  int64_t trainable = 0, statistics = 0;
  double forward_flops = 0, training_flops = 0;  // one image: inference; a whole training step
  MemoryNeed inference, training;                // batch 1; `batch`

  int64_t parameters() const { return trainable + statistics; }  // as Keras counts
};

// A program and what runs of it on a device.
struct PlannedProgram {
  Program program;
  Plan plan;
};
// Of inference and of a training step, for batches of 8-bit pictures as below; or of floats of
// `side` pixels a side, where no preprocessing says how large the input is.
FULMAR_API PlannedProgram planned_inference(const ModelInfo& info, int64_t batch, Device& device,
                                            bool fuse = true, int64_t side = 0);
FULMAR_API PlannedProgram planned_step(const ModelInfo& info, int64_t batch, Device& device,
                                       const TrainStepOptions& options = {}, int64_t side = 0);

// A network's layers, and the arithmetic and memory of inference and training on a device. Training
// is by AdamW, where `options` say no other, with batches of `batch` 8-bit pictures of
// `preprocess.size`, or of the crop where the size is 0; all of it is 0 for a model without a task.
// Error(usage) naming the layer where shapes don't fit.
FULMAR_API Summary summarize(const ModelInfo& info, int64_t batch, Device& device,
                             const TrainStepOptions& options = {}, int64_t side = 0);

// The first layer that halves what has fewer than 2x2 pixels already, since the crop is small for
// so many layers; nullptr where none does.
FULMAR_API const LayerSummary* layer_without_pixels(const Network& network, const Summary& summary);

}  // namespace fulmar::model
