#pragma once

#include <cstddef>
#include <cstdint>
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

// What the CUDA backend's shared library gives to the program that loads it, by one function.
// Functions throw Error(device), whose message says which call of CUDA's failed and why.
struct CudaLibrary {
  static constexpr uint32_t current_version = 2;
  static constexpr const char* symbol = "fulmar_cuda_library";
  static constexpr const char* file_name = "libfulmar_cuda.so";

  uint32_t version;  // current_version of the header that the library was built with
  const Backend& (*backend)(Precision);
  CudaVersions (*versions)();  // needs no GPU
  // At least one: Error(device) where there is no driver, none new enough, or no GPU.
  std::vector<CudaDevice> (*devices)();
  // Of GPU number `device`, on which this starts to work: a moment and some of its memory.
  MemoryInfo (*memory)(int device);
  // A stream on GPU number `device`, which becomes the calling thread's, for kernels of this
  // precision; closed by close.
  Stream (*open)(int device, const CudaOptions&);
  void (*close)(const Stream&);
  // The algorithms that dense convolutions and products on this stream were given so far, as text
  // of one line each. Given to another stream before its first plan, that one makes the same
  // choices for the same shapes on the same model of GPU and versions of the libraries, and so
  // repeats results to the bit; entries of other GPUs or versions are kept and not used.
  // Error(file) where the text is damaged, by its line.
  std::string (*convolution_choices)(const Stream&);
  void (*use_convolution_choices)(const Stream&, const std::string&);
};

// The symbol's type.
using CudaLibraryFunction = const CudaLibrary* (*)();

}  // namespace fulmar
