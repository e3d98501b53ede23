#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/batch_source.h"
#include "engine/feeder.h"
#include "engine/io/checkpoint.h"
#include "engine/optimizer.h"
#include "engine/readback.h"
#include "engine/session.h"
#include "model/program.h"

namespace fulmar::model {

struct TrainStepOptions {
  Optimizer optimizer = AdamW{};
  LossOptions loss{};
  bool unbiased_running_variance = true;
  // Several micro-batches may make a step: their gradients are added up first.
  bool accumulates = false;
  // Fused ops where the device has them. Other roundings, the same results otherwise.
  bool fuse = true;
  // Activations are computed again where that lowers the peak of memory: more time, the same bits.
  bool recompute = false;
  bool debug = false;  // see SessionOptions
};

// A step on a tape.
struct RecordedStep {
  Program program;
  Val nonfinite;             // how many values of the check are not finite
  std::vector<Val> outputs;  // what the host reads: nonfinite, loss, its weight, what heads watch
};
// Of one micro-batch: loss, gradients, the check, and where it `updates` the weights, that.
// Error(usage) as record_program, and where a head's tensor of labels is missing.
FULMAR_API RecordedStep record_step(const ModelInfo& info, const Heads& heads, const Model& model,
                                    const std::vector<TensorSpec>& tensors, Device& device,
                                    const TrainStepOptions& options, bool updates);

// Optimiser steps by the gradient of the mean loss over one or more micro-batches, each sample by
// its weight. One tape holds a whole step of one micro-batch: loss, gradients, the check that they
// are finite, and the update, which changes nothing where they are not.
class FULMAR_API TrainStep {
 public:
  // Error(usage) as record_step; Error(device) where memory is short.
  TrainStep(Context& context, Device& device, const ModelInfo& info, const Heads& heads,
            Model& model, const std::vector<TensorSpec>& tensors, const TrainStepOptions& options,
            std::shared_ptr<Arena> arena = nullptr);

  struct Result {
    double loss = 0, weight = 0;  // mean over the micro-batch, and the weight that it has
    int64_t samples = 0;
    std::vector<Observed> heads;
  };

  // Runs a micro-batch; the `last` of a step updates the weights by all of the step. state.
  // micro_batch 0 begins a step. Gives the result; Error(diverged) naming the first bad layer where
  // a loss or a gradient is not finite: the weights are then as they were before the step.
  const Result& run(const Batch& batch, const StepState& state, bool last);
  // The same for the batch of the latest feeder.next(); meanwhile the feeder fetches the next one.
  // A device with memory of its own works on this batch still when the call returns: then it gives
  // the result of the run before (nullptr: there was none), and tells of that one's divergence.
  const Result* run(Feeder& feeder, const Batch& batch, const StepState& state, bool last);
  // The result that is left; nullptr: none is.
  const Result* finish();

  // The run that ends a step.
  Session& session() { return steps_.session; }
  int64_t replays() const;  // of captured runs, so far

 private:
  // Gives a session the inputs of a micro-batch.
  using Feed = std::function<void(Session&)>;
  // A tape with its session, and room for the results of two runs.
  struct Stage {
    Stage(TrainStep& owner, RecordedStep&& step, const TrainStepOptions& options);
    Program program;
    Session session;
    std::array<Readback, 2> results;
  };
  // A run whose results nobody has read yet.
  struct Pending {
    Stage* stage;
    size_t slot;  // of its results
    const Batch* batch;
    StepState state;
    Feeder* feeder;
  };
  Pending launch(const Feed& feed, const Batch& batch, const StepState& state, bool last);
  const Result& collect(const Pending& run, const Feed& feed);
  const Result& collect_late();
  [[noreturn]] void report_divergence(const Pending& run, const Feed& feed);

  Context& context_;
  Device& device_;
  Model& model_;
  Heads heads_;
  std::vector<TensorSpec> tensors_;
  std::shared_ptr<Arena> arena_;
  Stage steps_;                  // a whole step, or the last micro-batch of one
  std::unique_ptr<Stage> adds_;  // other micro-batches; none where one makes a step
  size_t launched_ = 0;
  std::optional<Pending> pending_;
  Result result_;
};

}  // namespace fulmar::model
