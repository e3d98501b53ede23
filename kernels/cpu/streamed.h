#pragma once

#include "kernels/backend.h"

namespace fulmar::cpu {

// Copies contiguous memory (bytes a multiple of 4) and fills a contiguous float tensor, with all
// threads; large ones past the caches.
void copy_flat(Stream&, const View& x, const View& y);
void fill_flat(Stream&, const View& y, float value);

}  // namespace fulmar::cpu
