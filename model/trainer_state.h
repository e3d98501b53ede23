#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/metrics.h"
#include "model/trainer.h"

namespace fulmar::model {

// Where a run stands, between two steps. All but `seconds` decides what comes next.
struct Trainer::State {
  State(const TrainerOptions& options, int64_t classes);

  TrainingState stored(const std::string& options) const;
  // Error(usage), also where the run that it comes from had other options.
  void restore(const TrainingState& from, const std::string& options);

  int64_t epoch = 0, batch = 0;  // of the source: which comes next
  int64_t step = 0;              // optimiser steps done
  uint64_t draw = 0;             // micro-batches done
  int64_t epochs_step = 0;       // optimiser steps done when the last whole epoch ended
  LearningRate learning_rate;
  std::optional<EarlyStopping> stopping;
  bool should_stop = false;
  BestEpoch best{Goal::lowest};
  Predictions seen;    // of this epoch so far
  double seconds = 0;  // of this epoch so far, wall clock
};

// All that decides what a run gives beside its network, the device, the contents of its batches and
// the number of epochs: a JSON object.
std::string options_text(const TrainerOptions& options, const Model& model,
                         const BatchSource& train, bool validation);

}  // namespace fulmar::model
