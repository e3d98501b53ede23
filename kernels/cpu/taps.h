#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/cpu/scratch.h"

namespace fulmar::cpu {

// Along one axis: tap `k` of a window that reads position `source`.
struct AxisTap {
  int32_t k = 0, source = 0;
};

// The pairs of tap and position along one axis, without the taps that fall into padding.
class AxisTaps {
 public:
  int64_t positions() const { return static_cast<int64_t>(begin_.size()) - 1; }
  std::span<const AxisTap> of(int64_t position) const {
    return {taps_.data() + begin_[position], taps_.data() + begin_[position + 1]};
  }

  // Output positions [0, out) reading input positions: source = position * stride - before + k *
  // dilation, inside [0, in).
  static AxisTaps window(int64_t out, int64_t in, int64_t kernel, int64_t stride, int64_t dilation,
                         int64_t before) {
    AxisTaps taps;
    for (int64_t position = 0; position < out; position++) {
      for (int64_t k = 0; k < kernel; k++) {
        const int64_t source = position * stride - before + k * dilation;
        if (source >= 0 && source < in) taps.add(k, source);
      }
      taps.begin_.push_back(taps.taps_.size());
    }
    return taps;
  }

  // The other way round: input positions [0, in) and the output positions that read them.
  static AxisTaps transposed(int64_t in, int64_t out, int64_t kernel, int64_t stride,
                             int64_t dilation, int64_t before) {
    AxisTaps taps;
    for (int64_t position = 0; position < in; position++) {
      for (int64_t k = 0; k < kernel; k++) {
        const int64_t at = position + before - k * dilation;
        if (at >= 0 && at % stride == 0 && at / stride < out) taps.add(k, at / stride);
      }
      taps.begin_.push_back(taps.taps_.size());
    }
    return taps;
  }

  // Positions first, first + step, ... whose taps are those of `first`, the sources `source_step`
  // further each time. Runs of at most `most` positions, in the order in which memory lies: the
  // `step` interleaved ones of a stretch, then those of the next.
  struct Run {
    int64_t first, step, count, source_step;
    bool is_dense() const { return step == 1 && source_step == 1; }
  };
  Scratch<Run> runs(int64_t step, int64_t source_step, int64_t most) const {
    Scratch<Run> runs;
    for (int64_t base = 0; base < positions(); base += most * step)
      for (int64_t phase = base; phase < std::min(base + step, positions()); phase++)
        for (int64_t at = phase; at < std::min(base + most * step, positions()); at += step)
          if (at > phase && continues(at - step, at, source_step))
            runs.back().count++;
          else
            runs.push_back({at, step, 1, source_step});
    return runs;
  }

 private:
  void add(int64_t k, int64_t source) {
    taps_.push_back({static_cast<int32_t>(k), static_cast<int32_t>(source)});
  }
  bool continues(int64_t before, int64_t after, int64_t source_step) const {
    const auto a = of(before), b = of(after);
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); i++)
      if (a[i].k != b[i].k || a[i].source + source_step != b[i].source) return false;
    return true;
  }

  Scratch<AxisTap> taps_;
  Scratch<size_t> begin_{0};
};

}  // namespace fulmar::cpu
