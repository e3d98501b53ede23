#pragma once

#include <type_traits>

#include "kernels/backend.h"

// The kernels of the reference device: float64, one loop per formula. kernels/backend.h gives
// shapes and meanings; each kernel has the type of its line in that table.
namespace fulmar::reference {

template <class Pointer>
using Function = std::remove_pointer_t<Pointer>;

#define FULMAR_DECLARE(name, ...) Function<decltype(Backend::name)> name;
FULMAR_KERNELS(FULMAR_DECLARE)
#undef FULMAR_DECLARE

}  // namespace fulmar::reference
