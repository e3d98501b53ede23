#pragma once

#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/simt/stream.h"

namespace fulmar {

// The CUDA backend's table with its kernels on the emulator, for tests. Its memory is the host's.
// As on a GPU, work may run later, uploads run beside it, and launches can be captured.
const Backend& simt_backend(Precision precision = Precision::fp32);

namespace simt {

// A stream of that backend: its Stream is good while this lives.
class StreamOwner {
 public:
  explicit StreamOwner(Timing timing = Timing::early);
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
