#pragma once

#include <cstddef>

namespace fulmar::cpu {

// Memory of the calling thread, 64-byte aligned and kept from call to call. All tasks of a kernel
// read it (packed weights). There is one piece: the next request may move it.
float* caller_memory(size_t floats);

}  // namespace fulmar::cpu
