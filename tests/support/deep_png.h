#pragma once

#include <cstdint>
#include <string>

#include "engine/io/file.h"

namespace fulmar::test {

// Writes a grey PNG of 16 bits, uncompressed (RFC 2083, RFC 1950, RFC 1951), whose pixel (row,
// column) is what `grey` gives. Below 64 KiB.
template <class Grey>
void write_deep_png(const std::string& path, int side, const Grey& grey) {
  const auto big_endian = [](uint32_t value, int bytes) {
    std::string text;
    for (int i = bytes - 1; i >= 0; i--) text += static_cast<char>(value >> 8 * i);
    return text;
  };
  const auto chunk = [&](const std::string& type, const std::string& data) {
    uint32_t crc = ~0u;
    for (const char c : type + data) {
      crc ^= static_cast<uint8_t>(c);
      for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return big_endian(static_cast<uint32_t>(data.size()), 4) + type + data + big_endian(~crc, 4);
  };
  std::string rows;
  for (int row = 0; row < side; row++) {
    rows += '\0';  // no filter
    for (int column = 0; column < side; column++) rows += big_endian(grey(row, column), 2);
  }
  uint32_t low = 1, high = 0;  // Adler-32
  for (const char c : rows) {
    low = (low + static_cast<uint8_t>(c)) % 65521;
    high = (high + low) % 65521;
  }
  const auto size = static_cast<uint32_t>(rows.size());
  std::string stored = "\x78\x01\x01";  // one stored block, the last; its size is little endian
  for (const uint32_t word : {size, ~size}) {
    stored += static_cast<char>(word);
    stored += static_cast<char>(word >> 8);
  }
  stored += rows + big_endian(high << 16 | low, 4);
  const std::string header =
      big_endian(static_cast<uint32_t>(side), 4) + big_endian(static_cast<uint32_t>(side), 4);
  write_file(path, "\x89PNG\r\n\x1a\n" + chunk("IHDR", header + std::string("\x10\0\0\0\0", 5)) +
                       chunk("IDAT", stored) + chunk("IEND", ""));
}

}  // namespace fulmar::test
