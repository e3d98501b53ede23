#pragma once

#include <optional>
#include <string>

#include "engine/context.h"
#include "kernels/error.h"
#include "model/run_folder.h"
#include "model/trainer.h"
#include "tools/run/observer.h"
#include "tools/run/train_config.h"

namespace fulmar::tools {

struct TrainedRun {
  model::TrainOutcome outcome;
  model::NamedValues best;  // metrics of the best epoch
  Json test{};              // numbers on the pictures held out by --test; null without them
  // Why there is no report of it; the run itself is whole.
  std::optional<Error> report_failure{};
};

// What a training tells its caller.
class RunObserver : public Observer, public model::TrainObserver {
 public:
  // The run's folder has all the files that it gets, for a report on them: the training came to its
  // end, or (`finished` is false) an error ended it. An error of this function harms no training.
  virtual void on_folder(const std::string& /*run*/, bool /*finished*/) {}
};

// Whether what a run did so far is what it had done with more epochs, by its learning rates.
bool can_become_longer(const TrainConfig& config);

// One training into a run folder, from its start or from its last checkpoint. Context::cancel stops
// it with Error(cancelled), and what it did stays in the folder.
TrainedRun train_run(Context& context, Device& device, TrainConfig config,
                     const TrainRuntime& runtime, const std::string& folder, RunObserver& observer);

// What train_run() would refuse before its first step: pictures, options that don't go with them, a
// network that can't be, memory that isn't there. It writes nothing and reads no whole pictures.
void check_run(Context& context, Device& device, TrainConfig config, const TrainRuntime& runtime,
               const model::RunFolder& folder);

}  // namespace fulmar::tools
