#pragma once

#include <string>
#include <vector>

#include "tools/run/explain_pictures.h"

namespace fulmar::tools {

// What a page of explanations tells.
struct ExplanationReport {
  std::string model, command;
  std::vector<std::string> classes;
  bool probability = false;  // what is explained: a probability, else a logit
  std::vector<ExplainedPicture> pictures;
};

// A page by itself that needs no network, no other file and no script.
std::string explanation_html(const ExplanationReport& report);

}  // namespace fulmar::tools
