#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace fulmar {

// A backend together with the stream that its work goes to.
class FULMAR_API Device {
 public:
  Device(const Backend& backend, Stream stream) : backend_(&backend), stream_(stream) {}

  const Backend& backend() const { return *backend_; }
  Stream& stream() { return stream_; }
  DType real() const { return backend_->real; }

 private:
  const Backend* backend_;
  Stream stream_;
};

// Memory of a device, 64-byte aligned, uninitialised.
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

// What a process shares: the thread pool, the log callback, the cancel flag, the opened devices.
// The library never prints, exits or takes a signal; it calls `log` and looks at `cancel`.
class FULMAR_API Context {
 public:
  struct Options {
    int threads = 0;                                // 0: one per processor
    std::function<void(const std::string&)> log{};  // notes for people; none by default
  };

  Context();
  explicit Context(Options options);

  // "cpu", or "reference" (float64, slow: the oracle of the tests). Error(device) for another name.
  Device& device(const std::string& name);
  ThreadPool& pool() { return pool_; }
  void log(const std::string& message) const {
    if (options_.log) options_.log(message);
  }

  // Set from any thread or signal handler: a running Session stops between two nodes with
  // Error(cancelled).
  std::atomic<bool> cancel{false};

 private:
  Options options_;
  ThreadPool pool_;
  Device cpu_, reference_;
};

}  // namespace fulmar
