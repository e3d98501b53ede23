// A CUDA backend's library without CUDA: its GPUs are the emulator. What it claims to be comes from
// the environment:
//   FAKE_CUDA_GPUS     how many there are (default 2)
//   FAKE_CUDA_MEMORY   bytes that each has (default 1 GB)
//   FAKE_CUDA_VERSION  of the interface (default: the right one)
//   FAKE_CUDA_LAYOUT   of what it shares with the program (default: the right one)
//   FAKE_CUDA_TABLE    version of the table of kernels (default: the right one)
//   FAKE_CUDA_LOG      file that says what was asked of it, a line each: "choices: …", "open bf16"
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/emulated.h"
#include "kernels/cuda/library.h"
#include "kernels/error.h"

namespace fulmar {
namespace {

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

void note(const std::string& line) {
  if (const char* path = std::getenv("FAKE_CUDA_LOG"))
    std::ofstream(path, std::ios::app) << line << "\n";
}

size_t total_bytes() { return setting("FAKE_CUDA_MEMORY", uint64_t{1} << 30); }
std::atomic<size_t> used_bytes{0};

MemoryInfo memory(Stream&) {
  const size_t used = used_bytes;
  return {total_bytes() - std::min(used, total_bytes()), total_bytes()};
}

void* allocate(Stream& stream, size_t bytes) {
  if (bytes > memory(stream).free_bytes)
    device_error("cuda: cudaMalloc: out of memory: " + std::to_string(bytes) +
                 " bytes asked for, " + std::to_string(memory(stream).free_bytes) + " of " +
                 std::to_string(total_bytes()) + " are free");
  used_bytes += bytes;
  return simt_backend().allocate(stream, bytes);
}

void release(Stream& stream, void* memory, size_t bytes) {
  used_bytes -= bytes;
  simt_backend().release(stream, memory, bytes);
}

const Backend& backend(Precision precision) {
  const auto make = [](Precision p) {
    Backend b = simt_backend(p);
    b.version = static_cast<uint32_t>(setting("FAKE_CUDA_TABLE", Backend::current_version));
    b.name = "cuda";
    b.allocate = allocate;
    b.release = release;
    b.memory = memory;
    return b;
  };
  static const Backend made[] = {make(Precision::fp32), make(Precision::tf32),
                                 make(Precision::bf16)};
  return made[static_cast<int>(precision)];
}

std::vector<CudaDevice> devices() {
  std::vector<CudaDevice> gpus;
  for (uint64_t i = 0; i < setting("FAKE_CUDA_GPUS", 2); i++)
    gpus.push_back({"Emulated GPU " + std::to_string(i), 9, 0, 3, total_bytes(), true});
  if (gpus.empty()) device_error("cuda: cudaGetDeviceCount: cudaErrorNoDevice: no GPU");
  return gpus;
}

struct Opened {
  simt::StreamOwner owner;
  std::string choices = "chosen at first\n";
};
std::map<void*, std::unique_ptr<Opened>> opened;

Stream open(int, const CudaOptions& options) {
  note(std::string("open ") + (options.precision == Precision::bf16 ? "bf16" : "fp32"));
  auto one = std::make_unique<Opened>();
  const Stream stream = one->owner.stream();
  opened[stream.native] = std::move(one);
  return stream;
}

void close(const Stream& stream) { opened.erase(stream.native); }

std::string choices(const Stream& stream) { return opened.at(stream.native)->choices; }
void use_choices(const Stream& stream, const std::string& text) {
  note("choices: " + text.substr(0, text.find('\n')));
  opened.at(stream.native)->choices = text;
}

}  // namespace
}  // namespace fulmar

extern "C" FULMAR_API const fulmar::CudaLibrary* fulmar_cuda_library() {
  using namespace fulmar;
  static const CudaLibrary library{
      static_cast<uint32_t>(setting("FAKE_CUDA_VERSION", CudaLibrary::current_version)),
      setting("FAKE_CUDA_LAYOUT", layout_of_shared_types()),
      backend,
      [] {
        return CudaVersions{"13.0", "13.0", "9.9.9", "13.0"};
      },
      devices,
      [](int) {
        Stream none;
        return memory(none);
      },
      open,
      close,
      choices,
      use_choices};
  return &library;
}
