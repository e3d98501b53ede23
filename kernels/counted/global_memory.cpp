#include "kernels/counted/global_memory.h"

#include <algorithm>

#include "kernels/counted/counts.h"

namespace fulmar::counted {

void GlobalMemory::add(const void* memory, size_t bytes) {
  if (bytes == 0) return;
  Range range;
  range.begin = reinterpret_cast<uint64_t>(memory);
  range.end = range.begin + bytes;
  const uint64_t sectors = (range.end - 1) / sector_bytes - range.begin / sector_bytes + 1;
  for (std::vector<uint8_t>& touched : range.touched) touched.resize(sectors);
  ranges_[range.end] = std::move(range);
  latest_ = nullptr;
}

void GlobalMemory::remove(const void* memory) {
  if (const Range* range = find(reinterpret_cast<uint64_t>(memory))) ranges_.erase(range->end);
  latest_ = nullptr;
}

GlobalMemory::Range* GlobalMemory::find(uint64_t address) {
  if (latest_ && address >= latest_->begin && address < latest_->end) return latest_;
  const auto at = ranges_.upper_bound(address);
  if (at == ranges_.end() || address < at->second.begin) return nullptr;
  return latest_ = &at->second;
}

bool GlobalMemory::holds(uint64_t address) { return find(address) != nullptr; }

GlobalMemory::Touch GlobalMemory::touch(uint64_t address, int direction, uint8_t part) {
  constexpr uint8_t several = 255;
  Range* const range = find(address);
  if (!range) return Touch::first;
  const uint64_t at = address / sector_bytes - range->begin / sector_bytes;
  range->from = std::min(range->from, at);
  range->past = std::max(range->past, at + 1);
  uint8_t& touched = range->touched[direction][at];
  const auto own = static_cast<uint8_t>(part + 1);
  const uint8_t before = touched;
  if (before == own || before == several) return Touch::again;
  touched = before == 0 ? own : several;
  return before == 0 ? Touch::first : Touch::shared;
}

void GlobalMemory::begin() {
  for (auto& [end, range] : ranges_) {
    if (range.from >= range.past) continue;
    for (std::vector<uint8_t>& touched : range.touched)
      std::fill(touched.begin() + static_cast<std::ptrdiff_t>(range.from),
                touched.begin() + static_cast<std::ptrdiff_t>(range.past), uint8_t{0});
    range.from = ~uint64_t{0};
    range.past = 0;
  }
}

}  // namespace fulmar::counted
