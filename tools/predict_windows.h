#pragma once

#include <cstdint>
#include <string>

#include "tools/cli.h"
#include "tools/run/predictor.h"

namespace fulmar::tools {

struct PredictWindowsOptions {
  PredictorOptions pictures;
  int64_t stride = 0;
  std::string out;        // folder; "": no maps
  std::string csv;        // file of detections; "": none
  double threshold = -1;  // -1: the model's
};

// `fulmar predict --stride` of a classifier: for each scene OUT/STEM.probabilities.tif, and what
// was detected.
int predict_windows(const PredictWindowsOptions& options, const SharedOptions& shared);

}  // namespace fulmar::tools
