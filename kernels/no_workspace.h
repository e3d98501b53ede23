#pragma once

#include <cstddef>

#include "kernels/backend.h"

namespace fulmar {

// Of kernels that need no scratch memory: fits each `_workspace` line of the table.
template <class... Operands>
size_t no_workspace(Stream&, Operands...) {
  return 0;
}

}  // namespace fulmar
