#pragma once

#include <libdeflate.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/image_format.h"

namespace fulmar::fuzz {

// A PNG with right checksums, which let the fuzzer behind them.
inline std::vector<uint8_t> mended_png(const uint8_t* bytes, size_t size) {
  std::vector<uint8_t> file(bytes, bytes + size);
  for (size_t at = 8; at + 12 <= file.size();) {
    const size_t length = data::big_endian(file, at, 4);
    if (length > file.size() - at - 12) break;
    const uint32_t sum = libdeflate_crc32(0, file.data() + at + 4, length + 4);
    for (size_t i = 0; i < 4; i++)
      file[at + 8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    at += length + 12;
  }
  return file;
}

}  // namespace fulmar::fuzz
