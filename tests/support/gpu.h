#pragma once

#include <doctest/doctest.h>

#include <string>

#include "engine/device.h"
#include "kernels/cuda/library.h"
#include "tests/support/error_of.h"

extern "C" const fulmar::CudaLibrary* fulmar_cuda_library();

// The GPU of tests that link the CUDA backend's parts.
namespace fulmar::test {

// False, with a message, where there is none.
inline bool has_gpu() {
  static const std::string missing =
      error_of(ErrorKind::device, [] { fulmar_cuda_library()->devices(); });
  if (missing == "no error") return true;
  MESSAGE("skipped: ", missing);
  return false;
}

// A stream of the library's, and the device on it.
class OpenGpu {
 public:
  explicit OpenGpu(Precision precision, const std::string& choices = "")
      : owner_{fulmar_cuda_library()->open(0, {precision, false, true})},
        device(fulmar_cuda_library()->backend(precision), owner_.stream) {
    if (!choices.empty()) fulmar_cuda_library()->use_convolution_choices(owner_.stream, choices);
  }
  OpenGpu(const OpenGpu&) = delete;
  OpenGpu& operator=(const OpenGpu&) = delete;

  const Stream& stream() const { return owner_.stream; }
  std::string choices() const { return fulmar_cuda_library()->convolution_choices(owner_.stream); }

 private:
  struct Owner {
    Stream stream;
    ~Owner() { fulmar_cuda_library()->close(stream); }
  };
  Owner owner_;

 public:
  Device device;
};

}  // namespace fulmar::test
