#pragma once

#include <cstdint>

#include "data/draws.h"

namespace fulmar::data::scenes {

// The draws of one scene, in the order in which they are asked for.
class Dice {
 public:
  explicit Dice(uint64_t seed) : seed_(seed) {}

  double uniform(double low, double high) {
    return low + (high - low) * fulmar::uniform(draw(seed_, Draw::scene, 0, count_++).word[0]);
  }
  bool chance(double p) { return uniform(0, 1) < p; }
  int64_t integer(int64_t low, int64_t high) {  // both included
    return low + below(draw(seed_, Draw::scene, 0, count_++).word[0], high - low + 1);
  }

 private:
  uint64_t seed_;
  uint64_t count_ = 0;
};

}  // namespace fulmar::data::scenes
