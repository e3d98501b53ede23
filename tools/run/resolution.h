#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "tools/run/evaluation.h"
#include "tools/run/json.h"
#include "tools/run/results.h"
#include "tools/run/study.h"
#include "tools/run/train_config.h"

// The same scenes at several resolutions: trained on, and compared.
namespace fulmar::tools {

struct ResolutionOptions {
  std::string folder;            // of the pictures, with a test part or with config.test
  std::string out;               // for copies, runs and the report
  std::optional<double> metres;  // of the pictures' pixels; none: as `fulmar synth` wrote them
  std::vector<int64_t> factors{1, 2, 4}, seeds{1, 2, 3};
  // Of each training. Its crop is in the pictures' own pixels, 0: two thirds of the smallest side.
  // The folder, the crop and the seed of each training are filled in. Blocks of its widths that
  // would leave the coarsest crop fewer than 2x2 pixels are left out of all networks.
  TrainConfig config;
  TrainRuntime runtime;
};

struct ResolutionRun {
  int64_t seed = 0;
  std::string folder;
  Evaluation evaluation;
  double seconds = 0;  // of training
  int64_t epochs = 0;
};

struct ResolutionLevel {
  int64_t factor = 1;
  double metres = 0;     // of a pixel
  int64_t crop = 0;      // pixels
  std::string pictures;  // folder
  std::vector<ResolutionRun> runs{};
  std::vector<Mistake> examples{};  // the crops of some scenes, the same at every level

  std::string name() const;  // "500m"
  // Over the runs: "accuracy", "f1" (macro F1 of several classes), "roc_auc", "seconds".
  Spread spread(const std::string& metric) const;
};

struct ResolutionStudy {
  std::string folder;
  bool generated = false;         // by `fulmar synth`
  std::vector<int64_t> widths{};  // of all networks
  std::string rule{};             // how they came about, a sentence
  std::vector<ResolutionLevel> levels{};
  Json config{};  // what the trainings share
};

// Writes reduced copies to OUT/<metres>m/pictures, trains into OUT/<metres>m/seed-<n>, and
// evaluates the best model of each on the test part. What is there already stays as it is: repeated
// after an interruption it goes on. Error(usage): factors that the crop can't be divided by, no
// test part, options other than those of OUT's earlier runs. Otherwise errors as train_run.
ResolutionStudy compare_resolutions(const ResolutionOptions& options, Context& context,
                                    Device& device, StudyObserver& observer);

// What `fulmar resolution --json` prints.
Json resolution_json(const ResolutionStudy& study);

}  // namespace fulmar::tools
