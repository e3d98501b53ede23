#pragma once

#include <cstdint>
#include <vector>

#include "kernels/api.h"
#include "model/metrics.h"

namespace fulmar::model {

// Pictures whose probability p lies in (low, high]; the first bin has p = 0 too.
struct ReliabilityBin {
  double low = 0, high = 0;
  int64_t count = 0;
  double probability = 0;  // mean of p; NaN for an empty bin
  double frequency = 0;    // share of them for which it came true; NaN for an empty bin
};

// Tells whether a probability of 80 % comes true in 80 % of the cases. Two classes: the positive
// class' probability. More classes: the highest probability, which comes true where its class (the
// first of equals) is the label.
struct Calibration {
  std::vector<ReliabilityBin> bins;  // as sklearn.calibration.calibration_curve, uniform
  // Expected calibration error: sum over bins of count/n |probability - frequency| (Guo et al.
  // 2017, "On calibration of modern neural networks"). NaN without samples.
  double ece = 0;
  // Mean squared error of the probabilities: of the positive one with two classes, else summed over
  // the classes (sklearn.metrics.brier_score_loss). NaN without samples.
  double brier = 0;
};

// Error(usage) as score(). A NaN among the probabilities: no bins, and both numbers are NaN.
FULMAR_API Calibration calibration(const Predictions& predictions, int64_t positive_class,
                                   int64_t bins = 10);

}  // namespace fulmar::model
