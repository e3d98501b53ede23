#pragma once

#include <string>
#include <vector>

#include "kernels/api.h"
#include "kernels/cuda/library.h"

namespace fulmar {

// Where the CUDA backend's library may lie: where FULMAR_CUDA_LIBRARY says ("none": nowhere), or
// else beside the program (or libfulmar) and in the lib folder that belongs to it.
FULMAR_API std::vector<std::string> cuda_library_places();
// The first of them that is there; empty where none is.
FULMAR_API std::string find_cuda_library();
// Whether it is there, or the variable says that it is.
FULMAR_API bool expects_cuda_library();

struct LoadedCuda {
  const CudaLibrary* library = nullptr;
  std::string path;
};

// Loads it, for as long as the process lives. Error(device) naming what is missing: the library, a
// library that it needs, its function, or its version.
FULMAR_API LoadedCuda load_cuda();

// The GPUs that it finds. Error(device) where there is none, or no driver.
FULMAR_API std::vector<CudaDevice> cuda_devices(const LoadedCuda& cuda);
// "NVIDIA H100 80GB HBM3, compute capability 9.0".
FULMAR_API std::string describe(const CudaDevice& device);

}  // namespace fulmar
