#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "tools/run/evaluate_pictures.h"
#include "tools/run/evaluation.h"
#include "tools/run/observer.h"
#include "tools/run/scene_table.h"

// How a classifier's results depend on what covers a scene.
namespace fulmar::tools {

struct RobustnessOptions {
  EvaluateOptions pictures;
  std::string table;                 // CSV file; "": as SceneTable finds one
  std::vector<std::string> columns;  // empty: the usual ones
  int64_t bins = 5;
  uint64_t seed = 0;      // of the bootstrap
  bool examples = false;  // pictures for a page
};

// A number and its 95 % interval; NaN where it is undefined.
struct Interval {
  double value = 0, low = 0, high = 0;
};

// Of `hits` among `count`: Wilson's score interval (E. B. Wilson 1927, "Probable inference, the law
// of succession, and statistical inference", JASA 22).
Interval wilson(int64_t hits, int64_t count);

// Results for some of an evaluation's pictures. F1 is the positive class's, or with several classes
// the mean over those that have pictures here; recall and false alarms (the share of the negatives
// that are called positive) are of two classes. Shares have Wilson's interval, F1 the percentiles
// of 1000 bootstrap resamples of these pictures (Efron & Tibshirani 1993, "An introduction to the
// bootstrap", chapter 13).
struct PartScores {
  int64_t pictures = 0, positives = 0;
  Interval accuracy, f1, recall, false_alarms;
};
PartScores score_part(const Evaluation& evaluation, const std::vector<int64_t>& samples,
                      uint64_t seed);

// Pictures whose value of a property lies in [low, high], both of which occur.
struct RobustnessBin {
  double low = 0, high = 0, mean = 0;
  std::vector<int64_t> samples{};
  PartScores scores{};
};

// At most `bins` bins of about equal counts; equal values stay together, so that there may be
// fewer.
std::vector<RobustnessBin> quantile_bins(const std::vector<double>& values, int64_t bins);

// Pictures of one kind for a page: "least, right".
struct ExampleGroup {
  std::string name;
  std::vector<Mistake> pictures{};
};

struct RobustnessProperty {
  SceneColumn column;
  std::vector<RobustnessBin> bins{};
  std::vector<ExampleGroup> examples{};
};

struct Robustness {
  Evaluation evaluation;
  std::string table;  // file; "": none
  bool generated = false;
  PartScores whole{};
  std::vector<RobustnessProperty> properties{};
};

// Errors as evaluate_pictures and SceneTable.
Robustness measure_robustness(const Checkpoint& checkpoint, const std::string& folder,
                              const data::Dataset& dataset, const RobustnessOptions& options,
                              Context& context, const std::function<Device&()>& device,
                              Observer& observer);

// The first line of every report about them: what the pictures are, and so what it describes.
std::string pictures_line(bool generated, int64_t count, const std::string& folder);

// What `fulmar robustness --json` prints.
Json robustness_json(const Robustness& robustness);

}  // namespace fulmar::tools
