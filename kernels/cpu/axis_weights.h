#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/scratch.h"

namespace fulmar::cpu {

// One axis of a separable resampling: each position's source positions and their weights. Average
// pooling, resizing and both gradients are such sums.
struct Weights {
  struct Entry {
    int64_t source;
    double weight;
  };
  Scratch<Scratch<Entry>> of;  // [position]

  // The gradient's axis: reads and writes change places, with the same weights.
  Weights transposed(int64_t sources) const {
    Weights result;
    result.of.resize(static_cast<size_t>(sources));
    for (size_t position = 0; position < of.size(); position++)
      for (const Entry& entry : of[position])
        result.of[entry.source].push_back({static_cast<int64_t>(position), entry.weight});
    return result;
  }
};

// Equal weights for a window's taps inside the source; none where all taps lie in padding.
inline Weights average_weights(int64_t out, int64_t in, int64_t kernel, int64_t stride,
                               int64_t dilation, int64_t before) {
  Weights weights;
  weights.of.resize(static_cast<size_t>(out));
  for (int64_t position = 0; position < out; position++) {
    Scratch<Weights::Entry>& entries = weights.of[position];
    for (int64_t k = 0; k < kernel; k++) {
      const int64_t source = position * stride - before + k * dilation;
      if (source >= 0 && source < in) entries.push_back({source, 1});
    }
    for (Weights::Entry& entry : entries) entry.weight = 1.0 / static_cast<double>(entries.size());
  }
  return weights;
}

inline Weights resize_weights(int64_t out, int64_t in, const Resize& how) {
  Weights weights;
  weights.of.resize(static_cast<size_t>(out));
  const double last = static_cast<double>(in - 1);
  for (int64_t i = 0; i < out; i++) {
    double position = 0;
    if (!how.align_corners)
      position =
          (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
    else if (out > 1)
      position = static_cast<double>(i) * last / static_cast<double>(out - 1);
    position = std::min(std::max(position, 0.0), last);
    if (how.interpolation == Interpolation::nearest) {
      const auto nearest = static_cast<int64_t>(std::floor(position + 0.5));
      weights.of[i].push_back({std::min(nearest, in - 1), 1});
      continue;
    }
    const auto left = static_cast<int64_t>(std::floor(position));
    const double fraction = position - static_cast<double>(left);
    weights.of[i].push_back({left, 1 - fraction});
    if (fraction > 0) weights.of[i].push_back({left + 1, fraction});
  }
  return weights;
}

}  // namespace fulmar::cpu
