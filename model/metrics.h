#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/api.h"

namespace fulmar::model {

// Metrics of probabilities and labels, after scikit-learn's definitions (sklearn.metrics 1.9: the
// functions named below). An undefined metric is NaN.

// `scores`: higher means "rather positive"; `positive`: 1 or 0 for each. A NaN among the scores
// makes each of these NaN.

// Area under the ROC curve by trapezoids: the chance that a positive has a higher score than a
// negative, ties counting half (roc_auc_score). Undefined without positives or without negatives.
FULMAR_API double roc_auc(std::span<const float> scores, std::span<const uint8_t> positive);

// Area under the precision-recall curve as average precision, sum_n (R_n - R_{n-1}) P_n over
// falling distinct scores (average_precision_score). Keras' AUC(curve="PR") interpolates between
// 200 thresholds instead and gives other numbers. Undefined without positives.
FULMAR_API double average_precision(std::span<const float> scores,
                                    std::span<const uint8_t> positive);

struct BestThreshold {
  double threshold = 0.5;
  double f1 = 0;
};
// The threshold t for which "positive where score >= t" has the highest F1; scores are
// probabilities. It lies halfway between the lowest score called positive and the next lower one (0
// below the lowest of all). Ties of F1: nearest to 0.5, then the higher. Without positives: 0.5
// with F1 NaN.
FULMAR_API BestThreshold best_f1_threshold(std::span<const float> scores,
                                           std::span<const uint8_t> positive);

// A network's probabilities for the samples so far, with their labels: every metric is a function
// of them. Plain data, so that a run resumed within an epoch goes on with the same bits.
struct FULMAR_API Predictions {
  explicit Predictions(int64_t class_count = 2) : classes(class_count) {}

  int64_t classes;
  std::vector<int32_t> labels;       // [n]
  std::vector<float> probabilities;  // [n, classes]
  double loss_sum = 0;               // of loss x weight
  double weight_sum = 0;

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  // Error(usage) for a label that is no class, or not one probability for each class.
  void add(int64_t label, std::span<const float> sample_probabilities, double loss,
           double weight = 1);
  std::vector<float> scores_of(int64_t label) const;   // probability of a class, [n]
  std::vector<uint8_t> truth_of(int64_t label) const;  // 1 where the label is that class, [n]

  // Error(usage) where the arrays don't fit each other or a label is no class.
  void check() const;
};

struct ClassScores {
  int64_t support = 0;                       // samples of the class
  int64_t predicted = 0;                     // samples that the network calls so
  double precision = 0, recall = 0, f1 = 0;  // 0 where undefined (zero_division=0)
  double roc_auc = 0, pr_auc = 0;            // of its probability, against the rest
};

struct Averages {
  double precision = 0, recall = 0, f1 = 0;
};

struct Scores {
  int64_t samples = 0;
  double loss = 0;      // weighted mean; NaN without samples
  double accuracy = 0;  // NaN without samples
  std::vector<ClassScores> classes;
  Averages macro;                  // over all classes, those without samples included
  Averages weighted;               // by support
  std::vector<int64_t> confusion;  // [truth, predicted]
  // Errors and F1 of the positive class; with positive_class -1 both counts are 0 and f1 is NaN.
  int64_t false_positives = 0, false_negatives = 0;
  double f1 = 0;
  // Two classes: area for the positive class' probability. More classes: mean of each class against
  // the rest (roc_auc_score(multi_class="ovr"), average_precision_score of the binarised labels),
  // over the classes for which the area is defined.
  double roc_auc = 0, pr_auc = 0;
};

// The class that a picture is called. Two classes: the positive one where its probability is >=
// threshold. More classes: the most probable, the first of equals.
FULMAR_API int64_t decide(std::span<const float> probabilities, int64_t positive_class,
                          double threshold);

// `positive_class` is needed with two classes. Error(usage) where it is none of the classes.
FULMAR_API Scores score(const Predictions& predictions, int64_t positive_class,
                        double threshold = 0.5);

}  // namespace fulmar::model
