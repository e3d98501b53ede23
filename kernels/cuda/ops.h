#pragma once

#include <type_traits>

#include "kernels/backend.h"

// The host's side of the hand-written CUDA kernels. Each has the type of its line in the table of
// kernels/backend.h, which gives shapes and meanings. Activations are float32 or bf16, by the type
// of the views. One source serves nvcc and the emulator, except for memory.
namespace fulmar::cuda {

template <class Pointer>
using Function = std::remove_pointer_t<Pointer>;

// Memory and order: memory.cu, and kernels/cuda/emulated.cpp.
void set_memory(Backend& backend);
// On a GPU (vendor.cpp): gives dense convolutions to the vendor's libraries where they can. On the
// emulator (kernels/cuda/emulated.cpp): keeps the plain kernels.
void set_vendor(Backend& backend);

#define FULMAR_DECLARE(name, ...) Function<decltype(Backend::name)> name;
FULMAR_KERNELS(FULMAR_DECLARE)
#undef FULMAR_DECLARE

// The fused kernels that are here; fuse leaves alone what needs another one.
#define FULMAR_CUDA_FUSED_KERNELS(X) \
  X(separable)                       \
  X(separable_takes)                 \
  X(separable_grad)                  \
  X(pool_skip)                       \
  X(pool_grad_sums)                  \
  X(skip_weight_grad)                \
  X(norm_relu)                       \
  X(norm_relu_grad)                  \
  X(convolution_takes)               \
  X(convolution_samples)             \
  X(convolution)                     \
  X(convolution_weight_grad)
#define FULMAR_CUDA_FUSED_WORKSPACE_KERNELS(X) \
  X(separable)                                 \
  X(separable_grad)                            \
  X(skip_weight_grad)                          \
  X(convolution)                               \
  X(convolution_weight_grad)

#define FULMAR_DECLARE(name, ...) Function<decltype(FusedKernels::name)> name;
FULMAR_CUDA_FUSED_KERNELS(FULMAR_DECLARE)
#undef FULMAR_DECLARE
#define FULMAR_DECLARE(name) Function<decltype(FusedKernels::name##_workspace)> name##_workspace;
FULMAR_CUDA_FUSED_WORKSPACE_KERNELS(FULMAR_DECLARE)
#undef FULMAR_DECLARE

// The table of all these.
Backend table(const char* name, const char* (*isa)(), Precision precision);

}  // namespace fulmar::cuda
