#pragma once

#include <cstdint>
#include <string_view>

namespace fulmar {

// FNV-1a (Fowler, Noll, Vo), 64 bits. Pass the hash of earlier text as `hash` to continue it.
constexpr uint64_t fnv1a(std::string_view text, uint64_t hash = 14695981039346656037u) {
  for (const char letter : text)
    hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211u;
  return hash;
}

}  // namespace fulmar
