#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

namespace fulmar::test {

// A TIFF of one page put together by hand, to have anything wrong with it: little endian, the data
// from byte 8 on, then the page, whose tags are all single numbers of 32 bits.
struct Tiff {
  std::string data;
  std::map<int, uint32_t> tags;
  std::map<int, std::array<uint16_t, 2>>
      pairs;               // tags of two numbers of 16 bits, behind the others
  uint32_t next_page = 0;  // its place in the file; 0xffffffff: this page itself

  Tiff& set(int tag, uint32_t value) {
    tags[tag] = value;
    return *this;
  }

  std::string bytes() const {
    std::string file = "II*";
    const auto put = [&](uint32_t value, int count) {
      for (int i = 0; i < count; i++) file += static_cast<char>(value >> 8 * i);
    };
    const auto page = static_cast<uint32_t>(8 + data.size());
    put(0, 1);
    put(page, 4);
    file += data;
    put(static_cast<uint32_t>(tags.size() + pairs.size()), 2);
    for (const auto& [tag, value] : tags) {
      // Numbers that the standard wants in 16 bits, and places and extents in 32.
      const bool wide = tag == 256 || tag == 257 || tag == 273 || tag == 278 || tag == 279 ||
                        (tag >= 322 && tag <= 325);
      put(static_cast<uint32_t>(tag), 2);
      put(wide ? 4 : 3, 2);
      put(1, 4);
      put(value, 4);
    }
    for (const auto& [tag, values] : pairs) {
      put(static_cast<uint32_t>(tag), 2);
      put(3, 2);
      put(2, 4);
      put(values[0], 2);
      put(values[1], 2);
    }
    put(next_page == 0xffffffff ? page : next_page, 4);
    return file;
  }
};

}  // namespace fulmar::test
