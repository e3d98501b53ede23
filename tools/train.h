#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/image.h"
#include "engine/context.h"
#include "kernels/error.h"
#include "model/run_folder.h"
#include "model/trainer.h"
#include "tools/train_config.h"

namespace fulmar::tools {

// Options that decide how a training runs, not its results.
struct TrainRuntime {
  int64_t loader_threads = 1;
  std::string cache_folder;
  double memory_gb = 4;  // for decoded pictures
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
  double checkpoint_minutes = 10;
  std::optional<size_t> device_cache{};  // bytes; none: what is left
  bool debug = false;                    // layer by layer
  bool resume = false;
  std::string command{};  // the command line, for the report
};

struct TrainedRun {
  model::TrainOutcome outcome;
  model::NamedValues best;  // metrics of the best epoch
  Json test{};              // numbers on the pictures held out by --test; null without them
  // Why there is no report of it; the run itself is whole.
  std::optional<Error> report_failure{};
};

// One training into a run folder, from its start or from its last checkpoint.
TrainedRun train_run(Context& context, Device& device, TrainConfig config,
                     const TrainRuntime& runtime, const std::string& folder);

}  // namespace fulmar::tools
