#pragma once

#include <string>
#include <vector>

#include "tools/report/html.h"
#include "tools/run/comparison.h"
#include "tools/run/resolution.h"
#include "tools/run/robustness.h"

// Pages of the paper's experiments, each by itself.
namespace fulmar::tools {

// `command` gave it; "": unknown.
std::string robustness_html(const Robustness& robustness, const std::string& command);

// Scores by bin, and of all pictures.
HtmlTable robustness_table(const Robustness& robustness, const RobustnessProperty& property);

std::string resolution_html(const ResolutionStudy& study, const std::string& command);
// Mean and standard deviation over the seeds, a row for each resolution.
HtmlTable resolution_table(const ResolutionStudy& study);

std::string comparison_html(const Comparison& comparison, const std::string& command);
// Mean and standard deviation over the seeds, a row for each training: of a task's scores, and of
// all tasks' receptive fields.
std::vector<HtmlTable> comparison_tables(const Comparison& comparison);

// "0.943 ± 0.012", "–" where it is undefined.
std::string spread_text(const Spread& spread, int decimals);
// "0.943 [0.911, 0.965]"; "–" where it is undefined.
std::string interval_text(const Interval& interval);

}  // namespace fulmar::tools
