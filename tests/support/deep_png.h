#pragma once

#include <cstdint>
#include <string>

#include "engine/io/file.h"

namespace fulmar::test {

// A PNG, uncompressed (RFC 2083, RFC 1950, RFC 1951), of rows as they are stored, each behind a
// zero byte (no filter). Below 64 KiB. `colours`: a palette's, three bytes each; empty: none.
inline std::string png_bytes(int height, int width, int bits, int colour_type,
                             const std::string& colours, const std::string& rows) {
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
  std::string header =
      big_endian(static_cast<uint32_t>(width), 4) + big_endian(static_cast<uint32_t>(height), 4);
  header += static_cast<char>(bits);
  header += static_cast<char>(colour_type);
  header += std::string(3, '\0');
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) +
         (colours.empty() ? "" : chunk("PLTE", colours)) + chunk("IDAT", stored) +
         chunk("IEND", "");
}

// Writes a grey PNG of 16 bits whose pixel (row, column) is what `grey` gives.
template <class Grey>
void write_deep_png(const std::string& path, int side, const Grey& grey) {
  std::string rows;
  for (int row = 0; row < side; row++) {
    rows += '\0';
    for (int column = 0; column < side; column++) {
      const auto value = static_cast<uint32_t>(grey(row, column));
      rows += static_cast<char>(value >> 8);
      rows += static_cast<char>(value);
    }
  }
  write_file(path, png_bytes(side, side, 16, 0, "", rows));
}

// Writes a PNG of `bits` bits (8 or fewer), in palette or in grey, whose stored number at (row,
// column) is what `place` gives.
template <class Place>
void write_label_png(const std::string& path, int height, int width, int bits, bool palette,
                     const Place& place) {
  std::string rows, colours;
  for (int row = 0; row < height; row++) {
    rows += '\0';
    uint32_t packed = 0;
    int filled = 0;
    for (int column = 0; column < width; column++) {
      packed = packed << bits | static_cast<uint32_t>(place(row, column));
      filled += bits;
      if (filled < 8 && column + 1 < width) continue;
      rows += static_cast<char>(packed << (8 - filled));
      packed = 0;
      filled = 0;
    }
  }
  for (int i = 0; palette && i < 1 << bits; i++)
    for (const int part : {7 * i, 255 - i, 3}) colours += static_cast<char>(part);
  write_file(path, png_bytes(height, width, bits, palette ? 3 : 0, colours, rows));
}

}  // namespace fulmar::test
