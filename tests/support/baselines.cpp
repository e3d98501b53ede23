#include "tests/support/baselines.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

namespace fulmar::test {

namespace {

double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// x of A x = b, A symmetric and positive, by Gauss' elimination.
std::vector<double> solve(Features a, std::vector<double> b) {
  const size_t n = b.size();
  for (size_t i = 0; i < n; i++)
    for (size_t row = i + 1; row < n; row++) {
      const double factor = a[row][i] / a[i][i];
      for (size_t column = i; column < n; column++) a[row][column] -= factor * a[i][column];
      b[row] -= factor * b[i];
    }
  for (size_t i = n; i-- > 0;) {
    for (size_t column = i + 1; column < n; column++) b[i] -= a[i][column] * b[column];
    b[i] /= a[i][i];
  }
  return b;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
  return sum;
}

// Each feature with mean 0 and spread 1 over the training samples, and a constant behind them.
std::pair<Features, Features> standardised(Features train, Features test) {
  for (size_t f = 0; f < train[0].size(); f++) {
    double mean = 0, squares = 0;
    for (const auto& sample : train) mean += sample[f] / static_cast<double>(train.size());
    for (const auto& sample : train) squares += (sample[f] - mean) * (sample[f] - mean);
    const double spread = std::sqrt(squares / static_cast<double>(train.size()));
    for (Features* samples : {&train, &test})
      for (auto& sample : *samples) sample[f] = spread > 0 ? (sample[f] - mean) / spread : 0;
  }
  for (Features* samples : {&train, &test})
    for (auto& sample : *samples) sample.push_back(1);
  return {train, test};
}

}  // namespace

double balanced_accuracy(const std::vector<int>& labels, const std::vector<int>& called) {
  double right[2] = {}, all[2] = {};
  for (size_t i = 0; i < labels.size(); i++) {
    all[labels[i]]++;
    right[labels[i]] += labels[i] == called[i];
  }
  return (right[0] / all[0] + right[1] / all[1]) / 2;
}

std::vector<int> logistic_regression(const Features& train, const std::vector<int>& labels,
                                     const Features& test) {
  const auto [x, x_test] = standardised(train, test);
  const size_t features = x[0].size();
  std::vector<double> weights(features);
  for (int step = 0; step < 25; step++) {
    Features hessian(features, std::vector<double>(features));
    std::vector<double> gradient(features);
    for (size_t f = 0; f < features; f++) {
      hessian[f][f] = f + 1 < features ? 1 : 1e-9;  // the constant is not held back
      gradient[f] = f + 1 < features ? -weights[f] : 0;
    }
    for (size_t i = 0; i < x.size(); i++) {
      const double p = 1 / (1 + std::exp(-dot(x[i], weights)));
      for (size_t f = 0; f < features; f++) {
        gradient[f] += (labels[i] - p) * x[i][f];
        for (size_t g = 0; g < features; g++) hessian[f][g] += p * (1 - p) * x[i][f] * x[i][g];
      }
    }
    const std::vector<double> change = solve(hessian, gradient);
    for (size_t f = 0; f < features; f++) weights[f] += change[f];
  }
  std::vector<int> called;
  for (const auto& sample : x_test) called.push_back(dot(sample, weights) > 0);
  return called;
}

std::vector<int> nearest_neighbour(const Features& train, const std::vector<int>& labels,
                                   const Features& test) {
  std::vector<int> called;
  for (const auto& sample : test) called.push_back(labels[nearest_of(train, sample)]);
  return called;
}

size_t nearest_of(const Features& centres, const std::vector<double>& sample) {
  size_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < centres.size(); i++) {
    const double distance = squared_distance(centres[i], sample);
    if (distance < least) {
      least = distance;
      best = i;
    }
  }
  return best;
}

Features k_means(const Features& samples, size_t k, int rounds) {
  Features centres;
  for (size_t i = 0; i < k; i++) centres.push_back(samples[i * samples.size() / k]);
  for (int round = 0; round < rounds; round++) {
    Features sums(k, std::vector<double>(samples[0].size()));
    std::vector<double> counts(k);
    for (const auto& sample : samples) {
      const size_t nearest = nearest_of(centres, sample);
      counts[nearest]++;
      for (size_t f = 0; f < sample.size(); f++) sums[nearest][f] += sample[f];
    }
    for (size_t i = 0; i < k; i++)
      if (counts[i] > 0)
        for (size_t f = 0; f < sums[i].size(); f++) centres[i][f] = sums[i][f] / counts[i];
  }
  return centres;
}

}  // namespace fulmar::test
