#pragma once

#include <cstdint>
#include <vector>

#include "data/pictures.h"

namespace fulmar::data {

// Statistics of one band over the valid pixels of many pictures: not NaN, infinite or nodata.
struct BandStatistics {
  int64_t pixels = 0, valid = 0;
  int64_t upper = 0;  // valid values above the middle of 8 or 16 bits; of float32 not counted
  double mean = 0, deviation = 0;  // of the valid ones; the deviation divides by their number
};

// Statistics of all pictures, by band; the same bits for any threads. `progress` may be empty.
// Error(file): pictures that can't be read.
std::vector<BandStatistics> measure_bands(const Pictures& pictures, ThreadPool& pool,
                                          const Progress& progress = {});

}  // namespace fulmar::data
