#pragma once

#include <cstddef>
#include <vector>

// Simple classifiers that see no shapes: what they can tell, a network needs not understand.
namespace fulmar::test {

using Features = std::vector<std::vector<double>>;  // by sample

// Share of right answers, mean over both classes.
double balanced_accuracy(const std::vector<int>& labels, const std::vector<int>& called);

// Logistic regression on standardised features with a ridge of 1 (scikit-learn's default C), by
// Newton's method; what it calls the test samples.
std::vector<int> logistic_regression(const Features& train, const std::vector<int>& labels,
                                     const Features& test);

// The label of the nearest training sample, Euclidean.
std::vector<int> nearest_neighbour(const Features& train, const std::vector<int>& labels,
                                   const Features& test);

// Centres of `k` clusters by Lloyd's algorithm from evenly spaced samples.
Features k_means(const Features& samples, size_t k, int rounds);
size_t nearest_of(const Features& centres, const std::vector<double>& sample);

}  // namespace fulmar::test
