#include "kernels/cuda/vendor.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"

namespace fulmar::cuda {
namespace {

constexpr size_t max_candidates = 10;  // that are timed
// An algorithm that wants more than this is left out: the workspace is part of a plan's arena.
constexpr size_t max_workspace_bytes = size_t{1} << 30;

// In a choice's line: what follows is for people.
constexpr const char* remark = " | ";
constexpr const char* untimed = "the heuristic's first, not timed";
std::string algorithm_of(const std::string& choice) {
  return choice.substr(0, choice.find(remark));
}

std::string in_a_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

// Runs body. False where it fails as one algorithm or library may without the others, with why.
template <class Body>
bool survives(std::string& failures, const Body& body) {
  try {
    body();
    return true;
  } catch (const DeviceLost&) {
    throw;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    failures += remark + in_a_line(error.what());
    return false;
  }
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

void check_version(const std::string& name, int built, int loaded) {
  if (loaded >= built && loaded / 10000 == built / 10000) return;
  device_error("cuda: the backend's library was built with " + name + " " +
               parts(built, 10000, 100) + ", and " + parts(loaded, 10000, 100) +
               " is loaded: install that version or a newer one of the same major version, or "
               "build anew");
}

void check_versions() {
  check_version("cuDNN", CUDNN_VERSION, static_cast<int>(cudnnGetVersion()));
  check_version("cuBLASLt", CUBLAS_VERSION, static_cast<int>(cublasLtGetVersion()));
}

namespace {

Vendor::Libraries both(const CudaDevice& device, const Stream& stream, bool nondeterministic) {
  Vendor::Libraries libraries;
  libraries.push_back(cublaslt::library(stream));
  libraries.push_back(cudnn::library(stream, 10 * device.major + device.minor, nondeterministic));
  return libraries;
}

}  // namespace

Vendor::Vendor(const CudaDevice& device, const CudaOptions& options, const Stream& stream)
    : Vendor(device, options, both(device, stream, options.nondeterministic), timers_on(stream)) {}

Vendor::Vendor(const CudaDevice& device, const CudaOptions& options, Libraries libraries,
               Timers timers)
    : options_(options),
      machine_(" on " + device.name + " sm_" + std::to_string(device.major) +
               std::to_string(device.minor) + " cudnn " + cudnn_version() + " cublaslt " +
               cublaslt_version() + (options.nondeterministic ? " nondeterministic" : "")),
      libraries_(std::move(libraries)),
      timers_(std::move(timers)) {}

Vendor::~Vendor() = default;

size_t Vendor::plan(const DenseProblem& problem) {
  if (problem.is_empty()) {
    plans_[problem.numbers()];
    return 0;
  }
  const std::string name = key(problem);
  std::string choice = choices_.find(name);
  const auto planned = plans_.find(problem.numbers());
  if (planned == plans_.end() || planned->second.text != algorithm_of(choice)) {
    Plan made;
    if (choice.empty())
      made.algorithm = chosen(problem, choice);
    else
      made.algorithm = stored(problem, choice);
    made.text = algorithm_of(choice);
    // What the libraries tried in passing is not to be taken for an error of the next launch.
    cudaGetLastError();
    if (planned != plans_.end()) {
      if (made.bytes() > planned->second.bytes())
        usage_error("cuda: the stored choice \"" + made.text + "\" for " + name + " needs " +
                    std::to_string(made.bytes()) +
                    " bytes of workspace; what was planned before it was given has " +
                    std::to_string(planned->second.bytes()) + ": open the GPU anew for it");
      // What was planned with the old one keeps its workspace; graphs may refer to the algorithm.
      made.announced = planned->second.bytes();
      if (planned->second.algorithm) replaced_.push_back(std::move(planned->second.algorithm));
    }
    choices_.set(name, choice);
    plans_[problem.numbers()] = std::move(made);
  }
  return plans_[problem.numbers()].bytes();
}

bool Vendor::run(const DenseProblem& problem, const DenseOperands& operands, void* work) {
  const auto planned = plans_.find(problem.numbers());
  if (planned == plans_.end())
    usage_error("cuda: " + problem.text() + " was run before its workspace was asked for");
  DenseAlgorithm* const algorithm = planned->second.algorithm.get();
  if (!algorithm) return false;
  for (const void* operand :
       {static_cast<const void*>(operands.x), static_cast<const void*>(operands.w),
        static_cast<const void*>(operands.y), operands.bias})
    if (reinterpret_cast<uintptr_t>(operand) % 16 != 0)
      usage_error("cuda: " + problem.text() + ": operands must lie at multiples of 16 bytes");
  algorithm->run(operands, aligned_work(work));
  return true;
}

std::unique_ptr<DenseAlgorithm> Vendor::stored(const DenseProblem& problem,
                                               const std::string& choice) {
  const std::string text = algorithm_of(choice);
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

// What the library proposes and can make, with why the rest was left out.
std::vector<Vendor::Candidate> Vendor::candidates(DenseLibrary& library,
                                                  const DenseProblem& problem,
                                                  std::string& failures) {
  std::vector<Candidate> made;
  std::vector<std::string> texts;
  std::string why_not;
  if (!survives(failures, [&] { texts = library.proposals(problem, why_not); })) return {};
  for (const std::string& text : texts) {
    if (made.size() == (options_.autotune ? max_candidates : 1)) break;
    std::unique_ptr<DenseAlgorithm> algorithm;
    if (!survives(failures, [&] { algorithm = library.make(problem, text, why_not); })) continue;
    if (algorithm && algorithm->workspace_bytes() > max_workspace_bytes) {
      why_not = "its workspace of " + std::to_string(algorithm->workspace_bytes()) +
                " bytes is too large";
      algorithm = nullptr;
    }
    if (algorithm) made.push_back({text, std::move(algorithm)});
  }
  if (made.empty() && !why_not.empty()) failures += remark + in_a_line(why_not);
  if (made.empty() && failures.empty()) failures = remark + std::string("no reason given");
  return made;
}

std::unique_ptr<DenseAlgorithm> Vendor::chosen(const DenseProblem& problem, std::string& choice) {
  constexpr float unknown = std::numeric_limits<float>::infinity();
  Candidate best;
  Timer timer;
  size_t timed = 0;
  std::string remarks;
  for (const auto& library : libraries_) {
    if (best.algorithm && !options_.autotune) break;
    std::string failures;
    std::vector<Candidate> left = candidates(*library, problem, failures);
    // Without a timer nothing is known to run.
    if (options_.autotune && !timer && !left.empty() &&
        !survives(failures, [&] { timer = timers_(problem); }))
      left.clear();
    for (Candidate& c : left) {
      c.ms = unknown;
      if (timer && !survives(failures, [&] { c.ms = timer(*c.algorithm); })) continue;
      timed++;
      // The first of equals: where memory was too little for all, the heuristic's.
      if (!best.algorithm || c.ms < best.ms) best = std::move(c);
    }
    if (!failures.empty())
      remarks += remark + library->name() + ":" + failures.substr(std::strlen(remark) - 1);
  }
  if (!best.algorithm) {
    choice = "plain" + remarks;
    return nullptr;
  }
  choice = best.text + remark;
  if (best.ms < unknown)
    choice += milliseconds(best.ms) + ", the best of " + std::to_string(timed);
  else
    choice += std::string(untimed) + (timer ? ": too little memory" : "");
  choice += remarks;
  return std::move(best.algorithm);
}

void Vendor::use_choices(const std::string& text) {
  const Choices given = Choices::parse(text);
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
