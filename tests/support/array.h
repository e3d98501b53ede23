#pragma once

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "bench/op_table/uniform.h"
#include "kernels/view.h"

namespace fulmar::test {

// A contiguous tensor that owns its memory. Without values it starts as NaN, or what comes nearest.
template <class T>
struct Array {
  Shape shape;
  std::vector<T> values;

  explicit Array(const Shape& s)
      : shape(s),
        values(static_cast<size_t>(s.elements()), std::numeric_limits<T>::has_quiet_NaN
                                                      ? std::numeric_limits<T>::quiet_NaN()
                                                      : std::numeric_limits<T>::max()) {}
  Array(const Shape& s, std::vector<T> v) : shape(s), values(std::move(v)) {}

  View view() { return view_of(values.data(), shape, dtype_of<T>()); }
  T& operator[](int64_t i) { return values[static_cast<size_t>(i)]; }
};

using Reals = Array<double>;

using op_table::splitmix64;
using op_table::uniform_value;

inline Reals random_reals(const Shape& shape, uint64_t seed, double low = -1, double high = 1) {
  Reals array(shape);
  for (int64_t i = 0; i < shape.elements(); i++) array[i] = uniform_value(seed, i, low, high);
  return array;
}

inline double dot(const Reals& a, const Reals& b) {
  double sum = 0;
  for (size_t i = 0; i < a.values.size(); i++) sum += a.values[i] * b.values[i];
  return sum;
}

}  // namespace fulmar::test
