#include "kernels/cuda/vendor.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/dense_operands.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"

namespace fulmar::cuda {
namespace {

constexpr size_t max_candidates = 10;  // that are timed
constexpr int timed_runs = 3;
// An algorithm that wants more than this is left out: the workspace is part of a plan's arena.
constexpr size_t max_workspace_bytes = size_t{1} << 30;
constexpr size_t work_alignment = 256;

// In a choice's line: what follows is for people.
constexpr const char* remark = " | ";

// Memory on the device while this lives; null where there wasn't enough.
class Memory {
 public:
  explicit Memory(size_t bytes) {
    const cudaError_t error = cudaMalloc(&data_, std::max<size_t>(bytes, 1));
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // it is dealt with
      data_ = nullptr;
    } else {
      check(error, "cudaMalloc of " + std::to_string(bytes) + " bytes to time algorithms with");
    }
  }
  ~Memory() { cudaFree(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void* get() const { return data_; }

 private:
  void* data_ = nullptr;
};

class Event {
 public:
  Event() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  // Milliseconds since `start`, once both have been reached.
  float since(const Event& start) const {
    check(cudaEventSynchronize(event_), "cudaEventSynchronize");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, start.event_, event_), "cudaEventElapsedTime");
    return ms;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

void* aligned(void* work) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(work);
  return reinterpret_cast<void*>((at + work_alignment - 1) / work_alignment * work_alignment);
}

std::string parts(int version, int major, int minor) {
  return std::to_string(version / major) + "." + std::to_string(version % major / minor) + "." +
         std::to_string(version % minor);
}

std::string milliseconds(float ms) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.4f ms", static_cast<double>(ms));
  return digits;
}

}  // namespace

std::string cudnn_version() { return parts(static_cast<int>(cudnnGetVersion()), 10000, 100); }
std::string cublaslt_version() { return parts(static_cast<int>(cublasLtGetVersion()), 10000, 100); }

// Operands and results to time algorithms on; without memory where there isn't enough.
struct Vendor::Timing {
  DenseProblem problem;
  Stream stream;
  Memory x, w, y, bias;
  Event start, end;

  Timing(const DenseProblem& p, const Stream& s)
      : problem(p),
        stream(s),
        x(static_cast<size_t>(p.x.elements()) * size_of(p.activation())),
        w(static_cast<size_t>(p.w.elements()) * sizeof(float)),
        y(static_cast<size_t>(p.y.elements()) * size_of(p.activation())),
        bias(static_cast<size_t>(p.w.channels()) * sizeof(float)) {
    if (!has_memory()) return;
    fill_with_noise(stream, x.get(), p.activation(), p.x.elements());
    fill_with_noise(stream, w.get(), DType::f32, p.w.elements());
    fill_with_noise(stream, y.get(), p.activation(), p.y.elements());
    fill_with_noise(stream, bias.get(), DType::f32, p.w.channels());
  }
  bool has_memory() const { return x.get() && w.get() && y.get() && bias.get(); }

  // The best of a few runs, infinite where there is too little memory for its workspace.
  float of(DenseAlgorithm& algorithm) {
    const cudaStream_t queue = queue_of(stream).stream;
    const Memory work(algorithm.workspace_bytes() + work_alignment);
    float best = std::numeric_limits<float>::infinity();
    if (!work.get()) return best;
    const DenseOperands operands{x.get(), w.get(), y.get(), bias.get()};
    algorithm.run(operands, aligned(work.get()));  // loads its code
    for (int run = 0; run < timed_runs; run++) {
      start.record(queue);
      algorithm.run(operands, aligned(work.get()));
      end.record(queue);
      best = std::min(best, end.since(start));
    }
    return best;
  }
};

namespace {

Vendor::Libraries both(const Stream& stream, bool nondeterministic) {
  Vendor::Libraries libraries;
  libraries.push_back(cublaslt::library(stream));
  libraries.push_back(cudnn::library(stream, nondeterministic));
  return libraries;
}

}  // namespace

