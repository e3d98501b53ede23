#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/context.h"
#include "model/observe.h"
#include "tools/run/json.h"
#include "tools/run/results.h"
#include "tools/run/study.h"
#include "tools/run/train_config.h"

// Trainings with other options on the same pictures, tested on the same scenes.
namespace fulmar::tools {

// A line of the table: one choice of all options but the seed.
struct ComparedTraining {
  std::string name;                 // folder in OUT
  std::vector<std::string> values;  // of the axes, for people
  TrainConfig config;               // resolved; its seed is filled in
};

struct ComparisonOptions {
  std::string folder;             // of the pictures, with a test part or with config.test
  std::string out;                // for runs and the report
  std::vector<std::string> axes;  // names
  std::vector<ComparedTraining> trainings;
  std::vector<int64_t> seeds{1};
  // Classes that maps of explanations are of, TASK:CLASS, of one task CLASS; empty: of each task
  // the one that most pixels explained are labelled, behind the first class where there are such.
  std::vector<std::string> explained;
  TrainRuntime runtime;
};

// How far the middle pixel of the tested scenes sees, see EffectiveField: pixels a side.
struct ComparedField {
  std::string task;
  double half = 0, most = 0, effective = 0;
  int64_t possible = 0;  // 0: all
};

struct ComparedRun {
  int64_t seed = 0;
  std::string folder;
  TrainingLength length{};
  // By task ("" of pictures that have one label); NaN where undefined.
  std::vector<std::pair<std::string, model::NamedValues>> scores{};
  std::vector<double> right{};          // of each test picture, the share that is right
  std::vector<ComparedField> fields{};  // of models of pixels
};

// A picture beside others on the page.
struct ComparedFigure {
  std::string title, note;
  std::string png{}, heat_png{};  // the second lies over the first; empty: there is none
  int64_t height = 0, width = 0;
};
struct ComparedRow {
  std::string title;
  std::vector<ComparedFigure> figures{};
};

struct Comparison {
  std::string folder;
  bool generated = false;             // by `fulmar synth`
  std::vector<std::string> axes{};    // names
  std::vector<std::string> tested{};  // names of the test pictures
  struct Line {
    ComparedTraining training;
    std::vector<ComparedRun> runs{};

    // Over the runs; of "combined_score" the task is "".
    Spread score(const std::string& task, const std::string& metric) const;
    // Over the runs: one of a field's numbers.
    Spread field(const std::string& task, double ComparedField::*number) const;
    Spread seconds() const;
  };
  std::vector<Line> lines{};
  std::vector<ComparedRow> maps{}, cams{}, fields{};  // of each line's first seed

  // Tasks and their metrics, in the order of the lines.
  std::vector<std::pair<std::string, std::vector<std::string>>> metrics() const;
};

// Trains into OUT/<name>/seed-<n>, evaluates the best model of each on the test pictures, and
// measures receptive fields. What is there already stays as it is: repeated after an interruption
// it goes on. All trainings are tried before the first begins: their pictures, their networks, and
// the memory that they need. Error(usage): no test part, or not the same test pictures for all;
// options other than those of OUT's earlier trainings. Otherwise errors as train_run.
Comparison compare_trainings(const ComparisonOptions& options, Context& context,
                             const std::function<Device&(const TrainConfig&)>& device_of,
                             StudyObserver& observer);

// What `fulmar compare --json` prints.
Json comparison_json(const Comparison& comparison);
// A line for each run and task.
std::string comparison_csv(const Comparison& comparison);

}  // namespace fulmar::tools
