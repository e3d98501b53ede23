#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/batch_source.h"
#include "engine/checkpoint.h"
#include "engine/feeder.h"
#include "engine/session.h"
#include "model/program.h"

namespace fulmar::model {

// The running statistics of a Model as they were, to be put back.
class FULMAR_API KeptStatistics {
 public:
  explicit KeptStatistics(Model& model);
  void restore() const;

 private:
  Model& model_;
  std::vector<std::vector<double>> values_;
};

// Measures the running statistics of batch normalisation with the weights as they are, instead of
// averaging them over steps of weights that change ("precise BN": Wu & Johnson, Rethinking "Batch"
// in BatchNorm, 2021, arXiv:2105.07576, section 3): right from the first epoch on, whatever the
// momentum and however few the steps. Samples come as prediction sees them, without augmentation
// and dropout, whose own statistics are others.
class FULMAR_API StatisticsEstimator {
 public:
  // `tensors`: as of TrainStep. Error(usage) as record_program; Error(device) where memory is
  // short.
  StatisticsEstimator(Context& context, Device& device, const ModelInfo& info, Model& model,
                      const std::vector<TensorSpec>& tensors, bool unbiased_variance,
                      std::shared_ptr<Arena> arena = nullptr);

  // Over the first `batches` batches of an epoch of the training's feeder. Each running mean
  // becomes the mean of the batches' means m; each running variance mean(v + m^2) - mean(m)^2, of
  // their variances v, with n / (n - 1) of all n values where training stores it so.
  // Error(cancelled) where the context's flag goes up, and errors of the source: the statistics are
  // then those of some batch.
  void estimate(Feeder& feeder, int64_t epoch, int64_t batches);

 private:
  Model& model_;
  bool unbiased_;
  Program program_;
  std::vector<ops::RunningUpdate> updates_;
  Session session_;
};

}  // namespace fulmar::model
