#pragma once

#include <string>
#include <vector>

#include "kernels/api.h"
#include "kernels/cuda/library.h"

namespace fulmar {

// Places where the CUDA backend's library may lie: the path in FULMAR_CUDA_LIBRARY ("none":
// nowhere), else beside the program (or libfulmar) and in the lib folder that belongs to it.
FULMAR_API std::vector<std::string> cuda_library_places();
// The first of these places that has the library; empty where none has.
FULMAR_API std::string find_cuda_library();
// Whether the library is there, or FULMAR_CUDA_LIBRARY names a path.
FULMAR_API bool expects_cuda_library();

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
