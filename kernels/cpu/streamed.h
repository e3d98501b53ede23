#pragma once

#include "kernels/backend.h"

namespace fulmar::cpu {

// Contiguous memory, with all threads; large outputs past the caches.

// Of one type (bytes a multiple of 4), or between float and bf16.
void copy_flat(Stream&, const View& x, const View& y);
// y = x, both float, rounded to bf16.
void round_flat(Stream&, const View& x, const View& y);
void fill_flat(Stream&, const View& y, float value);  // float

}  // namespace fulmar::cpu
