#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace fulmar::counted {

// The device's memory: what was allocated, and which of its sectors a launch has touched.
class GlobalMemory {
 public:
  void add(const void* memory, size_t bytes);
  void remove(const void* memory);

  bool holds(uint64_t address);

  // What a sector was since begin(), read or written, by parts of a launch: 0 to 253.
  enum class Touch : uint8_t {
    first,   // now for the first time
    again,   // by this part before, or by several
    shared,  // now by a second part
  };
  Touch read(uint64_t address, uint8_t part) { return touch(address, 0, part); }
  Touch write(uint64_t address, uint8_t part) { return touch(address, 1, part); }
  void begin();

 private:
  struct Range {
    uint64_t begin = 0, end = 0;
    // By sector: read, written; 0, a part's number and 1, or 255 by several.
    std::vector<uint8_t> touched[2];
    uint64_t from = ~uint64_t{0}, past = 0;  // these sectors may be touched
  };
  Range* find(uint64_t address);
  Touch touch(uint64_t address, int direction, uint8_t part);

  std::map<uint64_t, Range> ranges_;  // by their ends
  Range* latest_ = nullptr;           // most accesses lie where the last one lay
};

}  // namespace fulmar::counted
