#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "model/callbacks.h"
#include "model/learning_rate.h"
#include "model/train_step.h"

namespace fulmar::model {

struct TrainerOptions {
  int64_t epochs = 200;
  int64_t micro_batches = 1;  // batches of the source that make one optimiser step
  TrainStepOptions step{};
  Schedule schedule{};
  std::optional<EarlyStopping::Options> early_stopping = EarlyStopping::Options{};
  bool monitor_training_loss = false;  // though there is a validation source (the published way)
  // After each epoch, running statistics are estimated over about as many of its samples, before
  // validation and saving; 0: they stay the running averages of the steps (the published way).
  int64_t statistics_samples = 512;
  uint64_t seed = 0;
  double checkpoint_minutes = 10;  // between saves within an epoch; 0: only at its end
  // Bytes of device memory that keep samples. Unset: the memory that training leaves free.
  std::optional<size_t> device_cache{};
};

}  // namespace fulmar::model
