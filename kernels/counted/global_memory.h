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

  // Whether this is the first time since begin() that the sector of an address is read, or written.
  bool first_read(uint64_t address) { return first(address, 0); }
  bool first_write(uint64_t address) { return first(address, 1); }
  void begin();

 private:
  struct Range {
    uint64_t begin = 0, end = 0;
    std::vector<bool> touched[2];  // by sector: read, written
    bool clean = true;
  };
  Range* find(uint64_t address);
  bool first(uint64_t address, int direction);

  std::map<uint64_t, Range> ranges_;  // by their ends
  Range* latest_ = nullptr;           // most accesses lie where the last one lay
};

}  // namespace fulmar::counted
