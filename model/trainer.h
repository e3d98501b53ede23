#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/batch_source.h"
#include "engine/checkpoint.h"
#include "engine/context.h"
#include "model/callbacks.h"
#include "model/evaluate.h"
#include "model/learning_rate.h"
#include "model/run_folder.h"
#include "model/train_step.h"

namespace fulmar::model {

struct TrainerOptions {
  int64_t epochs = 200;
  int64_t micro_batches = 1;  // batches of the source whose gradients make one step
  TrainStepOptions step{};
  Schedule schedule{};
  std::optional<EarlyStopping::Options> early_stopping = EarlyStopping::Options{};
  bool monitor_training_loss = false;  // though there is a validation source (the published way)
  uint64_t seed = 0;
  double checkpoint_minutes = 10;  // between saves within an epoch; 0: only at its end
};

// What a training tells while it runs.
class TrainObserver {
 public:
  struct Batch {
    int64_t epoch = 0, epochs = 0;        // counted from 1
    int64_t samples = 0, of_samples = 0;  // of this epoch
    double loss = 0;                      // mean over the epoch so far
    double learning_rate = 0;
  };
  virtual ~TrainObserver() = default;
  virtual void on_batch(const Batch&) {}
  virtual void on_validation(int64_t /*batches*/, int64_t /*of_batches*/) {}
  // Name and value of every metric of an epoch; `best`: it is the best so far.
  virtual void on_epoch(const NamedValues& /*metrics*/, bool /*best*/) {}
};

struct TrainOutcome {
  int64_t epochs = 0;      // run so far
  int64_t best_epoch = 0;  // counted from 1
  double best_value = 0;   // of the monitored loss
  bool stopped_early = false;
};

// Trains a classifier: batches, steps, schedule, validation, metrics, checkpoints. Everything that
// a run depends on is in its checkpoints, so that a resumed run gives the same bits as an
// undisturbed one.
class FULMAR_API Trainer {
 public:
  // `info` describes the model; `validation` may be nullptr. `summary` of info goes into every
  // checkpoint.
  Trainer(Context& context, Device& device, ModelInfo info, Model& model, BatchSource& train,
          BatchSource* validation, RunFolder& folder, const TrainerOptions& options);
  ~Trainer();

  // Goes on from a checkpoint of this run. Error(file) where it has no training state, or one of
  // another network or other options, or where the folder lacks what the run wrote before.
  void resume(const Checkpoint& checkpoint);

  // Trains to the end. Error(cancelled) after saving where the context's flag goes up;
  // Error(diverged) naming the first bad layer where the loss or a gradient is not finite.
  TrainOutcome run(TrainObserver& observer);

  // Bytes that activations take in training.
  size_t arena_bytes() { return step_.session().plan().arena_bytes; }

 private:
  struct State;
  void run_epoch(TrainObserver& observer);
  [[noreturn]] void throw_interrupted() const;
  void finish_epoch(TrainObserver& observer);
  double validate(TrainObserver& observer, NamedValues& metrics);
  std::string state_json() const;
  void save(const std::string& path);

  Context& context_;
  Device& device_;
  ModelInfo info_;
  Model& model_;
  BatchSource& train_;
  BatchSource* validation_;
  RunFolder& folder_;
  TrainerOptions options_;
  std::shared_ptr<Arena> arena_;
  TrainStep step_;
  std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<State> state_;
};

}  // namespace fulmar::model
