#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/io/checkpoint.h"
#include "tools/cli.h"

namespace fulmar::tools {

struct EvalPixelsOptions {
  std::string folder;
  std::optional<std::string> bands, labels, pictures;  // none: as in the model's training
  std::optional<std::vector<double>> ignore;           // likewise
  int64_t batch = 0;                                   // patches at a time; 0: by the crop
  int64_t max_pixels = 0;
};

// `fulmar eval` of a model that gives each pixel a class.
int eval_pixels(const Checkpoint& checkpoint, const EvalPixelsOptions& options,
                const SharedOptions& shared);

}  // namespace fulmar::tools
