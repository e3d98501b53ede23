#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/training.h"

namespace fulmar::test {

// What NumPy would read.
struct Npy {
  std::vector<int64_t> shape;
  std::vector<float> values;

  explicit Npy(const std::string& path) {
    const std::string file = contents(path);
    REQUIRE(file.starts_with(std::string("\x93NUMPY\x01\x00", 8)));
    uint16_t length = 0;
    std::memcpy(&length, file.data() + 8, sizeof length);
    REQUIRE((10 + length) % 64 == 0);
    const std::string header = file.substr(10, length);
    REQUIRE(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': ("));
    std::istringstream extents(header.substr(header.find('(') + 1));
    for (std::string one; std::getline(extents, one, ',') && one[0] != ')';)
      shape.push_back(std::stoll(one));
    values.resize((file.size() - 10 - length) / sizeof(float));
    std::memcpy(values.data(), file.data() + 10 + length, values.size() * sizeof(float));
  }
  float at(int64_t row, int64_t column, int64_t channel = 0) const {
    const int64_t channels = shape.size() > 2 ? shape[2] : 1;
    return values[static_cast<size_t>((row * shape[1] + column) * channels + channel)];
  }
};

}  // namespace fulmar::test
