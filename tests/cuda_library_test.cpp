#include <dlfcn.h>
#include <doctest/doctest.h>

#include "kernels/cuda/library.h"
#include "tests/support/error_of.h"

namespace fulmar::test {

TEST_CASE("cuda library: it loads without a GPU, has every kernel, and says what is missing") {
  void* handle = dlopen(FULMAR_CUDA_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  const char* why = handle ? "" : dlerror();
  REQUIRE_MESSAGE(handle, why);
  const auto find = reinterpret_cast<CudaLibraryFunction>(dlsym(handle, CudaLibrary::symbol));
  REQUIRE(find);
  const CudaLibrary& library = *find();
  CHECK(library.version == CudaLibrary::current_version);
  const Backend& backend = library.backend(Precision::fp32);
  CHECK(backend.version == Backend::current_version);
  CHECK(std::string(backend.name) == "cuda");
  // Behind version, name and type the table is nothing but functions.
  const auto* functions = reinterpret_cast<void* const*>(&backend.allocate);
  const auto* end = reinterpret_cast<void* const*>(&backend + 1);
  for (; functions < end; functions++) CHECK(*functions != nullptr);

  std::vector<std::string> devices;
  const std::string text = error_of(ErrorKind::device, [&] { devices = library.devices(); });
  if (devices.empty()) {
    CHECK(has(text, "cuda: looking for GPUs: "));
    CHECK(has(error_of(ErrorKind::device, [&] { library.open(0); }), "cuda: choosing a GPU: "));
    MESSAGE("no GPU here: ", text);
  } else {
    library.close(library.open(0));
  }
}

}  // namespace fulmar::test
