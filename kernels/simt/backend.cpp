#include "kernels/simt/backend.h"

#include <cstring>
#include <limits>
#include <new>

#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"

namespace fulmar {
namespace cuda {
namespace {
constexpr std::align_val_t alignment{64};
}  // namespace

void* allocate(Stream&, size_t bytes) {
  void* memory = ::operator new(bytes, alignment, std::nothrow);
  if (!memory)
    device_error("simt: no memory for " + std::to_string(bytes) +
                 " bytes; use a smaller batch or picture");
  return memory;
}

void release(Stream&, void* memory, size_t) { ::operator delete(memory, alignment); }

void copy_in(Stream&, void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void copy_out(Stream&, void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void synchronize(Stream&) {}

}  // namespace cuda

namespace simt {

// Memory that a kernel reads without having written it is NaN.
struct StreamOwner::Memory {
  std::vector<double> partials = unwritten(cuda::Queue::partial_bytes);
  std::vector<double> small = unwritten(cuda::Queue::small_bytes);
  cuda::Queue queue;

  static std::vector<double> unwritten(size_t bytes) {
    return std::vector<double>(bytes / sizeof(double), std::numeric_limits<double>::quiet_NaN());
  }
};

StreamOwner::StreamOwner() : memory_(new Memory) {
  memory_->queue.partials = memory_->partials.data();
  memory_->queue.small = memory_->small.data();
  memory_->queue.max_blocks = 3;  // so that grids stride over what they work on
}
StreamOwner::~StreamOwner() = default;

Stream StreamOwner::stream() const { return {nullptr, &memory_->queue}; }

}  // namespace simt

const Backend& simt_backend() {
  static const Backend backend = cuda::table("simt", [] { return "emulated CUDA"; });
  return backend;
}

}  // namespace fulmar
