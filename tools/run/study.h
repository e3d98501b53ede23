#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "engine/context.h"
#include "model/run_folder.h"
#include "tools/run/evaluation.h"
#include "tools/run/json.h"
#include "tools/run/results.h"
#include "tools/run/train_run.h"

// What experiments of several trainings share: `fulmar resolution` and `fulmar compare`.
namespace fulmar::tools {

class StudyObserver : public RunObserver {
 public:
  // A training begins, or goes on: `what` is "500 m, seed 1"; `number` counts from 1.
  virtual void on_training(const std::string& /*what*/, const std::string& /*run*/,
                           int64_t /*number*/, int64_t /*of*/) {}
  // The evaluation of a run's best model is in its folder, for a report on it.
  virtual void on_evaluation(const std::string& /*run*/) {}
};

// Without "." and "/" at its end.
std::string absolute_path(const std::string& path);
// "1,2,4"
std::string joined(const std::vector<int64_t>& numbers);
// Error(usage) naming the list: it is empty, or holds a number twice.
void require_distinct(const std::vector<int64_t>& numbers, const std::string& what);

// synth.json of made scenes; null of others.
Json synth_record(const std::string& folder);

// OUT/FILE has the settings that OUT's trainings were made with; it is written, or gets what it
// hasn't yet. Error(usage): a setting is another now, or numbers would be compared that don't go
// together. Error(file): OUT holds something else.
void keep_settings(const std::string& out, const std::string& file, const Json& settings);

// Trains into the run's folder by `config`, or goes on with the training that is there; its
// pictures lie at config.dataset. Errors as train_run; Error(file) too for a report that failed.
void train_or_resume(const TrainConfig& config, TrainRuntime runtime, const model::RunFolder& run,
                     Context& context, Device& device, RunObserver& observer);

// Lets the best model of a run classify all pictures of a dataset, and writes the evaluation.
void evaluate_run(const model::RunFolder& run, const data::Dataset& dataset,
                  const TrainRuntime& runtime, const std::string& file, Context& context,
                  Device& device, Observer& observer);

// How long a training was.
struct TrainingLength {
  int64_t epochs = 0;
  double seconds = 0;
};
TrainingLength length_of(const model::RunFolder& run);

Json spread_json(const Spread& spread);

}  // namespace fulmar::tools
