#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/checkpoint.h"
#include "model/metrics_csv.h"
#include "tools/run/evaluation.h"
#include "tools/run/json.h"

namespace fulmar::tools {

// The contents of a report: a page by itself that needs no network and no other file.
struct Report {
  struct Training {
    Json config, record;  // null where the run has none
    model::MetricsTable metrics;
    int64_t best_epoch = 0;  // counted from 1; 0: none yet
  };
  struct Part {
    Evaluation evaluation;
    bool outdated = false;  // the model file is no longer the one that was evaluated
  };
  std::string name;
  std::optional<Training> training;  // none: of evaluations only
  std::vector<Part> evaluations;     // the first is the one that the page begins with
  // Of models of pixels: numbers_json() with what `fulmar eval --report` puts beside it.
  std::vector<Json> pixels{};
};

// From the files of a run folder. Error(file) naming one that is missing or damaged.
Report read_report(const std::string& run);

std::string report_html(const Report& report);
// What `fulmar report --json` prints and the page holds for programs, in the element "numbers":
// "evaluations", each as `fulmar eval --json` tells it, and "best", the metrics of the best epoch.
Json report_numbers(const Report& report);

// Warnings about the trained model, from its files: see tools/run/training_words.h.
std::vector<std::string> training_words(const Report& report);

// report.html of a run folder, anew from its files; gives its path. Error(file).
std::string write_report(const std::string& run);

// Parts of the page.
std::string evaluation_section(const Report::Part& part, const std::string& id);
std::string pixel_section(const Json& evaluation, const std::string& id);
std::string pixel_set_name(const Json& evaluation);
std::string training_section(const Report::Training& training);
std::string data_section(const Json& data);
std::string making_section(const Report::Training& training);

// A picture of an evaluation with what it is, what it was called, and another line.
std::string picture_figure(const Evaluation& evaluation, const Mistake& picture,
                           const std::string& more = "");

// Rows of true classes, with how many were called each class in their order.
struct ConfusionRow {
  std::string name;
  std::vector<int64_t> called;
};
std::string confusion_table(const std::vector<ConfusionRow>& rows);

// "0.9435", "–" where it is undefined.
std::string score_text(double value);
// The pictures of an evaluation, as a heading.
std::string set_name(const Evaluation& evaluation);

}  // namespace fulmar::tools
