#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace fulmar::model::explain {

// What one row or column of a map reads of another: two neighbours.
struct Tap {
  int64_t low = -1, high = -1;  // -1: none, and 0 is written
  double share = 0;             // of `high`

  // At a place counted in pixels' centres; beyond the first and the last one, these.
  static Tap at(double place, int64_t extent) {
    const double inside = std::clamp(place, 0.0, static_cast<double>(extent - 1));
    const auto low = static_cast<int64_t>(inside);
    return {low, std::min(low + 1, extent - 1), inside - static_cast<double>(low)};
  }
};

// A map [.., width, channels] read at these rows and columns.
inline std::vector<float> bilinear(std::span<const float> map, int64_t width, int64_t channels,
                                   std::span<const Tap> rows, std::span<const Tap> columns) {
  const auto value = [&](int64_t y, int64_t x, int64_t channel) {
    return static_cast<double>(map[static_cast<size_t>((y * width + x) * channels + channel)]);
  };
  std::vector<float> result;
  result.reserve(rows.size() * columns.size() * static_cast<size_t>(channels));
  for (const Tap& r : rows)
    for (const Tap& c : columns)
      for (int64_t k = 0; k < channels; k++) {
        if (r.low < 0 || c.low < 0) {
          result.push_back(0);
          continue;
        }
        const double low =
            value(r.low, c.low, k) * (1 - c.share) + value(r.low, c.high, k) * c.share;
        const double high =
            value(r.high, c.low, k) * (1 - c.share) + value(r.high, c.high, k) * c.share;
        result.push_back(static_cast<float>(low * (1 - r.share) + high * r.share));
      }
  return result;
}

}  // namespace fulmar::model::explain
