#pragma once

#include <vector>

#include "kernels/counted/counts.h"

namespace fulmar::bench {

// Adds `more` to a sum over launches.
void add(counted::Launch& sum, const counted::Launch& more);

// The launches of the same work on `pixels`, from what was counted on two smaller sizes. Launches
// belong together by kernel and turn; a count goes on along the line through the two, so that what
// depends on weights alone stays. A kernel that the two sizes do not launch equally often (sums are
// split by their rows) grows as the pixels do.
// What L2 kept from launch to launch at the small sizes says nothing of the large one: each launch
// reads and writes memory once for every sector that it touches.
struct CountedSize {
  double pixels;
  std::vector<counted::Launch> launches;
};
std::vector<counted::Launch> scaled_to(double pixels, const CountedSize& small,
                                       const CountedSize& large);

}  // namespace fulmar::bench
