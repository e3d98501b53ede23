#pragma once

#include <memory>
#include <vector>

#include "kernels/backend.h"

namespace fulmar {

// The CUDA backend's table with its kernels on the emulator: memory is the host's, and every call
// ends before it returns. For tests.
const Backend& simt_backend(Precision precision = Precision::fp32);

namespace simt {

// A stream of that backend: its Stream is good while this lives.
class StreamOwner {
 public:
  StreamOwner();
  ~StreamOwner();
  StreamOwner(const StreamOwner&) = delete;
  StreamOwner& operator=(const StreamOwner&) = delete;

  Stream stream() const;

 private:
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

}  // namespace simt
}  // namespace fulmar
