#include "engine/context.h"

#include <charconv>
#include <utility>

#include "engine/cuda.h"
#include "kernels/error.h"

namespace fulmar {
namespace {

constexpr Precision gpu_precision = Precision::bf16;

// The N of "cuda:N", 0 of "cuda", -1 of anything else.
int gpu_number(const std::string& name) {
  if (name == "cuda") return 0;
  if (name.rfind("cuda:", 0) != 0 || name.size() == 5) return -1;
  int number = -1;
  const char* end = name.data() + name.size();
  const auto [at, reason] = std::from_chars(name.data() + 5, end, number);
  return reason == std::errc{} && at == end ? number : -1;
}

}  // namespace

// An opened GPU, closed at the end.
struct Context::Gpu {
  Device device;
  LoadedCuda cuda;
  int number;

  Gpu(const LoadedCuda& loaded, int n, const std::string& hardware, Precision precision)
      : device(loaded.library->backend(precision),
               loaded.library->open(n, {.precision = precision}),
               {"cuda:" + std::to_string(n), hardware, precision, loaded.library}),
        cuda(loaded),
        number(n) {}
  ~Gpu() { cuda.library->close(device.stream()); }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;
};

Context::Context() : Context(Options{}) {}

Context::Context(Options options)
    : options_(std::move(options)),
      pool_(options_.threads),
      cpu_(cpu_backend(), Stream{&pool_, nullptr}),
      cpu_bf16_(cpu_backend(Precision::bf16), Stream{&pool_, nullptr},
                DeviceInfo{"", "", Precision::bf16, nullptr}),
      reference_(reference_backend(), Stream{&pool_, nullptr}) {}

Context::~Context() = default;

Device& Context::device(const std::string& name, std::optional<Precision> precision) {
  if (name == "auto") return gpu_or_cpu(precision);
  if (gpu_number(name) >= 0) return gpu(name, precision.value_or(gpu_precision));
  if (name == "cpu") return cpu(precision);
  if (name != "reference")
    device_error("there is no device '" + name + "': there are cpu, reference, cuda, cuda:N, auto");
  if (precision.value_or(Precision::fp32) != Precision::fp32)
    usage_error(std::string("the device reference has no ") + name_of(*precision) +
                ": it computes in float64 only");
  return reference_;
}

Device& Context::cpu(std::optional<Precision> precision) {
  switch (precision.value_or(Precision::fp32)) {
    case Precision::fp32:
      return cpu_;
    case Precision::bf16:
      return cpu_bf16_;
    case Precision::tf32:
      break;
  }
  usage_error("the precision tf32 is for GPUs: the device cpu computes in fp32 or bf16");
}

Device& Context::gpu_or_cpu(std::optional<Precision> precision) {
  try {
    return gpu("cuda", precision.value_or(gpu_precision));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    if (precision == Precision::tf32)
      usage_error(std::string("the precision tf32 is for GPUs, and none can be used here: ") +
                  error.what());
    // A build without the backend has nothing to explain.
    if (cuda_backend_library().is_expected())
      log(std::string("computing on the CPU: ") + error.what());
    return cpu(precision);
  }
}

Device& Context::gpu(const std::string& name, Precision precision) {
  const std::lock_guard lock(mutex_);
  const int number = gpu_number(name);
  for (const auto& open : gpus_)
    if (open->number == number && open->device.precision() == precision) return open->device;
  const LoadedCuda cuda = load_cuda();
  const std::vector<CudaDevice> devices = cuda_devices(cuda);
  if (number >= static_cast<int>(devices.size()))
    device_error("there is no GPU " + std::to_string(number) + ": the last is cuda:" +
                 std::to_string(devices.size() - 1) + ", " + devices.back().name);
  const CudaDevice& found = devices[static_cast<size_t>(number)];
  if (!found.supported)
    device_error("cuda:" + std::to_string(number) + ", " + describe(found) + ": " + cuda.path +
                 " has no code for it; build it for this GPU (FULMAR_CUDA_ARCHITECTURES)");
  gpus_.push_back(std::make_unique<Gpu>(cuda, number, found.name, precision));
  return gpus_.back()->device;
}

}  // namespace fulmar
