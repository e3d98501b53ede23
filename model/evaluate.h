#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/batch_source.h"
#include "engine/feeder.h"
#include "engine/io/checkpoint.h"
#include "engine/session.h"
#include "model/program.h"

namespace fulmar::model {

// How a model does on all samples of a source.
struct Evaluated {
  std::vector<int64_t> sample;  // numbers within the dataset, in the source's order
  double loss_sum = 0, loss_weight = 0;
  std::vector<std::unique_ptr<Meter>> meters;  // one for each head

  double loss() const { return loss_sum / loss_weight; }  // NaN without samples
};

// A model in inference on labelled batches of one shape: running statistics, no dropout.
class FULMAR_API Evaluator {
 public:
  // Error(usage) as record_program, and where a head's tensor of labels is missing; Error(device)
  // where memory is short.
  Evaluator(Context& context, Device& device, const ModelInfo& info, const Heads& heads,
            Model& model, const std::vector<TensorSpec>& tensors, const LossOptions& loss = {},
            std::shared_ptr<Arena> arena = nullptr);

  // Goes through the batches of an epoch. Calls `progress` after each batch with the number of
  // batches done. Throws the errors of the source and of Meter::add; Error(cancelled) where the
  // context's flag is up.
  Evaluated evaluate(BatchSource& source, const std::function<void(int64_t)>& progress = {});
  Evaluated evaluate(Feeder& feeder, const std::function<void(int64_t)>& progress = {});

  Session& session() { return session_; }
  size_t arena_bytes() const { return session_.plan().arena_bytes; }

 private:
  void read_results(const Batch& batch, Evaluated& all);

  Device* device_;
  Heads heads_;
  std::vector<TensorSpec> tensors_;
  Program program_;
  Session session_;
};

}  // namespace fulmar::model
