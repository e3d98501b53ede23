#include "engine/device.h"

#include <utility>

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

}  // namespace fulmar
