#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/batch_source.h"
#include "engine/checkpoint.h"
#include "engine/feeder.h"
#include "engine/optimizer.h"
#include "engine/session.h"
#include "model/program.h"

namespace fulmar::model {

struct TrainStepOptions {
  Optimizer optimizer = AdamW{};
  LossOptions loss{};
  bool unbiased_running_variance = true;
  bool debug = false;  // see SessionOptions
};

// One optimiser step by the gradient of the mean loss over one or more micro-batches, each sample
// by its weight. Two tapes, so that the host can check the gradients before the weights change.
class FULMAR_API TrainStep {
 public:
  // Error(usage) as record_program, and where a head's tensor of labels is missing; Error(device)
  // where memory is short.
  TrainStep(Context& context, Device& device, const ModelInfo& info, const Heads& heads,
            Model& model, const std::vector<TensorSpec>& tensors, const TrainStepOptions& options,
            std::shared_ptr<Arena> arena = nullptr);

  struct Result {
    double loss = 0, weight = 0;  // mean over the micro-batch, and the weight that it has
    std::vector<Observed> heads;
  };
  // Runs forward and backward of one micro-batch. Adds the gradients of its summed loss, and its
  // weight, to the model's sums. Error(diverged) naming the first bad layer where the loss or a
  // gradient is not finite: the weights are then as they were before the step.
  Result accumulate(const Batch& batch, const StepState& state);
  // The same for the batch of the latest feeder.next(); meanwhile the feeder fetches the next one.
  Result accumulate(Feeder& feeder, const Batch& batch, const StepState& state);
  // Updates the weights by the gradients of the micro-batches since the last call.
  void apply(const StepState& state);

  Session& session() { return session_; }  // forward and backward

 private:
  // Gives a session the inputs of a micro-batch.
  using Feed = std::function<void(Session&)>;
  Result read_result(const Batch& batch, const Feed& feed);
  [[noreturn]] void report_divergence(const Feed& feed);

  Context& context_;
  Device& device_;
  Model& model_;
  Heads heads_;
  std::vector<TensorSpec> tensors_;
  Val nonfinite_;  // how many of the sums' values are not finite
  Program program_;
  std::shared_ptr<Arena> arena_;
  Session session_, update_;
};

}  // namespace fulmar::model
