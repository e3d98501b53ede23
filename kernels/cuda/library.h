#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace fulmar {

// A GPU, as CUDA tells of it without starting work on it.
struct CudaDevice {
  std::string name;          // "NVIDIA H100 80GB HBM3"
  int major = 0, minor = 0;  // compute capability
  int processors = 0;        // streaming multiprocessors
  size_t total_bytes = 0;    // of memory
  bool supported = false;    // this library has code for it
};

// "13.0", "9.19.0". The driver's is the newest CUDA that it serves, empty where there is none.
struct CudaVersions {
  std::string driver, runtime, cudnn, cublaslt;
};

struct CudaOptions {
  Precision precision = Precision::fp32;
  // Also vendor algorithms whose results may differ by some bits from run to run.
  bool nondeterministic = false;
  // Time what the heuristics propose when a workspace is asked for, and keep the fastest; else
  // their first proposal that works.
  bool autotune = true;
};

// A number made of the sizes of all that passes between the program and the library: where they
// differ, the two were built from different sources, or by compilers that don't fit.
constexpr uint64_t layout_of_shared_types() {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const size_t size : {sizeof(Backend),
                            sizeof(Stream),
                            sizeof(View),
                            sizeof(Shape),
                            sizeof(Window),
                            sizeof(Resize),
                            sizeof(CrossEntropy),
                            sizeof(AdamW),
                            sizeof(Sgd),
                            sizeof(Lars),
                            sizeof(MemoryInfo),
                            sizeof(StepState),
                            sizeof(Segment),
                            sizeof(WarpSample),
                            sizeof(WarpOptions),
                            sizeof(CudaDevice),
                            sizeof(CudaVersions),
                            sizeof(CudaOptions),
                            sizeof(std::string),
                            sizeof(std::vector<CudaDevice>),
                            sizeof(std::span<const View>)})
    hash = (hash ^ size) * 1099511628211u;
  return hash;
}

// What the CUDA backend's shared library gives to the program that loads it, by one function.
// Functions throw Error(device), whose message says which call of CUDA's failed and why.
struct CudaLibrary {
  static constexpr uint32_t current_version = 3;
  static constexpr const char* symbol = "fulmar_cuda_library";
  static constexpr const char* file_name = "libfulmar_cuda.so";

  uint32_t version;  // current_version of the header that the library was built with
  uint64_t layout;   // layout_of_shared_types() of the same
  const Backend& (*backend)(Precision);
  CudaVersions (*versions)();  // needs no GPU
  // At least one: Error(device) where there is no driver, none new enough, or no GPU.
  std::vector<CudaDevice> (*devices)();
  // Of GPU number `device`, on which this starts to work: a moment and some of its memory.
  MemoryInfo (*memory)(int device);
  // A stream on GPU number `device`, for kernels of this precision; closed by close. Whatever is
  // done with it, by one thread at a time, makes that GPU the calling thread's first; there may be
  // streams on several. Also Error(device) where the environment's NVIDIA_TF32_OVERRIDE contradicts
  // the precision, or cuDNN or cuBLASLt is older than what the library was built with, or of
  // another major version.
  Stream (*open)(int device, const CudaOptions&);
  void (*close)(const Stream&);
  // The algorithms that dense convolutions and products on this stream were given so far, as text
  // of one line each. Given to another stream, what is planned on it from then on makes the same
  // choices for the same shapes on the same model of GPU and versions of the libraries, and so
  // repeats results to the bit; entries of other GPUs or versions are kept and not used.
  // Error(file) where the text is damaged, by its line. What was planned before with another
  // algorithm goes on with the given one once that is planned anew, but for captured graphs; it is
  // Error(usage), when planned, where the given one needs more workspace than that has.
  std::string (*convolution_choices)(const Stream&);
  void (*use_convolution_choices)(const Stream&, const std::string&);
};

// The symbol's type.
using CudaLibraryFunction = const CudaLibrary* (*)();

}  // namespace fulmar
