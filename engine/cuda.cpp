#include "engine/cuda.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "kernels/error.h"

namespace fulmar {
namespace {

namespace fs = std::filesystem;

constexpr const char* variable = "FULMAR_CUDA_LIBRARY";

const char* asked_for() {
  const char* path = std::getenv(variable);
  return path && *path ? path : nullptr;
}

// The folder of the file that this code was loaded from: the program's, or libfulmar's.
fs::path own_folder() {
  Dl_info info{};
  void* map = nullptr;
  std::error_code error;
  fs::path own;
  // The program itself is known by the name that it was called by, which need not be a path.
  if (::dladdr1(reinterpret_cast<void*>(&own_folder), &info, &map, RTLD_DL_LINKMAP) != 0 && map &&
      *static_cast<link_map*>(map)->l_name)
    own = fs::absolute(info.dli_fname, error);
  else
    own = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : own.parent_path();
}

bool switched_off() { return asked_for() && std::string_view(asked_for()) == "none"; }

}  // namespace

std::vector<std::string> cuda_library_places() {
  if (switched_off()) return {};
  if (const char* path = asked_for()) return {path};
  const fs::path folder = own_folder();
  std::vector<std::string> places{(folder / CudaLibrary::file_name).string()};
  // FULMAR_LIBRARY_FOLDER: from where programs are installed to where libraries are.
  const fs::path installed =
      (folder / FULMAR_LIBRARY_FOLDER / CudaLibrary::file_name).lexically_normal();
  if (installed != places[0]) places.push_back(installed.string());
  return places;
}

std::string find_cuda_library() {
  std::error_code error;
  for (const std::string& place : cuda_library_places())
    if (fs::exists(place, error)) return place;
  return {};
}

bool expects_cuda_library() {
  return !switched_off() && (asked_for() || !find_cuda_library().empty());
}

LoadedCuda load_cuda() {
  if (switched_off())
    device_error(std::string("cuda: switched off by ") + variable + "=none: take it out");
  const std::string path = find_cuda_library();
  if (path.empty() && asked_for())
    device_error(std::string("cuda: ") + asked_for() + ", which " + variable +
                 " names, is not there: correct the variable or take it out");
  if (path.empty()) {
    std::string places;
    for (const std::string& place : cuda_library_places())
      places += (places.empty() ? "" : " and ") + place;
    device_error(std::string("cuda: the backend's library is not there (looked for ") + places +
                 "): build it with the CMake preset cuda, or name it by " + variable);
  }
  // A name without a slash would be sought elsewhere.
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  void* handle = ::dlopen(whole.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* why = ::dlerror();
    device_error("cuda: " + path + " can't be loaded: " + (why ? why : "no reason given") +
                 "; install what it needs (CUDA's driver and libraries, cuDNN 9), or add the "
                 "folder that holds it to LD_LIBRARY_PATH");
  }
  const auto function = reinterpret_cast<CudaLibraryFunction>(::dlsym(handle, CudaLibrary::symbol));
  const CudaLibrary* library = function ? function() : nullptr;
  if (!library) {
    ::dlclose(handle);
    device_error("cuda: " + path + " is no backend of Fulmar's: it has no function " +
                 CudaLibrary::symbol);
  }
  const auto require_version = [&](const char* what, uint32_t found, uint32_t expected) {
    if (found != expected)
      device_error("cuda: " + path + " has version " + std::to_string(found) + " of the " + what +
                   ", this program needs version " + std::to_string(expected) +
                   ": build both from one source");
  };
  require_version("library's interface", library->version, CudaLibrary::current_version);
  if (library->layout != layout_of_shared_types())
    device_error("cuda: " + path +
                 " lays out what it shares with this program in another way: build both from one "
                 "source with one compiler");
  require_version("table of kernels", library->backend(Precision::fp32).version,
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
