#include "kernels/cuda/library.h"

#include <cuda_runtime.h>

#include <memory>

#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"

namespace fulmar {
namespace cuda {
namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess)
    device_error("cuda: " + std::string(what) + ": " + cudaGetErrorString(error));
}

std::vector<std::string> devices() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "looking for GPUs");
  std::vector<std::string> lines;
  for (int i = 0; i < count; i++) {
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, i), "asking a GPU what it is");
    lines.push_back(std::string(p.name) + ", compute capability " + std::to_string(p.major) + "." +
                    std::to_string(p.minor) + ", " + std::to_string(p.totalGlobalMem >> 20) +
                    " MiB");
  }
  return lines;
}

void close(const Stream& stream) {
  const Queue* queue = static_cast<const Queue*>(stream.native);
  if (!queue) return;
  if (queue->stream) cudaStreamDestroy(queue->stream);
  cudaFree(queue->partials);
  cudaFree(queue->small);
  delete queue;
}

Stream open(int device) {
  check(cudaSetDevice(device), "choosing a GPU");
  int processors = 0, threads = 0;
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
        "number of multiprocessors");
  check(cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, device),
        "threads of a multiprocessor");
  std::unique_ptr<Queue> queue(new Queue);
  // Four waves of blocks of 256 threads: enough to even out, few enough to stride.
  queue->max_blocks = 4 * processors * (threads / 256);
  try {
    check(cudaStreamCreateWithFlags(&queue->stream, cudaStreamNonBlocking), "making a stream");
    void* partials = nullptr;
    check(cudaMalloc(&partials, Queue::partial_bytes), "memory for partial sums");
    queue->partials = static_cast<double*>(partials);
    check(cudaMalloc(&queue->small, Queue::small_bytes), "memory for small results");
  } catch (...) {
    close({nullptr, queue.release()});
    throw;
  }
  return {nullptr, queue.release()};
}

const Backend& backend() {
  static const Backend made = table("cuda", [] { return "CUDA"; });
  return made;
}

}  // namespace
}  // namespace cuda
}  // namespace fulmar

extern "C" FULMAR_API const fulmar::CudaLibrary* fulmar_cuda_library() {
  static const fulmar::CudaLibrary library{fulmar::CudaLibrary::current_version,
                                           fulmar::cuda::backend, fulmar::cuda::devices,
                                           fulmar::cuda::open, fulmar::cuda::close};
  return &library;
}
