#pragma once

#include <array>
#include <cstdint>

namespace fulmar::simt {

constexpr unsigned lanes_per_warp = 32;

// A lane's part in an operation of its warp: its operands, and its results. The last lane to come
// completes the operation for all; `present` has a bit for each lane that took part.
struct WarpCall {
  using Lanes = std::array<WarpCall*, lanes_per_warp>;
  void (*complete)(const Lanes& lanes, uint32_t present);
  bool orders_memory = false;
  uint64_t value = 0;  // brought
  int source = 0;      // the lane whose value is wanted
  uint64_t result = 0;
};

// The value of `source`; all bits set (NaN) where that lane takes no part.
uint64_t shuffle(const char* what, uint32_t mask, uint64_t value, int source, const char* file,
                 int line);
// A bit for each lane that brings a predicate.
uint32_t ballot(const char* what, uint32_t mask, bool predicate, const char* file, int line);
void sync_warp(uint32_t mask, const char* file, int line);
int this_lane();

}  // namespace fulmar::simt
