#pragma once

#include <string>
#include <vector>

#include "tools/run/explain_pictures.h"
#include "tools/run/json.h"

namespace fulmar::tools {

// What a page of explanations tells.
struct ExplanationReport {
  std::string model, command;
  std::vector<std::string> classes;
  bool probability = false;  // what is explained: a probability, else a logit
  std::vector<ExplainedPicture> pictures;
};

// What `fulmar explain --json` prints of a picture, and the page holds for programs.
Json explanation_json(const ExplainedPicture& picture, const std::vector<std::string>& classes);

// A page by itself that needs no network and no other file, and whose opacity is chosen without a
// script.
std::string explanation_html(const ExplanationReport& report);

}  // namespace fulmar::tools
