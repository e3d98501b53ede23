#include "model/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

double squared_error(std::span<const float> probabilities, int64_t label, int64_t positive_class) {
  double sum = 0;
  for (int64_t k = 0; k < std::ssize(probabilities); k++) {
    if (probabilities.size() == 2 && k != positive_class) continue;
    const double error = static_cast<double>(probabilities[static_cast<size_t>(k)]) - (k == label);
    sum += error * error;
  }
  return sum;
}

}  // namespace

Calibration calibration(const Predictions& predictions, int64_t positive_class, int64_t bins) {
  const int64_t classes = predictions.classes;
  if (positive_class < (classes == 2 ? 0 : -1) || positive_class >= classes)
    usage_error("positive class " + std::to_string(positive_class) + " is none of the " +
                std::to_string(classes) + " classes");
  if (bins < 1) usage_error("a calibration takes one bin or more");
  Calibration result;
  result.ece = result.brier = undefined;
  const std::vector<float>& all = predictions.probabilities;
  if (std::any_of(all.begin(), all.end(), [](float p) { return std::isnan(p); })) return result;

  const double width = 1 / static_cast<double>(bins);
  for (int64_t b = 0; b < bins; b++)
    result.bins.push_back(
        {static_cast<double>(b) * width, static_cast<double>(b + 1) * width, 0, 0, 0});
  result.bins.back().high = 1;
  double squares = 0;
  for (int64_t i = 0; i < predictions.size(); i++) {
    const std::span<const float> sample(&all[static_cast<size_t>(i * classes)],
                                        static_cast<size_t>(classes));
    const int64_t label = predictions.labels[static_cast<size_t>(i)];
    const int64_t called = classes == 2
                               ? positive_class
                               : std::max_element(sample.begin(), sample.end()) - sample.begin();
    const double p = sample[static_cast<size_t>(called)];
    const auto above = std::find_if(result.bins.begin(), result.bins.end() - 1,
                                    [p](const ReliabilityBin& bin) { return p <= bin.high; });
    above->count++;
    above->probability += p;
    above->frequency += called == label;
    squares += squared_error(sample, label, positive_class);
  }
  const auto samples = static_cast<double>(predictions.size());
  double error = 0;
  for (ReliabilityBin& bin : result.bins) {
    const auto count = static_cast<double>(bin.count);
    error += std::abs(bin.probability - bin.frequency);
    bin.probability = bin.count == 0 ? undefined : bin.probability / count;
    bin.frequency = bin.count == 0 ? undefined : bin.frequency / count;
  }
  if (predictions.size() == 0) return result;
  result.ece = error / samples;
  result.brier = squares / samples;
  return result;
}

}  // namespace fulmar::model
