#include "kernels/counted/sector_cache.h"

#include <algorithm>
#include <bit>

namespace fulmar::counted {

SectorCache::SectorCache(uint64_t bytes)
    : sets_(std::max<uint64_t>(1, bytes / (ways * line_sectors * 32))) {}

bool SectorCache::touch(uint64_t sector, bool writes) {
  const uint64_t number = sector / line_sectors;
  const auto bit = static_cast<uint8_t>(1u << (sector % line_sectors));
  Set& set = set_of(number);
  auto line = std::find_if(set.begin(), set.end(),
                           [&](const Line& l) { return l.valid && l.number == number; });
  if (line == set.end()) {
    line = std::min_element(set.begin(), set.end(),
                            [](const Line& a, const Line& b) { return a.used < b.used; });
    written_back_ += static_cast<uint64_t>(std::popcount(line->dirty));
    *line = {number, 0, 0, 0};
  }
  const bool hit = line->valid & bit;
  line->used = ++now_;
  line->valid |= bit;
  if (writes) line->dirty |= bit;
  return hit;
}

void SectorCache::clear() { std::fill(sets_.begin(), sets_.end(), Set{}); }

}  // namespace fulmar::counted
