#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace fulmar {

// What the CUDA backend's shared library gives to the program that loads it, by one function.
// Functions throw Error(device), whose message says which call of CUDA's failed and why.
struct CudaLibrary {
  static constexpr uint32_t current_version = 1;
  static constexpr const char* symbol = "fulmar_cuda_library";

  uint32_t version;
  const Backend& (*backend)(Precision);
  // A line for each GPU: "NVIDIA H100 80GB HBM3, compute capability 9.0, 81079 MiB". Error(device)
  // where there is no driver or no GPU.
  std::vector<std::string> (*devices)();
  // A stream on GPU number `device`, which becomes the calling thread's, for kernels of this
  // precision; closed by close.
  Stream (*open)(int device, Precision);
  void (*close)(const Stream& stream);
};

// The symbol's type.
using CudaLibraryFunction = const CudaLibrary* (*)();

}  // namespace fulmar
