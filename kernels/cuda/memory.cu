#include <cuda_runtime.h>

#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"

// Memory and order on a GPU. Work goes to the stream's own queue; nothing waits but synchronize and
// copies to and from memory that isn't pinned.
namespace fulmar::cuda {
namespace {

void check(cudaError_t error, const std::string& what) {
  if (error != cudaSuccess) device_error("cuda: " + what + ": " + cudaGetErrorString(error));
}

}  // namespace

void* allocate(Stream&, size_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes > 0 ? bytes : 1);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it has been told of
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "memory of the device");
    device_error("cuda: out of memory: " + std::to_string(bytes) + " bytes asked for, " +
                 std::to_string(free) + " of " + std::to_string(total) +
                 " are free; use a smaller batch, crop or network");
  }
  check(error, "allocation of " + std::to_string(bytes) + " bytes");
  return memory;
}

void release(Stream&, void* memory, size_t) { cudaFree(memory); }

void copy_in(Stream& stream, void* device, const void* host, size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, queue_of(stream).stream),
        "copy of " + std::to_string(bytes) + " bytes to the device");
}

void copy_out(Stream& stream, void* host, const void* device, size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, queue_of(stream).stream),
        "copy of " + std::to_string(bytes) + " bytes from the device");
}

void synchronize(Stream& stream) {
  check(cudaStreamSynchronize(queue_of(stream).stream), "waiting for the device");
}

}  // namespace fulmar::cuda
