#pragma once

// Makes a kernel's source CUDA under nvcc, and for other compilers C++ whose threads the emulator
// runs one after the other. kernels/README.md has the rules for such source.

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__

#include <cuda_runtime.h>

#include <string>

#include "kernels/error.h"

#define FULMAR_DEVICE __device__ __forceinline__
#define FULMAR_UNROLL _Pragma("unroll")
#define FULMAR_UNROLL_TWICE _Pragma("unroll 2")  // where registers are dear
#define FULMAR_NO_UNROLL _Pragma("unroll 1")
#define FULMAR_CHECK_ALIGNED(address, bytes)
// FULMAR_SHARED(float, tile, [18][33]): an array of the block
#define FULMAR_SHARED(T, name, extents) __shared__ T name extents
// The memory that the launch asked for, as an array of T
#define FULMAR_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(128) unsigned char fulmar_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(fulmar_dynamic_shared)

#else

#include <cmath>
#include <tuple>

#include "kernels/simt/intrinsics.h"
#include "kernels/simt/run.h"
#include "kernels/simt/stream.h"
#include "kernels/simt/types.h"

#define FULMAR_DEVICE inline
// What is counted is unrolled as nvcc does, so that no whole numbers are counted that it doesn't
// compute. Elsewhere that would only take the compiler's time.
#if !defined(FULMAR_COUNTED)
#define FULMAR_UNROLL
#define FULMAR_UNROLL_TWICE
#elif defined(__clang__)
#define FULMAR_UNROLL _Pragma("unroll")
#define FULMAR_UNROLL_TWICE _Pragma("unroll 2")
#else
#define FULMAR_UNROLL _Pragma("GCC unroll 64")
#define FULMAR_UNROLL_TWICE _Pragma("GCC unroll 2")
#endif
#define FULMAR_NO_UNROLL
#define FULMAR_CHECK_ALIGNED(address, bytes) ::fulmar::simt::check_aligned(address, bytes)
#define FULMAR_SHARED(T, name, extents)             \
  static char name##_tag;                           \
  using name##_array = T extents;                   \
  name##_array& name = *static_cast<name##_array*>( \
      ::fulmar::simt::shared_array(&name##_tag, #name, sizeof(name##_array)))
#define FULMAR_DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(::fulmar::simt::dynamic_shared())

#endif

namespace fulmar {

// Threads of a launch, and by which name errors call it.
struct Launch {
  const char* name;
  dim3 grid, block;
  cudaStream_t stream = nullptr;
  size_t dynamic_shared = 0;  // bytes
};

// Starts `kernel` with `arguments`. Error(device) where CUDA refuses; under the emulator, which
// runs it to its end now or, on a stream that says so, later, Error(usage) where the launch or the
// kernel breaks a rule.
#ifdef __CUDACC__
template <class... P, class... A>
void launch(const Launch& how, void (*kernel)(P...), A&&... arguments) {
  constexpr size_t without_asking = 48 * 1024;
  cudaError_t error = cudaSuccess;
  if (how.dynamic_shared > without_asking)
    error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(how.dynamic_shared));
  if (error == cudaSuccess) {
    kernel<<<how.grid, how.block, how.dynamic_shared, how.stream>>>(static_cast<P>(arguments)...);
    error = cudaGetLastError();
  }
  if (error != cudaSuccess)
    device_error("cuda: " + std::string(how.name) + ": " + cudaGetErrorString(error));
}
#else
template <class... P, class... A>
void launch(const Launch& how, void (*kernel)(P...), A&&... arguments) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
  };
  const Call call{kernel, std::tuple<P...>(static_cast<P>(arguments)...)};
  simt::submit(how.stream, [how, call] {
    simt::run({how.name, how.grid, how.block, how.dynamic_shared,
               [](const void* erased) {
                 const Call& c = *static_cast<const Call*>(erased);
                 std::apply(c.kernel, c.arguments);
               },
               &call, reinterpret_cast<const void*>(call.kernel)});
  });
}
#endif

}  // namespace fulmar
