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
  for (std::vector<bool>& touched : range.touched) touched.resize(sectors);
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

bool GlobalMemory::first(uint64_t address, int direction) {
  Range* const range = find(address);
  if (!range) return true;
  range->clean = false;
  std::vector<bool>& touched = range->touched[direction];
  const uint64_t at = address / sector_bytes - range->begin / sector_bytes;
  const bool before = touched[at];
  touched[at] = true;
  return !before;
}

void GlobalMemory::begin() {
  for (auto& [end, range] : ranges_) {
    if (range.clean) continue;
    for (std::vector<bool>& touched : range.touched)
      std::fill(touched.begin(), touched.end(), false);
    range.clean = true;
  }
}

}  // namespace fulmar::counted