Vendor::Vendor(const CudaDevice& device, const CudaOptions& options, const Stream& stream)
    : Vendor(device, options, stream, both(stream, options.nondeterministic)) {}

Vendor::Vendor(const CudaDevice& device, const CudaOptions& options, const Stream& stream,
               Libraries libraries)
    : stream_(stream),
      options_(options),
      machine_(" on " + device.name + " sm_" + std::to_string(device.major) +
               std::to_string(device.minor) + " cudnn " + cudnn_version() + " cublaslt " +
               cublaslt_version() + (options.nondeterministic ? " nondeterministic" : "")),
      libraries_(std::move(libraries)) {}

Vendor::~Vendor() = default;

size_t Vendor::plan(const DenseProblem& problem) {
  const std::vector<int64_t> numbers = problem.numbers();
  auto planned = plans_.find(numbers);
  if (planned == plans_.end()) {
    std::unique_ptr<DenseAlgorithm> algorithm;
    if (!problem.is_empty()) {
      std::string choice = choices_.find(key(problem));
      if (!choice.empty()) {
        algorithm = stored(problem, choice);
      } else {
        algorithm = chosen(problem, choice);
        choices_.set(key(problem), choice);
      }
    }
    // What the libraries tried in passing is not to be taken for an error of the next launch.
    cudaGetLastError();
    planned = plans_.emplace(numbers, std::move(algorithm)).first;
  }
  if (!planned->second) return 0;
  return planned->second->workspace_bytes() + work_alignment;
}

bool Vendor::run(const DenseProblem& problem, const DenseOperands& operands, void* work) {
  const auto planned = plans_.find(problem.numbers());
  if (planned == plans_.end())
    usage_error("cuda: " + problem.text() + " was run before its workspace was asked for");
  if (!planned->second) return false;
  for (const void* operand :
       {static_cast<const void*>(operands.x), static_cast<const void*>(operands.w),
        static_cast<const void*>(operands.y)})
    if (reinterpret_cast<uintptr_t>(operand) % 16 != 0)
      usage_error("cuda: " + problem.text() + ": operands must lie at multiples of 16 bytes");
  planned->second->run(operands, aligned(work));
  return true;
}

std::unique_ptr<DenseAlgorithm> Vendor::stored(const DenseProblem& problem,
                                               const std::string& choice) {
  const std::string text = choice.substr(0, choice.find(remark));
  if (text == "plain") return nullptr;
  for (const auto& library : libraries_) {
    if (text.rfind(library->name() + " ", 0) != 0) continue;
    std::string why_not;
    std::unique_ptr<DenseAlgorithm> algorithm = library->make(problem, text, why_not);
    if (!algorithm)
      device_error("cuda: the stored choice \"" + text + "\" for " + key(problem) +
                   " can't be used: " + why_not + ": leave it out to choose anew");
    return algorithm;
  }
  file_error("cuda choices: \"" + text + "\" for " + key(problem) +
             " is an algorithm of no library that there is");
}

std::unique_ptr<DenseAlgorithm> Vendor::chosen(const DenseProblem& problem, std::string& choice) {
  std::string reasons;
  for (const auto& library : libraries_) {
    std::string why_not;
    struct Candidate {
      std::string text;
      std::unique_ptr<DenseAlgorithm> algorithm;
    };
    std::vector<Candidate> candidates;
    for (const std::string& text : library->proposals(problem, why_not)) {
      std::unique_ptr<DenseAlgorithm> algorithm = library->make(problem, text, why_not);
      if (algorithm && algorithm->workspace_bytes() > max_workspace_bytes) {
        why_not = "its workspace of " + std::to_string(algorithm->workspace_bytes()) +
                  " bytes is too large";
        algorithm = nullptr;
      }
      if (algorithm) candidates.push_back({text, std::move(algorithm)});
      if (candidates.size() == (options_.autotune ? max_candidates : 1)) break;
    }
    if (candidates.empty()) {
      reasons += std::string(remark) + library->name() + ": " + why_not;
      continue;
    }

    size_t best = 0, failed = 0;
    std::string note = "the heuristic's first, not timed";
    if (options_.autotune) {
      Timing timing(problem, stream_);
      float least = std::numeric_limits<float>::infinity();
      std::string failures;
      for (size_t i = 0; timing.has_memory() && i < candidates.size(); i++) try {
          const float ms = timing.of(*candidates[i].algorithm);
          if (ms < least) {
            least = ms;
            best = i;
          }
        } catch (const Error& error) {  // of an engine that promised more than it can
          failures += std::string(remark) + error.what();
          if (++failed == candidates.size()) throw;
        }
      note = (least < std::numeric_limits<float>::infinity()
                  ? milliseconds(least) + ", the best of " + std::to_string(candidates.size())
                  : note + ": too little memory") +
             failures;
    }
    choice = candidates[best].text + remark + note;
    return std::move(candidates[best].algorithm);
  }
  choice = "plain" + reasons;
  return nullptr;
}

