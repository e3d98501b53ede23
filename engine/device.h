#pragma once

#include <cstddef>

#include "kernels/backend.h"

namespace fulmar {

// A backend together with the stream that its work goes to. A Context's devices live as long as it;
// the backend and what the stream points to must outlive the Device.
class FULMAR_API Device {
 public:
  Device(const Backend& backend, Stream stream) : backend_(&backend), stream_(stream) {}

  const Backend& backend() const { return *backend_; }
  Stream& stream() { return stream_; }
  DType real() const { return backend_->real; }
  DType activation() const { return backend_->activation; }

 private:
  const Backend* backend_;
  Stream stream_;
};

// Memory of a device, 64-byte aligned, uninitialised. The device must outlive it.
class FULMAR_API DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Device& device, size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace fulmar
