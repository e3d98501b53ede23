#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/counted/counts.h"

namespace fulmar::counted {

enum class Kind : uint8_t { load, store, atomic };
enum class Space : uint8_t { global, shared };

// What the lanes of a warp ask for at one place at one time.
struct Request {
  Kind kind;
  Space space;
  uint8_t bytes;       // of a lane: at most 16
  uint32_t lanes = 0;  // a bit for each that takes part
  std::array<uint64_t, 32> address{};
};

// The sectors of a request, ascending, and which of their bytes are used.
struct Sectors {
  struct Sector {
    uint64_t number;
    uint32_t bytes;  // a bit for each
  };
  std::array<Sector, 64> list;  // a lane's bytes lie in two sectors at most
  size_t count = 0;
  uint64_t used_bytes() const;
};
Sectors sectors_of(const Request& request);

// Adds a request to shared memory.
void add_shared(const Request& request, Shared& shared);

// Rounds that an atomic request takes: the most lanes at one address.
uint64_t atomic_rounds(const Request& request);

}  // namespace fulmar::counted
