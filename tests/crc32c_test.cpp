#include "engine/io/crc32c.h"

#include <doctest/doctest.h>

#include <numeric>
#include <string>
#include <vector>

using fulmar::crc32c;
using fulmar::crc32c_portable;

TEST_CASE("CRC-32C of the examples of RFC 3720, B.4") {
  std::vector<unsigned char> bytes(32, 0);
  for (const auto crc : {crc32c, crc32c_portable}) {
    std::fill(bytes.begin(), bytes.end(), 0);
    CHECK(crc(bytes.data(), 32, 0) == 0x8a9136aau);
    std::fill(bytes.begin(), bytes.end(), 255);
    CHECK(crc(bytes.data(), 32, 0) == 0x62a8ab43u);
    std::iota(bytes.begin(), bytes.end(), 0);
    CHECK(crc(bytes.data(), 32, 0) == 0x46dd794eu);
    CHECK(crc("123456789", 9, 0) == 0xe3069283u);
    CHECK(crc(nullptr, 0, 0) == 0);
  }
}

TEST_CASE("the two ways of computing it agree at every length and alignment, and pieces chain") {
  std::string bytes(300, ' ');
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<char>(i * 37 + i / 7);
  for (size_t begin = 0; begin < 9; begin++)
    for (size_t length = 0; length < 80; length++) {
      const char* at = bytes.data() + begin;
      const uint32_t whole = crc32c_portable(at, length);
      CHECK(crc32c(at, length) == whole);
      const size_t half = length / 3;
      CHECK(crc32c(at + half, length - half, crc32c(at, half)) == whole);
      CHECK(crc32c_portable(at + half, length - half, crc32c_portable(at, half)) == whole);
    }
}
