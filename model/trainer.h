#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/batch_source.h"
#include "engine/context.h"
#include "engine/feeder.h"
#include "engine/io/checkpoint.h"
#include "model/evaluate.h"
#include "model/run_folder.h"
#include "model/running_statistics.h"
#include "model/train_step.h"
#include "model/trainer_options.h"

namespace fulmar::model {

// Receives the progress of a training.
class TrainObserver {
 public:
  struct Position {
    int64_t epoch = 0, epochs = 0;        // counted from 1
    int64_t samples = 0, of_samples = 0;  // of this epoch
    double loss = 0;                      // mean over the epoch so far
    double learning_rate = 0;
  };
  virtual ~TrainObserver() = default;
  virtual void on_batch(const Position&) {}
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

struct TrainerState;

// Trains a model for its tasks: batches, steps, schedule, validation, metrics, checkpoints. A
// checkpoint holds everything that the rest of the run depends on: a resumed run gives the bits of
// an undisturbed one.
class FULMAR_API Trainer {
 public:
  // `info` describes the model; `validation` may be nullptr. `summary` of info (a JSON object) goes
  // into every checkpoint, with "fulmar" and "commit" (what saved it), "epoch" (whole epochs behind
  // the weights) and "metrics" (of that epoch; undefined ones are left out).
  //
  // What tasks leave to validation is settled anew after each epoch, and becomes a metric of its
  // name; so metrics of the validation are a little better than on samples that nothing was chosen
  // on. Metrics of the training samples are with the usual settings, each taken before the step
  // that the sample was in. Of a model with several heads, each metric begins with its output's
  // name.
  //
  // Error(usage) where the description, the network, the options or the tensors of a source don't
  // go together.
  Trainer(Context& context, Device& device, ModelInfo info, Model& model, BatchSource& train,
          BatchSource* validation, RunFolder& folder, const TrainerOptions& options);
  ~Trainer();

  // Goes on from a checkpoint of this run. Error(file) where it has no training state, or comes
  // from another network, preprocessing or task, other options (only `epochs` and
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
  void make_feeders();
  void train_micro_batch(const StepState& step, bool last);
  void add(const TrainStep::Result& result);
  void add_rest();
  NamedValues metrics_of(const std::vector<std::unique_ptr<Meter>>& meters,
                         const std::string& prefix, const std::vector<NamedValues>& settings) const;
  std::vector<std::string> columns() const;
  void run_epoch(TrainObserver& observer);
  [[noreturn]] void throw_interrupted() const;
  void finish_epoch(TrainObserver& observer);
  void estimate_statistics();
  double validate(TrainObserver& observer, NamedValues& metrics);
  void save(const std::string& path, bool resumable);

  Context& context_;
  Device& device_;
  ModelInfo info_;
  Heads heads_;
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
  std::unique_ptr<TrainerState> state_;
};

}  // namespace fulmar::model
