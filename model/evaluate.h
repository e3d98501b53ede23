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

// What a model says of every sample of a source, in the order the source gives them.
struct Outputs {
  std::vector<int64_t> sample;       // number within the dataset
  std::vector<double> logits;        // [samples, classes]
  std::vector<float> probabilities;  // [samples, classes]
  Predictions predictions;           // the same with labels and losses, where the source has labels
};

// A model in inference on batches of one shape: running statistics, no dropout.
class FULMAR_API Evaluator {
 public:
  // `tensors`: image, image/samples and, where there are, label and weight. Error(usage) as
  // record_program; Error(device) where memory is short.
  Evaluator(Context& context, Device& device, const ModelInfo& info, Model& model,
            const std::vector<TensorSpec>& tensors, const CrossEntropy& loss = {},
            std::shared_ptr<Arena> arena = nullptr);

  // Appends one batch to `all`. Error(usage) where the network gives more than one row of logits a
  // picture, or a label is none of its classes; Error(cancelled) where the context's flag is up.
  void predict(const Batch& batch, Outputs& all);
  // All batches of an epoch, with the errors of predict() and of the source; `progress` is called
  // after each with the number done.
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
