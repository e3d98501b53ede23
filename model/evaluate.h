#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/batch_source.h"
#include "engine/checkpoint.h"
#include "engine/session.h"
#include "model/program.h"

namespace fulmar::model {

// What a model says of every sample of a source, in the order the source gives them.
struct Outputs {
  int64_t classes = 0;
  std::vector<int64_t> sample;        // number within the dataset
  std::vector<int32_t> label;         // empty where the source has none
  std::vector<double> logits;         // [samples, classes]
  std::vector<double> probabilities;  // [samples, classes]
  double loss_sum = 0, weight_sum = 0;

  double loss() const { return weight_sum > 0 ? loss_sum / weight_sum : 0; }  // mean cross-entropy
  int64_t size() const { return static_cast<int64_t>(sample.size()); }
};

// A model in inference on batches of one shape: running statistics, no dropout.
class FULMAR_API Evaluator {
 public:
  Evaluator(Context& context, Device& device, const ModelInfo& info, Model& model,
            const std::vector<TensorSpec>& tensors, const CrossEntropy& loss = {},
            std::shared_ptr<Arena> arena = nullptr);

  // Appends one batch to `all`.
  void predict(const Batch& batch, Outputs& all);
  // All batches of an epoch; `progress` is called after each with the number done.
  Outputs predict_all(BatchSource& source, const std::function<void(int64_t)>& progress = {});

 private:
  Program program_;
  Session session_;
};

// Copies a batch into the inputs of a program, in the order of its tensors.
FULMAR_API void set_inputs(Session& session, const Program& program, const Batch& batch);

}  // namespace fulmar::model
