#pragma once

#include <string>
#include <vector>

#include "engine/backend_library.h"
#include "kernels/api.h"
#include "kernels/cuda/library.h"

namespace fulmar {

// Where the CUDA backend's library is looked for, and how it is built.
FULMAR_API const BackendLibrary& cuda_backend_library();

struct LoadedCuda {
  const CudaLibrary* library = nullptr;
  std::string path;
};

// Loads the library for as long as the process lives. Error(device) names the missing part: the
// library, a library that it needs, its function, or its version.
FULMAR_API LoadedCuda load_cuda();

// The GPUs that the library finds. Error(device) where there is none, or no driver.
FULMAR_API std::vector<CudaDevice> cuda_devices(const LoadedCuda& cuda);
// "NVIDIA H100 80GB HBM3, compute capability 9.0".
FULMAR_API std::string describe(const CudaDevice& device);

}  // namespace fulmar
