#pragma once

#include <algorithm>
#include <cstddef>

namespace fulmar::test {

// Guard bytes before and behind a piece of memory, which nothing may write.
constexpr size_t guard_bytes = 256;
constexpr std::byte guard_pattern{0xc5};

// What is asked for between two guards: guarded_bytes(bytes) of memory at `all` hold it at
// all + guard_bytes. It starts as 0xff bytes, which are NaN as f32, f64 and bf16.
constexpr size_t guarded_bytes(size_t bytes) { return bytes + 2 * guard_bytes; }

inline void set_guards(std::byte* all, size_t bytes) {
  std::fill_n(all, guard_bytes, guard_pattern);
  std::fill_n(all + guard_bytes, bytes, std::byte{0xff});
  std::fill_n(all + guard_bytes + bytes, guard_bytes, guard_pattern);
}

inline bool guards_intact(const std::byte* all, size_t bytes) {
  const auto is_pattern = [](std::byte b) { return b == guard_pattern; };
  return std::all_of(all, all + guard_bytes, is_pattern) &&
         std::all_of(all + guard_bytes + bytes, all + guarded_bytes(bytes), is_pattern);
}

}  // namespace fulmar::test
