#pragma once

#include <string>
#include <vector>

#include "tools/run/explain_pictures.h"
#include "tools/run/json.h"

namespace fulmar::tools {

// What a page of explanations tells.
struct ExplanationReport {
  std::string model, command;
  std::string task;  // of a model of several
  std::vector<std::string> classes;
  bool probability = false;  // what is explained: a probability, else a logit
  std::vector<ExplainedPicture> pictures;
  std::vector<EffectiveField> fields{};  // by task, where they were measured
};

// How often a method's maps lead into masks that were drawn, over the pictures that have one.
struct Pointing {
  std::string method;
  int64_t pictures = 0;
  double inside = 0, centre = 0, random = 0;  // shares: the peaks, the middle, a random pixel
  // Means over the pictures; NaN where no masks were made. `brightness`: the picture itself, put to
  // a threshold.
  double iou = 0, precision = 0, recall = 0, brightness_iou = 0;
};
// In the order of the maps; empty where no picture has a mask.
std::vector<Pointing> pointing_of(const std::vector<ExplainedPicture>& pictures);

// What `fulmar explain --json` prints of a picture, and the page holds for programs.
Json explanation_json(const ExplainedPicture& picture, const ExplanationReport& report);

// A page by itself that needs no network and no other file, and whose opacity is chosen without a
// script.
std::string explanation_html(const ExplanationReport& report);

}  // namespace fulmar::tools
