#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/backend.h"

namespace fulmar {

struct CudaLibrary;

// "fp32", "tf32", "bf16".
FULMAR_API const char* name_of(Precision precision);
// The precision of that name, if it is one.
FULMAR_API std::optional<Precision> precision_named(std::string_view name);

// What a device is called, and what the bits of its results depend on.
struct DeviceInfo {
  std::string name;      // "cpu", "cuda:1"; empty: the backend's
  std::string hardware;  // "AVX-512", "NVIDIA H100 80GB HBM3"; empty: the backend's isa()
  Precision precision = Precision::fp32;
  const CudaLibrary* cuda = nullptr;  // that opened the stream
};

// A backend together with the stream that its work goes to. A Context's devices live as long as it;
// the backend and what the stream points to must outlive the Device.
class FULMAR_API Device {
 public:
  Device(const Backend& backend, Stream stream, DeviceInfo info = {});

  const Backend& backend() const { return *backend_; }
  Stream& stream() { return stream_; }
  DType real() const { return backend_->real; }
  DType activation() const { return backend_->activation; }

  const std::string& name() const { return info_.name; }
  const std::string& hardware() const { return info_.hardware; }
  Precision precision() const { return info_.precision; }
  std::string describe() const;  // "cpu", "cuda:1 (NVIDIA H100 80GB HBM3)"

  // Which algorithms its dense convolutions were given, as text; empty where nothing is chosen.
  // Given to another device before its first plan, that one makes the same choices as far as
  // hardware and versions are the same. Error(file) where the text is damaged.
  std::string convolution_choices() const;
  void use_convolution_choices(const std::string& choices);

 private:
  const Backend* backend_;
  Stream stream_;
  DeviceInfo info_;
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

// Work of a device that was written down, to be replayed. The device must outlive it, and the
// memory that the work uses every replay.
class FULMAR_API DeviceGraph {
 public:
  DeviceGraph() = default;
  // Error(device) where something in `work` can't be captured, and what `work` throws; the device
  // goes on as before. Nothing has run.
  template <class Work>
  DeviceGraph(Device& device, const Work& work) : device_(&device) {
    device.backend().begin_capture(device.stream());
    try {
      work();
    } catch (...) {
      abandon();
      throw;
    }
    graph_ = device.backend().end_capture(device.stream());
  }
  ~DeviceGraph();
  DeviceGraph(DeviceGraph&& other) noexcept;
  DeviceGraph& operator=(DeviceGraph&& other) noexcept;

  explicit operator bool() const { return graph_; }
  void replay() { device_->backend().replay(device_->stream(), graph_); }

 private:
  void abandon();

  Device* device_ = nullptr;
  void* graph_ = nullptr;
};

}  // namespace fulmar
