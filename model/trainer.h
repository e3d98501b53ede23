#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/batch_source.h"
#include "engine/checkpoint.h"
#include "engine/context.h"
#include "engine/feeder.h"
#include "model/callbacks.h"
#include "model/evaluate.h"
#include "model/learning_rate.h"
#include "model/run_folder.h"
#include "model/running_statistics.h"
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

// Receives the progress of a training.
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

// Trains a classifier: batches, steps, schedule, validation, metrics, checkpoints. A checkpoint
// holds everything that the rest of the run depends on: a resumed run gives the bits of an
// undisturbed one.
class FULMAR_API Trainer {
 public:
  // `info` describes the model; `validation` may be nullptr. `summary` of info (a JSON object) goes
  // into every checkpoint, with "fulmar" and "commit" (what saved it), "epoch" (whole epochs behind
  // the weights) and "metrics" (of that epoch; undefined ones are left out).
  //
  // With two classes the threshold is the one with the best F1 on the validation pictures, anew
  // after each epoch (the metric "threshold"); val_accuracy, val_f1, val_fp and val_fn are at it,
  // so a little better than on pictures that it was not chosen on. Metrics of the training pictures
  // are at 0.5, each taken before the step that the picture was in.
  //
  // Error(usage) where the description, the network, the options or the tensors of a source don't
  // go together.
  Trainer(Context& context, Device& device, ModelInfo info, Model& model, BatchSource& train,
          BatchSource* validation, RunFolder& folder, const TrainerOptions& options);
  ~Trainer();

  // Goes on from a checkpoint of this run. Error(file) where it has no training state, or comes
  // from another network, preprocessing or classes, other options (only `epochs` and
  // `checkpoint_minutes` may differ), other weights that decay, or batches of another size or
  // number, or where the folder lacks what the run wrote before.
  void resume(const Checkpoint& checkpoint);

  // Trains to the end. best.safetensors of the run folder holds the weights of the epoch with the
  // lowest monitored loss, for use; last.safetensors also what resuming needs. Error(cancelled)
  // after saving where the context's flag goes up; Error(diverged) naming the first bad layer where
  // the loss or a gradient is not finite; Error(file) where the folder can't be written.
  TrainOutcome run(TrainObserver& observer);

  // Bytes that activations take in training.
  size_t arena_bytes() { return step_.session().plan().arena_bytes; }

 private:
  struct State;
  void make_feeders();
  void run_epoch(TrainObserver& observer);
  [[noreturn]] void throw_interrupted() const;
  void finish_epoch(TrainObserver& observer);
  void estimate_statistics();
  double validate(TrainObserver& observer, NamedValues& metrics);
  void save(const std::string& path, bool resumable);

  Context& context_;
  Device& device_;
  ModelInfo info_;
  Model& model_;
  BatchSource& train_;
  BatchSource* validation_;
  RunFolder& folder_;
  TrainerOptions options_;
  std::string options_text_;  // what must be the same when a run goes on
  std::shared_ptr<Arena> arena_;
  TrainStep step_;
  std::unique_ptr<StatisticsEstimator> estimator_;  // none: not wanted, or nothing to estimate
  std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<Feeder> feeder_, validation_feeder_;
  std::unique_ptr<State> state_;
};

}  // namespace fulmar::model
