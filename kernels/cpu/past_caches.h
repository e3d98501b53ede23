#pragma once

#include <cstdint>

#include "hwy/base.h"
#include "kernels/view.h"

namespace fulmar::cpu {

// Whether a kernel that stores vectors between much other work writes them past the caches: that
// pays for smaller tensors than where stores are all there is (stores-inl.h). Zen 4, against plain
// stores: the forward pass of `separable` takes 0.75 to 0.85 of its time from 16 MiB on and 0.9
// from 8 MiB on, `pool_skip` 0.91 to 0.96.
inline bool streams_between_work(const View& y) {
  constexpr int64_t least_bytes = int64_t{8} << 20;
  constexpr uintptr_t line = 64;
  return static_cast<int64_t>(y.bytes()) >= least_bytes &&
         reinterpret_cast<uintptr_t>(y.data) % line == 0;
}

// Asks for a line, into L2: few lines may be on their way to L1 at a time.
// Always inlined: GCC drops calls of a function that does nothing else.
HWY_INLINE void prefetch_far(const float* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace fulmar::cpu
