#pragma once

#include <cuda_runtime.h>

#include <string>

#include "kernels/error.h"

namespace fulmar::cuda {

// Error(device) that names the call that failed.
inline void check(cudaError_t error, const std::string& call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // it is told of here: the next launch looks there for its own
  device_error("cuda: " + call + ": " + cudaGetErrorName(error) + ": " + cudaGetErrorString(error));
}

}  // namespace fulmar::cuda
