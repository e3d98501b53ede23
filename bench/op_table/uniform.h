#pragma once

#include <cstdint>

namespace fulmar::op_table {

inline uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// Element i of stream `seed`, uniform in [low, high).
inline double uniform_value(uint64_t seed, int64_t i, double low, double high) {
  const uint64_t bits = splitmix64(splitmix64(seed) + static_cast<uint64_t>(i));
  return low + (high - low) * static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace fulmar::op_table
