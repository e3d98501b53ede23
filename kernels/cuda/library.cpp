#include "kernels/cuda/library.h"

#include <cstdlib>
#include <memory>

#include "kernels/cuda/architectures.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/vendor.h"

namespace fulmar {
namespace cuda {
namespace {

std::string two_parts(int version) {  // 13000: "13.0"
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string driver_version() {
  int version = 0;  // stays 0 where there is no driver
  check(cudaDriverGetVersion(&version), "cudaDriverGetVersion");
  return version == 0 ? "" : two_parts(version);
}

std::string runtime_version() {
  int version = 0;
  check(cudaRuntimeGetVersion(&version), "cudaRuntimeGetVersion");
  return two_parts(version);
}

CudaVersions versions() {
  return {driver_version(), runtime_version(), cudnn_version(), cublaslt_version()};
}

int device_count() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();  // it is told of here
  if (error == cudaErrorInsufficientDriver) {
    const std::string driver = driver_version();
    if (driver.empty())
      device_error(
          "cuda: cudaGetDeviceCount: no NVIDIA driver on this machine (libcuda.so.1 was not "
          "found): install one, or use the CPU");
    device_error("cuda: cudaGetDeviceCount: the NVIDIA driver serves CUDA up to " + driver +
                 ", this library needs " + runtime_version() + ": install a newer driver");
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    device_error(std::string("cuda: cudaGetDeviceCount: the NVIDIA driver finds no GPU") +
                 (visible ? " (CUDA_VISIBLE_DEVICES is \"" + std::string(visible) + "\")" : ""));
  }
  check(error, "cudaGetDeviceCount");
  return count;
}

std::vector<CudaDevice> devices() {
  std::vector<CudaDevice> found(static_cast<size_t>(device_count()));
  for (size_t i = 0; i < found.size(); i++) {
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, static_cast<int>(i)), "cudaGetDeviceProperties");
    found[i] = {p.name,           p.major,
                p.minor,          p.multiProcessorCount,
                p.totalGlobalMem, has_code_for(FULMAR_CUDA_ARCHITECTURES, p.major, p.minor)};
  }
  return found;
}

// One that there is, and that runs this library's kernels.
CudaDevice device_of(int number) {
  const std::vector<CudaDevice> all = devices();
  if (number < 0 || static_cast<size_t>(number) >= all.size())
    device_error("cuda: there is no GPU number " + std::to_string(number) + ": this machine has " +
                 std::to_string(all.size()) + ", numbered from 0");
  const CudaDevice& device = all[static_cast<size_t>(number)];
  const std::string capability = std::to_string(device.major) + "." + std::to_string(device.minor);
  if (!device.supported)
    device_error("cuda: GPU " + std::to_string(number) + ", " + device.name +
                 ", has compute capability " + capability + "; this library was built for " +
                 FULMAR_CUDA_ARCHITECTURES + ": build it with FULMAR_CUDA_ARCHITECTURES=" +
                 std::to_string(device.major) + std::to_string(device.minor));
  return device;
}

// The calling thread's GPU is again what it was when this ends.
class KeepDevice {
 public:
  KeepDevice() { known_ = cudaGetDevice(&device_) == cudaSuccess; }
  ~KeepDevice() {
    int now = 0;
    if (known_ && (cudaGetDevice(&now) != cudaSuccess || now != device_)) cudaSetDevice(device_);
  }
  KeepDevice(const KeepDevice&) = delete;
  KeepDevice& operator=(const KeepDevice&) = delete;

 private:
  int device_ = 0;
  bool known_ = false;
};

MemoryInfo memory(int device) {
  device_of(device);
  const KeepDevice keep;
  make_current(device);
  MemoryInfo info;
  check(cudaMemGetInfo(&info.free_bytes, &info.total_bytes), "cudaMemGetInfo");
  return info;
}

void close(const Stream& stream) {
  Queue* queue = static_cast<Queue*>(stream.native);
  if (!queue) return;
  const KeepDevice keep;
  cudaSetDevice(queue->device);
  if (queue->stream) cudaStreamSynchronize(queue->stream);
  delete queue->vendor;
  for (cudaStream_t used : {queue->stream, queue->uploads})
    if (used) cudaStreamDestroy(used);
  for (cudaEvent_t used : {queue->uploaded, queue->launched})
    if (used) cudaEventDestroy(used);
  for (cudaEvent_t used : queue->marks)
    if (used) cudaEventDestroy(used);
  cudaFree(queue->partials);
  cudaFree(queue->small);
  delete queue;
}

// NVIDIA's libraries follow the variable against what they are asked for.
void check_environment(Precision precision) {
  const char* value = std::getenv("NVIDIA_TF32_OVERRIDE");
  if (!value) return;
  const std::string set = value;
  if (set == "1" && precision == Precision::fp32)
    device_error(
        "cuda: NVIDIA_TF32_OVERRIDE=1 would make products of fp32 TF32: take it out of the "
        "environment, or ask for tf32");
  if (set == "0" && precision == Precision::tf32)
    device_error(
        "cuda: NVIDIA_TF32_OVERRIDE=0 would make products of tf32 fp32: take it out of the "
        "environment, or ask for fp32");
}

Stream open(int number, const CudaOptions& options) {
  check_environment(options.precision);
  check_versions();
  const CudaDevice device = device_of(number);
  make_current(number);
  int threads = 0;
  check(cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, number),
        "cudaDeviceGetAttribute");
  std::unique_ptr<Queue> queue(new Queue);
  queue->device = number;
  queue->precision = options.precision;
  // Four waves of blocks of 256 threads: enough to even out, few enough to stride.
  queue->max_blocks = 4 * device.processors * (threads / 256);
  try {
    for (cudaStream_t* made : {&queue->stream, &queue->uploads})
      check(cudaStreamCreateWithFlags(made, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    for (cudaEvent_t* made : {&queue->uploaded, &queue->launched})
      check(cudaEventCreateWithFlags(made, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    for (cudaEvent_t& made : queue->marks)
      check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    void* partials = nullptr;
    check(cudaMalloc(&partials, Queue::partial_bytes), "cudaMalloc of partial sums");
    queue->partials = static_cast<double*>(partials);
    check(cudaMalloc(&queue->small, Queue::small_bytes), "cudaMalloc of small results");
    queue->vendor = new Vendor(device, options, {nullptr, queue.get()});
  } catch (...) {
    close({nullptr, queue.release()});
    throw;
  }
  return {nullptr, queue.release()};
}

const Backend& backend(Precision precision) {
  const auto make = [](Precision p) {
    return table(
        "cuda", [] { return "CUDA"; }, p);
  };
  static const Backend made[] = {make(Precision::fp32), make(Precision::tf32),
                                 make(Precision::bf16)};
  return made[static_cast<int>(precision)];
}

std::string convolution_choices(const Stream& stream) { return queue_of(stream).vendor->choices(); }

void use_convolution_choices(const Stream& stream, const std::string& text) {
  queue_of(stream).vendor->use_choices(text);
}

}  // namespace
}  // namespace cuda
}  // namespace fulmar

extern "C" FULMAR_API const fulmar::CudaLibrary* fulmar_cuda_library() {
  using namespace fulmar;
  static const CudaLibrary library{CudaLibrary::current_version,
                                   layout_of_shared_types(),
                                   cuda::backend,
                                   cuda::versions,
                                   cuda::devices,
                                   cuda::memory,
                                   cuda::open,
                                   cuda::close,
                                   cuda::convolution_choices,
                                   cuda::use_convolution_choices};
  return &library;
}
