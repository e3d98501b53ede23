#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fulmar::model {

// Samples of one score.
struct Tie {
  float score = 0;
  int64_t positives = 0, negatives = 0;
};

// The distinct scores, falling; empty where one is NaN. Error(usage) where scores and labels differ
// in number.
std::vector<Tie> ties_of(std::span<const float> scores, std::span<const uint8_t> positive);

}  // namespace fulmar::model
