#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/backend.h"
#include "kernels/bf16.h"
#include "kernels/error.h"

// CUDA's own types, or the emulator's: pointers in both.
#if defined(__CUDACC__) || defined(FULMAR_CUDA_RUNTIME)
#include <cuda_runtime.h>
#else
#include "kernels/simt/types.h"
#endif

namespace fulmar::cuda {

class Vendor;

// The target of Stream::native of this backend: CUDA's stream for launches, and scratch memory. The
// kernels of one stream run one after the other and share the scratch memory, each for one call.
struct Queue {
  static constexpr size_t partial_bytes = size_t{8} << 20;
  static constexpr size_t small_bytes = size_t{64} << 10;

  int device = 0;  // the GPU's number
  cudaStream_t stream = nullptr;
  cudaStream_t uploads = nullptr;                      // copies that run beside it
  cudaEvent_t uploaded = nullptr, launched = nullptr;  // of a fence between the two
  // The latest marks: number n is event n % mark_count.
  static constexpr uint64_t mark_count = 8;
  cudaEvent_t marks[mark_count] = {};
  uint64_t marked = 0;
  Precision precision = Precision::fp32;
  double* partials = nullptr;  // partial_bytes
  void* small = nullptr;       // small_bytes
  Vendor* vendor = nullptr;    // cuDNN and cuBLASLt; none on the emulator
  int max_blocks = 1;          // more blocks of 256 threads than this don't run faster
};

// Makes this GPU the calling thread's: memory.cu, and kernels/cuda/emulated.cpp for the emulator.
void make_current(int device);

// The stream's queue, whose GPU becomes the calling thread's: a process may use several, from any
// thread, and every call of CUDA's for a stream comes after this.
inline const Queue& queue_of(const Stream& stream) {
  if (!stream.native)
    usage_error("cuda: a stream without a queue: it was not opened by the backend");
  const Queue& queue = *static_cast<const Queue*>(stream.native);
  make_current(queue.device);
  return queue;
}

// The elements of a tensor, which must have this type.
template <class T>
T* elements(const View& view) {
  if (view.type != dtype_of<T>())
    usage_error(std::string("cuda: a kernel expects ") + name_of(dtype_of<T>()) +
                " and was given " + name_of(view.type) + " " + view.shape.to_string());
  return view.as<T>();
}
inline float* reals(const View& view) { return elements<float>(view); }

// body(T{}) with the type of activations that a tensor has: float or bf16.
template <class Body>
void for_type_of(const View& view, const Body& body) {
  if (view.type == DType::bf16)
    body(bf16{});
  else
    body(float{});
}

}  // namespace fulmar::cuda
