#pragma once

#include <cstddef>

#include "kernels/backend.h"

namespace fulmar {

// The `_workspace` line of kernels that need no scratch memory.
template <class... Operands>
size_t no_workspace(Stream&, Operands...) {
  return 0;
}

}  // namespace fulmar
