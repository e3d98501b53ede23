#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/api.h"

namespace fulmar::model {

// What happens to the errors when the threshold moves: ROC and precision-recall curves, after
// scikit-learn's definitions (sklearn.metrics 1.9). `scores` and `positive` as in metrics.h.

// "Positive where score >= threshold".
struct OperatingPoint {
  double threshold = 0;
  double true_positive_rate = 0;   // recall; NaN without positives
  double false_positive_rate = 0;  // NaN without negatives
  double precision = 0;
};

// One for each distinct score, falling: the points of roc_curve(drop_intermediate=False) but for
// its first, and those of precision_recall_curve, in reverse, but for its last. Empty where a score
// is NaN.
FULMAR_API std::vector<OperatingPoint> operating_points(std::span<const float> scores,
                                                        std::span<const uint8_t> positive);

struct CurvePoint {
  double x = 0, y = 0;
};
// Straight lines between points from x = 0 to x = 1; x never falls. Points of one x are a jump.
using Curve = std::vector<CurvePoint>;

// True positive rate over false positive rate; its area is roc_auc(). Empty where that is
// undefined.
FULMAR_API Curve roc_curve(std::span<const float> scores, std::span<const uint8_t> positive);

// Precision over recall, in steps through all operating points: its area is average_precision().
// Empty where that is undefined.
FULMAR_API Curve precision_recall_curve(std::span<const float> scores,
                                        std::span<const uint8_t> positive);

// The mean of y at every x ("macro average"), empty curves left out: its area is the mean of their
// areas.
FULMAR_API Curve mean_curve(std::span<const Curve> curves);

FULMAR_API double area_under(const Curve& curve);

}  // namespace fulmar::model
