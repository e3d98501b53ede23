#pragma once

#include <type_traits>

#include "kernels/backend.h"

// The CPU kernels: float32, channels last. kernels/backend.h says what each does; each has the type
// of its line in that table.
namespace fulmar::cpu {

template <class Pointer>
using Function = std::remove_pointer_t<Pointer>;

Function<decltype(Backend::allocate)> allocate;
Function<decltype(Backend::release)> release;

#define FULMAR_DECLARE(name, ...) Function<decltype(Backend::name)> name;
FULMAR_KERNELS(FULMAR_DECLARE)
#undef FULMAR_DECLARE

#define FULMAR_DECLARE(name) Function<decltype(Backend::name##_workspace)> name##_workspace;
FULMAR_WORKSPACE_KERNELS(FULMAR_DECLARE)
#undef FULMAR_DECLARE

#define FULMAR_DECLARE(name, ...) Function<decltype(FusedKernels::name)> name;
FULMAR_FUSED_KERNELS(FULMAR_DECLARE)
#undef FULMAR_DECLARE

#define FULMAR_DECLARE(name) Function<decltype(FusedKernels::name##_workspace)> name##_workspace;
FULMAR_FUSED_WORKSPACE_KERNELS(FULMAR_DECLARE)
#undef FULMAR_DECLARE

Function<decltype(FusedKernels::convolution_samples)> convolution_samples;

}  // namespace fulmar::cpu
