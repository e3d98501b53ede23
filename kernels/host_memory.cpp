#include "kernels/host_memory.h"

#include <unistd.h>

#include <cstring>
#include <new>
#include <string>

#include "kernels/error.h"

namespace fulmar {
namespace {

constexpr std::align_val_t alignment{64};

void* allocate(Stream&, size_t bytes) {
  void* memory = ::operator new(bytes, alignment, std::nothrow);
  if (!memory)
    device_error("out of memory: " + std::to_string(bytes) +
                 " bytes asked for; use a smaller batch, crop or network");
  return memory;
}

void release(Stream&, void* memory, size_t) { ::operator delete(memory, alignment); }

void copy_in(Stream&, void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

MemoryInfo memory(Stream&) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return {static_cast<size_t>(::sysconf(_SC_AVPHYS_PAGES)) * page,
          static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * page};
}

}  // namespace

void use_host_memory(Backend& backend) {
  backend.host_memory = true;
  backend.allocate = backend.allocate_pinned = allocate;
  backend.release = backend.release_pinned = release;
  backend.copy_in = backend.copy_out = backend.upload = copy_in;
  backend.synchronize = backend.fence = [](Stream&) {};
  backend.transfer = copy_in;
  backend.mark = [](Stream&) { return uint64_t{0}; };
  backend.wait = [](Stream&, uint64_t) {};
  backend.memory = memory;
}

}  // namespace fulmar
