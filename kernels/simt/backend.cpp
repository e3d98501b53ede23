#include "kernels/simt/backend.h"

#include <cstring>
#include <limits>

#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"
#include "kernels/host_memory.h"

namespace fulmar {
namespace cuda {

void set_memory(Backend& backend) { use_host_memory(backend); }

void set_vendor(Backend&) {}

void read_back(Stream&, void* host, const void* device, size_t bytes) {
  std::memcpy(host, device, bytes);
}

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

const Backend& simt_backend(Precision precision) {
  const auto make = [](Precision p) {
    return cuda::table(
        "simt", [] { return "emulated CUDA"; }, p);
  };
  static const Backend backends[] = {make(Precision::fp32), make(Precision::tf32),
                                     make(Precision::bf16)};
  return backends[static_cast<int>(precision)];
}

}  // namespace fulmar
