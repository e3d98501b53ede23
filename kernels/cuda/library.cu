#include "kernels/cuda/library.h"

#include <memory>

#include "kernels/cuda/check.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"

namespace fulmar {
namespace cuda {
namespace {

std::vector<std::string> devices() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  std::vector<std::string> lines;
  for (int i = 0; i < count; i++) {
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, i), "cudaGetDeviceProperties");
    lines.push_back(std::string(p.name) + ", compute capability " + std::to_string(p.major) + "." +
                    std::to_string(p.minor) + ", " + std::to_string(p.totalGlobalMem >> 20) +
                    " MiB");
  }
  return lines;
}

void close(const Stream& stream) {
  const Queue* queue = static_cast<const Queue*>(stream.native);
  if (!queue) return;
  for (cudaStream_t used : {queue->stream, queue->uploads})
    if (used) cudaStreamDestroy(used);
  for (cudaEvent_t used : {queue->uploaded, queue->launched})
    if (used) cudaEventDestroy(used);
  cudaFree(queue->partials);
  cudaFree(queue->small);
  delete queue;
}

Stream open(int device, Precision precision) {
  check(cudaSetDevice(device), "cudaSetDevice");
  int processors = 0, threads = 0;
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
        "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, device),
        "cudaDeviceGetAttribute");
  std::unique_ptr<Queue> queue(new Queue);
  queue->precision = precision;
  // Four waves of blocks of 256 threads: enough to even out, few enough to stride.
  queue->max_blocks = 4 * processors * (threads / 256);
  try {
    for (cudaStream_t* made : {&queue->stream, &queue->uploads})
      check(cudaStreamCreateWithFlags(made, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    for (cudaEvent_t* made : {&queue->uploaded, &queue->launched})
      check(cudaEventCreateWithFlags(made, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    void* partials = nullptr;
    check(cudaMalloc(&partials, Queue::partial_bytes), "cudaMalloc of partial sums");
    queue->partials = static_cast<double*>(partials);
    check(cudaMalloc(&queue->small, Queue::small_bytes), "cudaMalloc of small results");
  } catch (...) {
    close({nullptr, queue.release()});
    throw;
  }
  return {nullptr, queue.release()};
}

const Backend& backend(Precision precision) {
  const auto make = [](Precision p) {
    return table(
        "cuda", [] { return "CUDA"; }, p);
  };
  static const Backend made[] = {make(Precision::fp32), make(Precision::tf32),
                                 make(Precision::bf16)};
  return made[static_cast<int>(precision)];
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
