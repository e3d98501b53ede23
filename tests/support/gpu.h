#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "engine/device.h"
#include "engine/tape.h"
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

// A GPU's float32 error in the results of a node in bf16, `others` where a hand-written kernel
// computes it. The vendor's libraries add up to 7,000 products in float32: sqrt(7000) 2^-24 = 5e-6,
// twice that is allowed. Twice 2^-9 more only where they round to bf16 once more than the
// emulation: gradients of weights (cuDNN), the bias (cuBLASLt) or the sum before it (cuDNN).
inline double bf16_tolerance(const Node& node, double others) {
  const std::string_view op = node.op->name();
  if (op == "conv2d_weight_grad") return 0x1p-8;
  if (op == "conv2d") return node.inputs.size() > 2 && node.inputs[2] ? 0x1p-8 : 1e-5;
  if (op == "conv2d_input_grad") return 1e-5;
  return others;
}

// A stream of the library's, and the device on it. Algorithms are timed, but not in short runs for
// compute-sanitizer: under it that takes minutes.
class OpenGpu {
 public:
  explicit OpenGpu(Precision precision, const std::string& choices = "")
      : owner_{fulmar_cuda_library()->open(
            0, {precision, false, !std::getenv("FULMAR_TEST_FEW_ROWS")})},
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
