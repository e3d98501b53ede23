#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/host_device.h"

namespace fulmar {

FULMAR_HOST_DEVICE inline double as_number(double value) { return value; }
FULMAR_HOST_DEVICE inline float as_number(float value) { return value; }
FULMAR_HOST_DEVICE inline float as_number(bf16 value) { return to_float(value); }

// The place of the largest of `count` values, at least one: the first of equals, and the first NaN
// before all.
template <class T>
FULMAR_HOST_DEVICE inline int64_t first_largest(const T* values, int64_t count) {
  int64_t place = 0;
  auto largest = as_number(values[0]);
  for (int64_t k = 1; k < count && largest <= INFINITY; k++) {  // a NaN ends it
    const auto value = as_number(values[k]);
    if (!(value <= largest)) place = k, largest = value;  // larger, or NaN
  }
  return place;
}

}  // namespace fulmar
