#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/batch_source.h"
#include "engine/checkpoint.h"
#include "engine/feeder.h"
#include "engine/session.h"
#include "model/metrics.h"
#include "model/program.h"

namespace fulmar::model {

// A model's results for every sample of a source, in the source's order.
struct Outputs {
  std::vector<int64_t> sample;       // number within the dataset
  std::vector<double> logits;        // [samples, classes]
  std::vector<float> probabilities;  // [samples, classes]
  Predictions predictions;  // probabilities with labels and losses, where the source has labels
};

// A model in inference on batches of one shape: running statistics, no dropout.
class FULMAR_API Evaluator {
 public:
  // `tensors`: image, image/samples and optionally label and weight. Error(usage) as
  // record_program; Error(device) where memory is short.
  Evaluator(Context& context, Device& device, const ModelInfo& info, Model& model,
            const std::vector<TensorSpec>& tensors, const CrossEntropy& loss = {},
            std::shared_ptr<Arena> arena = nullptr);

  // Appends one batch's results to `all`. Error(usage): more than one row of logits a picture, or a
  // label that is none of the classes. Error(cancelled) where the context's flag is up.
  void predict(const Batch& batch, Outputs& all);
  // Results of all batches of an epoch. Calls `progress` after each batch with the number of
  // batches done. Throws the errors of predict() and of the source.
  Outputs predict_all(BatchSource& source, const std::function<void(int64_t)>& progress = {});
  Outputs predict_all(Feeder& feeder, const std::function<void(int64_t)>& progress = {});

  Session& session() { return session_; }
  size_t arena_bytes() const { return session_.plan().arena_bytes; }

 private:
  void read_results(const Batch& batch, Outputs& all);
  void predict_labelled(const Batch& batch, Outputs& all);

  Device* device_;
  std::vector<TensorSpec> tensors_;
  Program program_;
  Session session_;
};

// Copies a batch into the inputs of a program, in the order of its tensors. Error(usage) where they
// are not as the program takes them.
FULMAR_API void set_inputs(Session& session, const Program& program, const Batch& batch);

}  // namespace fulmar::model
