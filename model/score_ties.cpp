#include "model/score_ties.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "kernels/error.h"

namespace fulmar::model {

std::vector<Tie> ties_of(std::span<const float> scores, std::span<const uint8_t> positive) {
  if (scores.size() != positive.size())
    usage_error(std::to_string(scores.size()) + " scores for " + std::to_string(positive.size()) +
                " labels");
  if (std::any_of(scores.begin(), scores.end(), [](float s) { return std::isnan(s); })) return {};
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  std::vector<Tie> ties;
  for (const size_t i : order) {
    if (ties.empty() || ties.back().score != scores[i]) ties.push_back({scores[i], 0, 0});
    (positive[i] ? ties.back().positives : ties.back().negatives)++;
  }
  return ties;
}

}  // namespace fulmar::model
