#include "model/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/error.h"
#include "model/score_ties.h"

namespace fulmar::model {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Mean of what is defined.
class Mean {
 public:
  void add(double value) {
    if (std::isnan(value)) return;
    sum_ += value;
    count_++;
  }
  double value() const { return count_ == 0 ? undefined : sum_ / count_; }

 private:
  double sum_ = 0;
  int count_ = 0;
};

}  // namespace

double roc_auc(std::span<const float> scores, std::span<const uint8_t> positive) {
  int64_t positives = 0, negatives = 0, twice_won = 0;
  for (const Tie& tie : ties_of(scores, positive)) {
    twice_won += tie.negatives * (2 * positives + tie.positives);
    positives += tie.positives;
    negatives += tie.negatives;
  }
  if (positives == 0 || negatives == 0) return undefined;
  return static_cast<double>(twice_won) /
         (2 * static_cast<double>(positives) * static_cast<double>(negatives));
}

double average_precision(std::span<const float> scores, std::span<const uint8_t> positive) {
  int64_t positives = 0, called = 0;
  double sum = 0;
  for (const Tie& tie : ties_of(scores, positive)) {
    positives += tie.positives;
    called += tie.positives + tie.negatives;
    sum += static_cast<double>(tie.positives) * ratio(positives, called);
  }
  return positives == 0 ? undefined : sum / static_cast<double>(positives);
}

BestThreshold best_f1_threshold(std::span<const float> scores, std::span<const uint8_t> positive) {
  const std::vector<Tie> ties = ties_of(scores, positive);
  int64_t all_positives = 0;
  for (const Tie& tie : ties) all_positives += tie.positives;
  if (all_positives == 0) return {0.5, undefined};

  // F1 = 2 TP / (called + positives) is compared as a fraction, so that equals are equal.
  double threshold = 0.5;
  int64_t best_hits = -1, best_sum = 1, hits = 0, called = 0;
  for (size_t i = 0; i < ties.size(); i++) {
    hits += ties[i].positives;
    called += ties[i].positives + ties[i].negatives;
    const int64_t sum = called + all_positives;
    const double next = i + 1 < ties.size() ? ties[i + 1].score : 0;
    const double between = (static_cast<double>(ties[i].score) + next) / 2;
    const int64_t left = hits * best_sum, right = best_hits * sum;
    if (left < right) continue;
    if (left == right && std::abs(between - 0.5) >= std::abs(threshold - 0.5)) continue;
    threshold = between;
    best_hits = hits;
    best_sum = sum;
  }
  return {threshold, 2 * ratio(best_hits, best_sum)};
}

void Predictions::add(int64_t label, std::span<const float> sample_probabilities, double loss,
                      double weight) {
  if (label < 0 || label >= classes)
    usage_error("label " + std::to_string(label) + " is none of the " + std::to_string(classes) +
                " classes");
  if (static_cast<int64_t>(sample_probabilities.size()) != classes)
    usage_error(std::to_string(sample_probabilities.size()) + " probabilities for " +
                std::to_string(classes) + " classes");
  labels.push_back(static_cast<int32_t>(label));
  probabilities.insert(probabilities.end(), sample_probabilities.begin(),
                       sample_probabilities.end());
  loss_sum += loss * weight;
  weight_sum += weight;
}

std::vector<float> Predictions::scores_of(int64_t label) const {
  std::vector<float> scores;
  for (int64_t i = 0; i < size(); i++)
    scores.push_back(probabilities[static_cast<size_t>(i * classes + label)]);
  return scores;
}

std::vector<uint8_t> Predictions::truth_of(int64_t label) const {
  std::vector<uint8_t> truth;
  for (const int32_t own : labels) truth.push_back(own == label);
  return truth;
}

void Predictions::check() const {
  const bool labels_fit =
      std::all_of(labels.begin(), labels.end(), [&](int32_t l) { return l >= 0 && l < classes; });
  if (!labels_fit || probabilities.size() != labels.size() * static_cast<size_t>(classes))
    usage_error("predictions with " + std::to_string(labels.size()) + " labels and " +
                std::to_string(probabilities.size()) + " probabilities don't fit " +
                std::to_string(classes) + " classes");
}

int64_t decide(std::span<const float> probabilities, int64_t positive_class, double threshold) {
  if (probabilities.size() == 2) {
    const bool is_positive =
        static_cast<double>(probabilities[static_cast<size_t>(positive_class)]) >= threshold;
    return is_positive ? positive_class : 1 - positive_class;
  }
  return std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin();
}

Scores score(const Predictions& predictions, int64_t positive_class, double threshold) {
  const int64_t classes = predictions.classes;
  if (positive_class < (classes == 2 ? 0 : -1) || positive_class >= classes)
    usage_error("positive class " + std::to_string(positive_class) + " is none of the " +
                std::to_string(classes) + " classes");
  Scores scores;
  scores.samples = predictions.size();
  scores.loss =
      predictions.weight_sum > 0 ? predictions.loss_sum / predictions.weight_sum : undefined;
  scores.classes.resize(static_cast<size_t>(classes));
  scores.confusion.assign(static_cast<size_t>(classes * classes), 0);
  for (int64_t i = 0; i < predictions.size(); i++) {
    const std::span<const float> sample(
        &predictions.probabilities[static_cast<size_t>(i * classes)], static_cast<size_t>(classes));
    const int64_t truth = predictions.labels[static_cast<size_t>(i)];
    scores.confusion[static_cast<size_t>(truth * classes +
                                         decide(sample, positive_class, threshold))]++;
  }
  const auto count = [&](int64_t truth, int64_t predicted) {
    return scores.confusion[static_cast<size_t>(truth * classes + predicted)];
  };

  int64_t right = 0;
  for (int64_t k = 0; k < classes; k++) {
    ClassScores& own = scores.classes[static_cast<size_t>(k)];
    for (int64_t other = 0; other < classes; other++) {
      own.support += count(k, other);
      own.predicted += count(other, k);
    }
    const int64_t hits = count(k, k);
    right += hits;
    own.precision = ratio(hits, own.predicted);
    own.recall = ratio(hits, own.support);
    own.f1 = ratio(2 * hits, own.support + own.predicted);
    const auto add = [&own](Averages& to, double weight) {
      to.precision += weight * own.precision;
      to.recall += weight * own.recall;
      to.f1 += weight * own.f1;
    };
    add(scores.macro, 1 / static_cast<double>(classes));
    add(scores.weighted, ratio(own.support, scores.samples));
  }
  scores.accuracy = scores.samples == 0 ? undefined : ratio(right, scores.samples);

  scores.f1 = undefined;
  if (positive_class >= 0) {
    const ClassScores& own = scores.classes[static_cast<size_t>(positive_class)];
    scores.f1 = own.f1;
    scores.false_positives = own.predicted - count(positive_class, positive_class);
    scores.false_negatives = own.support - count(positive_class, positive_class);
  }
  Mean roc, pr;
  for (int64_t k = 0; k < classes; k++) {
    ClassScores& own = scores.classes[static_cast<size_t>(k)];
    const std::vector<float> probabilities = predictions.scores_of(k);
    const std::vector<uint8_t> truth = predictions.truth_of(k);
    own.roc_auc = roc_auc(probabilities, truth);
    own.pr_auc = average_precision(probabilities, truth);
    if (classes == 2 && k != positive_class) continue;
    roc.add(own.roc_auc);
    pr.add(own.pr_auc);
  }
  scores.roc_auc = roc.value();
  scores.pr_auc = pr.value();
  return scores;
}

}  // namespace fulmar::model
