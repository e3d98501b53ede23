#pragma once

#include <cstdint>
#include <string>

#include "engine/io/file.h"

namespace fulmar::test {

// Writes a 24-bit BMP whose pixel (row, column) is the 0xRRGGBB that `colour` gives.
template <class Colour>
void write_bitmap(const std::string& path, int height, int width, const Colour& colour) {
  const int row_bytes = (3 * width + 3) / 4 * 4;
  std::string file = "BM";
  const auto put = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) file += static_cast<char>(value >> 8 * i);
  };
  put(static_cast<uint32_t>(54 + height * row_bytes), 4);
  put(0, 4);
  put(54, 4);
  put(40, 4);
  put(static_cast<uint32_t>(width), 4);
  put(static_cast<uint32_t>(height), 4);
  put(1, 2);
  put(24, 2);
  file.resize(54);
  for (int row = height - 1; row >= 0; row--) {
    for (int column = 0; column < width; column++) put(colour(row, column), 3);
    file.resize(file.size() + static_cast<size_t>(row_bytes - 3 * width));
  }
  write_file(path, file);
}

}  // namespace fulmar::test
