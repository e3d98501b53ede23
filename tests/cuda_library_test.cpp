#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <thread>

#include "kernels/cuda/architectures.h"
#include "tests/support/built.h"
#include "tests/support/error_of.h"

namespace fulmar::test {
namespace {

const CudaLibrary* load() {
  void* handle = dlopen(built::real_cuda.c_str(), RTLD_NOW | RTLD_LOCAL);
  const char* why = handle ? "" : dlerror();
  REQUIRE_MESSAGE(handle, why);
  const auto find = reinterpret_cast<CudaLibraryFunction>(dlsym(handle, CudaLibrary::symbol));
  const bool found = find != nullptr;
  REQUIRE(found);
  return find();
}

const CudaLibrary& loaded() {
  static const CudaLibrary* const library = load();
  return *library;
}

// The number of GPUs, and why there is none.
size_t count_gpus(std::string& why_not) {
  size_t count = 0;
  why_not = error_of(ErrorKind::device, [&] { count = loaded().devices().size(); });
  return count;
}

// The same for a test that needs one: where there is none it says that it is skipped.
size_t gpus_to_test() {
  std::string missing;
  const size_t count = count_gpus(missing);
  if (count == 0) MESSAGE("skipped: ", missing);
  return count;
}

}  // namespace

TEST_CASE("cuda library: it loads without a GPU, and has every kernel") {
  const CudaLibrary& library = loaded();
  CHECK(library.version == CudaLibrary::current_version);
  CHECK(library.layout == layout_of_shared_types());
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    const Backend& backend = library.backend(precision);
    CHECK(backend.version == Backend::current_version);
    CHECK(std::string(backend.name) == "cuda");
    CHECK(backend.real == DType::f32);
    CHECK(backend.activation == (precision == Precision::bf16 ? DType::bf16 : DType::f32));
    // Behind version, name and types the table is nothing but functions.
    const auto* functions = reinterpret_cast<void* const*>(&backend.allocate);
    const auto* end = reinterpret_cast<void* const*>(&backend + 1);
    for (; functions < end; functions++) CHECK(*functions != nullptr);
  }
}

TEST_CASE("cuda library: versions of the driver, of CUDA and of the vendor's libraries") {
  const CudaVersions versions = loaded().versions();
  CHECK(versions.runtime.substr(0, 3) == "13.");
  CHECK(versions.cudnn.substr(0, 2) == "9.");
  CHECK(!versions.cublaslt.empty());
  MESSAGE("driver ", versions.driver.empty() ? "none" : versions.driver, ", runtime ",
          versions.runtime, ", cuDNN ", versions.cudnn, ", cuBLASLt ", versions.cublaslt);
}

TEST_CASE("cuda library: without a GPU every way to one says what is missing") {
  std::string missing;
  if (count_gpus(missing) > 0) {
    MESSAGE("not asked here: there is a GPU");
    return;
  }
  MESSAGE(missing);
  const std::string driver = loaded().versions().driver;
  if (driver.empty())
    CHECK(missing ==
          "cuda: cudaGetDeviceCount: no NVIDIA driver on this machine (libcuda.so.1 was not "
          "found): install one, or use the CPU");
  else
    CHECK(has(missing, "cuda: cudaGetDeviceCount: the NVIDIA driver "));
  CHECK(error_of(ErrorKind::device, [] { loaded().open(0, {}); }) == missing);
  CHECK(error_of(ErrorKind::device, [] { loaded().memory(0); }) == missing);
  loaded().close({});  // nothing to close
}

TEST_CASE("cuda library: an environment that contradicts the precision is refused, GPU or not") {
  const auto refusal = [](const char* value, Precision precision) {
    setenv("NVIDIA_TF32_OVERRIDE", value, 1);
    std::string text = error_of(ErrorKind::device, [&] {
      loaded().close(loaded().open(0, {precision, false, false}));
    });
    unsetenv("NVIDIA_TF32_OVERRIDE");
    return text;
  };
  CHECK(has(refusal("1", Precision::fp32), "cuda: NVIDIA_TF32_OVERRIDE=1 would make products"));
  CHECK(has(refusal("0", Precision::tf32), "cuda: NVIDIA_TF32_OVERRIDE=0 would make products"));
  for (const Precision precision : {Precision::tf32, Precision::bf16})
    CHECK(!has(refusal("1", precision), "NVIDIA_TF32_OVERRIDE"));
  CHECK(!has(refusal("0", Precision::fp32), "NVIDIA_TF32_OVERRIDE"));
}

TEST_CASE("cuda library: a GPU is opened by its number, and no other one is") {
  const size_t count = gpus_to_test();
  if (count == 0) return;
  const CudaDevice device = loaded().devices()[0];
  MESSAGE(device.name, ", ", device.major, ".", device.minor);
  CHECK(device.total_bytes > 0);
  CHECK(loaded().memory(0).free_bytes <= loaded().memory(0).total_bytes);
  for (const int none : {-1, static_cast<int>(count)})
    CHECK(has(error_of(ErrorKind::device, [&] { loaded().open(none, {}); }),
              "cuda: there is no GPU number " + std::to_string(none)));
  Stream stream = loaded().open(0, {});
  CHECK(has(loaded().convolution_choices(stream), "fulmar cuda choices 1: 0, "));
  loaded().close(stream);
}

TEST_CASE("cuda library: streams on every GPU serve any thread, in turn") {
  const size_t count = gpus_to_test();
  if (count == 0) return;
  const Backend& b = loaded().backend(Precision::fp32);
  std::vector<Stream> streams;
  for (size_t i = 0; i < std::max<size_t>(count, 2); i++)  // two at least, on one GPU where need be
    streams.push_back(loaded().open(static_cast<int>(i % count), {}));
  for (int round = 0; round < 2; round++)
    for (Stream& stream : streams)
      std::thread([&] {
        float found = 0;
        void* memory = b.allocate(stream, sizeof found);
        b.fill(stream, view_of(memory, {1}, DType::f32), 3);
        b.copy_out(stream, &found, memory, sizeof found);
        b.synchronize(stream);
        CHECK(found == 3);
        b.release(stream, memory, sizeof found);
      }).join();
  for (const Stream& stream : streams) loaded().close(stream);
}

TEST_CASE(
    "cuda library: code built for an architecture runs on GPUs of its major version, PTX on "
    "newer ones") {
  using cuda::has_code_for;
  const std::string ci = "90-real,90-virtual";
  CHECK(has_code_for(ci, 9, 0));
  CHECK(has_code_for(ci, 10, 0));
  CHECK(!has_code_for(ci, 8, 9));
  const std::string release = "80-real,86-real,89-real,90-real,90-virtual";
  CHECK(has_code_for(release, 8, 0));
  CHECK(has_code_for(release, 8, 7));
  CHECK(has_code_for(release, 12, 1));
  CHECK(!has_code_for(release, 7, 5));
  CHECK(has_code_for("75", 8, 0));  // both machine code and PTX
  CHECK(!has_code_for("75-real", 8, 0));
  CHECK(!has_code_for("86-real", 8, 0));
  CHECK(!has_code_for("", 9, 0));
  CHECK(has_code_for("90a", 9, 0));
  CHECK(!has_code_for("90a-real,90a-virtual", 10, 0));
  CHECK(has_code_for("100f-real", 10, 3));
  CHECK(!has_code_for("100f", 12, 0));
  CHECK(has_code_for("native", 8, 6));
}

}  // namespace fulmar::test
