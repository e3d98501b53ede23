#pragma once

#include <cstdint>

#include "kernels/random.h"

namespace fulmar::data {

// The purpose of a random draw of this folder. It stands in the counter's top bits, so that no two
// draws of a run share a counter.
enum class Draw : uint64_t {
  augment = 1,
  speckle,
  coin,
  class_order,
  epoch_order,
  split,
  scene,
  scene_speckle,
  patch,
  cutmix,
  cutmix_patch
};

inline RandomBits draw(uint64_t seed, Draw purpose, uint64_t high, uint64_t low) {
  return philox(seed, static_cast<uint64_t>(purpose) << 56 | high, low);
}

// An integer in [0, n), n < 2^31; no value is more likely than another by more than n / 2^32.
inline int64_t below(uint32_t word, int64_t n) {
  return static_cast<int64_t>(uint64_t{word} * static_cast<uint64_t>(n) >> 32);
}

}  // namespace fulmar::data
