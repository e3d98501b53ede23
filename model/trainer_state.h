#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/batch_source.h"
#include "engine/model.h"
#include "model/task.h"
#include "model/trainer_options.h"

namespace fulmar::model {

// Where a run stands, between two steps. All but `seconds` decides what comes next.
struct TrainerState {
  TrainerState(const TrainerOptions& options, const Heads& heads);

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
  // Of this epoch so far; seconds by the wall clock.
  int64_t samples = 0;
  double loss_sum = 0, loss_weight = 0;
  std::vector<std::unique_ptr<Meter>> meters;  // one for each head
  double seconds = 0;

  void begin_epoch();

 private:
  Heads heads_;
};

// All that decides what a run gives beside its network, the device, the contents of its batches and
// the number of epochs: a JSON object.
std::string options_text(const TrainerOptions& options, const Model& model,
                         const BatchSource& train, bool validation);

}  // namespace fulmar::model
