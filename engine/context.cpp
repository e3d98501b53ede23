#include "engine/context.h"

#include <utility>

#include "kernels/error.h"

namespace fulmar {

DeviceBuffer::DeviceBuffer(Device& device, size_t bytes)
    : device_(&device),
      data_(static_cast<std::byte*>(device.backend().allocate(device.stream(), bytes))),
      bytes_(bytes) {}

DeviceBuffer::~DeviceBuffer() {
  if (data_) device_->backend().release(device_->stream(), data_, bytes_);
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Context::Context() : Context(Options{}) {}

Context::Context(Options options)
    : options_(std::move(options)),
      pool_(options_.threads),
      cpu_(cpu_backend(), Stream{&pool_, nullptr}),
      reference_(reference_backend(), Stream{&pool_, nullptr}) {}

Device& Context::device(const std::string& name) {
  if (name == "cpu") return cpu_;
  if (name == "reference") return reference_;
  device_error("there is no device '" + name + "': this build has cpu and reference");
}

}  // namespace fulmar
