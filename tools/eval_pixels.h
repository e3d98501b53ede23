#pragma once

#include <optional>
#include <string>

#include "engine/io/checkpoint.h"
#include "tools/cli.h"
#include "tools/run/label_choice.h"

namespace fulmar::tools {

struct EvalPixelsOptions {
  std::string model, folder;
  std::optional<std::string> bands;  // none: as in the model's training
  LabelChoice choice;
  int64_t batch = 0;  // patches at a time; 0: by the crop
  int64_t max_pixels = 0;
  std::string csv;          // file of scores by picture
  std::string run;          // folder whose report gets the evaluation; empty: none
  std::string report_file;  // a page of it alone; empty: none
};

// `fulmar eval` of a model that gives each pixel a class.
int eval_pixels(const Checkpoint& checkpoint, const EvalPixelsOptions& options,
                const SharedOptions& shared);

}  // namespace fulmar::tools
