#include "engine/cuda.h"

#include "kernels/error.h"

namespace fulmar {

const BackendLibrary& cuda_backend_library() {
  static constexpr BackendLibrary library{
      "cuda",
      CudaLibrary::file_name,
      "FULMAR_CUDA_LIBRARY",
      CudaLibrary::symbol,
      "build it with the CMake preset cuda",
      "install what it needs (CUDA's driver and libraries, cuDNN 9)"};
  return library;
}

LoadedCuda load_cuda() {
  const BackendLibrary& file = cuda_backend_library();
  const auto [library, path] = file.load<CudaLibrary>();
  require_version(file, path, "library's interface", library->version,
                  CudaLibrary::current_version);
  require_layout(file, path, library->layout, layout_of_shared_types());
  require_version(file, path, "table of kernels", library->backend(Precision::fp32).version,
                  Backend::current_version);
  return {library, path};
}

std::vector<CudaDevice> cuda_devices(const LoadedCuda& cuda) {
  std::vector<CudaDevice> devices = cuda.library->devices();
  if (devices.empty()) device_error("cuda: the driver finds no GPU");
  return devices;
}

std::string describe(const CudaDevice& device) {
  return device.name + ", compute capability " + std::to_string(device.major) + "." +
         std::to_string(device.minor);
}

}  // namespace fulmar
