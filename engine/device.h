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

// A device's name, and the facts that decide the bits of its results.
struct DeviceInfo {
  std::string name;      // "cpu", "cuda:1"; empty: the backend's
  std::string hardware;  // "AVX-512", "NVIDIA H100 80GB HBM3"; empty: the backend's isa()
  Precision precision = Precision::fp32;
  const CudaLibrary* cuda = nullptr;  // the library that opened the stream
};

// A backend together with the stream that receives its work. A Context's devices live as long as
// the Context. The backend and the stream's pool or handle must outlive the Device.
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

  // The algorithms chosen for its dense convolutions, as text; empty where the device chooses none.
  // A device that gets this text before its first plan makes the same choices, where hardware and
  // versions are the same. Error(file) for damaged text.
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

// Page-locked memory of the host. A device copies from it while it works. The device must outlive
// it.
class FULMAR_API PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(Device& device, size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;

  std::byte* data() const { return data_; }

 private:
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// Work that a device recorded and can replay. The device must outlive the graph, and the memory
// that the work uses must outlive every replay.
class FULMAR_API DeviceGraph {
 public:
  DeviceGraph() = default;
  // Captures the calls of `work`; none of them runs. Error(device) where a call can't be captured;
  // errors of `work` itself pass through. After an error the device works as before.
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
