#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace fulmar::counted {

// A set-associative cache: lines of 128 bytes in four sectors of 32, the line that was used longest
// ago makes room.
class SectorCache {
 public:
  explicit SectorCache(uint64_t bytes);

  // Whether the sector was there; it is now.
  bool read(uint64_t sector) { return touch(sector, false); }
  // The same; what is written is written to memory later. Nothing is read for it.
  bool write(uint64_t sector) { return touch(sector, true); }
  void clear();

  // Sectors that were written to memory so far, for want of room.
  uint64_t written_back() const { return written_back_; }

 private:
  static constexpr uint64_t line_sectors = 4;
  static constexpr uint64_t ways = 16;
  struct Line {
    uint64_t number = ~uint64_t{0};
    uint64_t used = 0;             // the time
    uint8_t valid = 0, dirty = 0;  // a bit for each sector
  };
  using Set = std::array<Line, ways>;

  bool touch(uint64_t sector, bool writes);
  Set& set_of(uint64_t line) { return sets_[line % sets_.size()]; }

  std::vector<Set> sets_;
  uint64_t now_ = 0, written_back_ = 0;
};

}  // namespace fulmar::counted
