#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/api.h"

namespace fulmar::model {

// ROC and precision-recall curves: the errors at every threshold, after scikit-learn's definitions
// (sklearn.metrics 1.9). `scores` and `positive` as in metrics.h.

struct CurvePoint {
  double x = 0, y = 0;
};
// Straight lines between points from x = 0 to x = 1; x never falls. Points of one x are a jump.
using Curve = std::vector<CurvePoint>;

// True positive rate over false positive rate, at the points of roc_curve(drop_intermediate=False).
// Its area is roc_auc(). Empty where roc_auc() is undefined.
FULMAR_API Curve roc_curve(std::span<const float> scores, std::span<const uint8_t> positive);

// Precision over recall, in steps through the points of sklearn.metrics.precision_recall_curve. Its
// area is average_precision(). Empty where average_precision() is undefined.
FULMAR_API Curve precision_recall_curve(std::span<const float> scores,
                                        std::span<const uint8_t> positive);

// The mean of y at every x ("macro average") over the curves that are not empty. Its area is the
// mean of their areas.
FULMAR_API Curve mean_curve(std::span<const Curve> curves);

FULMAR_API double area_under(const Curve& curve);

}  // namespace fulmar::model