void Vendor::use_choices(const std::string& text) {
  const Choices given = Choices::parse(text);
  if (!plans_.empty())
    usage_error("cuda choices: to be given before anything is planned on the stream");
  for (const auto& [key, choice] : given.all()) choices_.set(key, choice);
}

namespace {

DenseProblem problem_of(const Stream& stream, Product product, const Shape& x, const Shape& w,
                        const Shape& y, const Window& window, int64_t groups, bool bias) {
  return {product, queue_of(stream).precision, x, w, y, window, groups, bias};
}

bool is_given(const View& optional) { return optional.shape.rank() > 0; }

}  // namespace

void set_vendor(Backend& b) {
  b.conv2d_workspace = [](Stream& stream, const View& x, const View& w, const View& bias,
                          const View& y, const Window& window, int64_t groups) {
    return queue_of(stream).vendor->plan(problem_of(stream, Product::forward, x.shape, w.shape,
                                                    y.shape, window, groups, is_given(bias)));
  };
  b.conv2d = [](Stream& stream, const View& x, const View& w, const View& bias, const View& y,
                const Window& window, int64_t groups, void* work) {
    if (!queue_of(stream).vendor->run(problem_of(stream, Product::forward, x.shape, w.shape,
                                                 y.shape, window, groups, is_given(bias)),
                                      {x.data, w.data, y.data, bias.data}, work))
      conv2d(stream, x, w, bias, y, window, groups, work);
  };
  b.conv2d_input_grad_workspace = [](Stream& stream, const View& dy, const View& w, const View& dx,
                                     const Window& window, int64_t groups) {
    return queue_of(stream).vendor->plan(problem_of(stream, Product::input_grad, dx.shape, w.shape,
                                                    dy.shape, window, groups, false));
  };
  b.conv2d_input_grad = [](Stream& stream, const View& dy, const View& w, const View& dx,
                           const Window& window, int64_t groups, void* work) {
    if (!queue_of(stream).vendor->run(problem_of(stream, Product::input_grad, dx.shape, w.shape,
                                                 dy.shape, window, groups, false),
                                      {dx.data, w.data, dy.data, nullptr}, work))
      conv2d_input_grad(stream, dy, w, dx, window, groups, work);
  };
  b.conv2d_weight_grad_workspace = [](Stream& stream, const View& x, const View& dy, const View& dw,
                                      const Window& window, int64_t groups) {
    return queue_of(stream).vendor->plan(problem_of(stream, Product::weight_grad, x.shape, dw.shape,
                                                    dy.shape, window, groups, false));
  };
  b.conv2d_weight_grad = [](Stream& stream, const View& x, const View& dy, const View& dw,
                            const Window& window, int64_t groups, void* work) {
    if (!queue_of(stream).vendor->run(problem_of(stream, Product::weight_grad, x.shape, dw.shape,
                                                 dy.shape, window, groups, false),
                                      {x.data, dw.data, dy.data, nullptr}, work))
      conv2d_weight_grad(stream, x, dy, dw, window, groups, work);
  };
}

}  // namespace fulmar::cuda
