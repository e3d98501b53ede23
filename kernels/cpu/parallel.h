#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/backend.h"

namespace fulmar::cpu {

// Elements of a run of elementwise work: large enough to hide the hand-out, small enough to share.
constexpr int64_t elementwise_grain = 1 << 16;

// Calls body(begin, end, worker) for [0, count) in runs of `grain`, the last may be shorter. The
// split depends on count and grain only.
template <class Body>
void for_chunks(Stream& stream, int64_t count, int64_t grain, const Body& body) {
  stream.pool->run((count + grain - 1) / grain, [&](int64_t chunk, int worker) {
    body(chunk * grain, std::min(count, (chunk + 1) * grain), worker);
  });
}

// Rows of `row_elements` elements that make a chunk of about `elements`.
inline int64_t rows_per_chunk(int64_t row_elements, int64_t elements) {
  return std::max<int64_t>(1, elements / std::max<int64_t>(1, row_elements));
}

}  // namespace fulmar::cpu
