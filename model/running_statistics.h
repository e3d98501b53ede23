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

// A copy of a Model's running statistics, which restore() puts back.
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
// in BatchNorm, 2021, arXiv:2105.07576, section 3). So validation is right from the first epoch on,
// whatever the momentum and the number of steps. The estimator drops no values, and asks the
// source for calibrating samples (BatchSource::set_calibrating).
class FULMAR_API StatisticsEstimator {
 public:
  // `tensors`: those of TrainStep. Error(usage): record_program's; Error(device): memory is short.
  StatisticsEstimator(Context& context, Device& device, const ModelInfo& info, Model& model,
                      const std::vector<TensorSpec>& tensors, bool unbiased_variance,
                      std::shared_ptr<Arena> arena = nullptr);

  // Reads the first `batches` batches of an epoch from the training's feeder. Of the batches' means
  // m and variances v, each running mean becomes mean(m), each running variance
  // mean(v + m^2) - mean(m)^2, times n / (n - 1) for n values where training stores it so.
  // Error(cancelled) where the context's flag goes up, and errors of the source leave some batch's
  // statistics in the Model.
  void estimate(Feeder& feeder, int64_t epoch, int64_t batches);

 private:
  Model& model_;
  bool unbiased_;
  Program program_;
  std::vector<ops::RunningUpdate> updates_;
  Session session_;
};

}  // namespace fulmar::model
