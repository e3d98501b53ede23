#pragma once

#include <string>
#include <vector>

#include "engine/device.h"
#include "kernels/counted/library.h"

namespace fulmar::tools {

// The emulator that counts, as a device: the CUDA backend's kernels, run on the CPU.
class CountedDevice {
 public:
  // Error(device) where the library that counts is not there: the message says how to build it.
  CountedDevice(const counted::Machine& machine, Precision precision);
  ~CountedDevice();
  CountedDevice(const CountedDevice&) = delete;
  CountedDevice& operator=(const CountedDevice&) = delete;

  Device& device() { return device_; }
  // Launches from now on are counted until take() gives them.
  void begin() { library_->begin(stream_); }
  std::vector<counted::Launch> take() { return library_->take(stream_); }
  // Why nothing is known of arithmetic; empty where it is.
  std::string missing() const { return library_->missing(); }

 private:
  const CountedLibrary* library_;
  Stream stream_;
  Device device_;
};

}  // namespace fulmar::tools
