#pragma once

#include <cudnn.h>

#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/dense.h"

// cuDNN's graph API, as much of it as dense convolutions need.
namespace fulmar::cuda::cudnn {

// Error(device) with the call, cuDNN's words for what went wrong, and what it was about.
void check(cudnnStatus_t status, const std::string& call, const std::string& about);
std::string words(cudnnStatus_t status);  // status and cuDNN's last message
// It says that it can't, not that it was asked wrongly or failed.
bool is_unsupported(cudnnStatus_t status);

// A backend descriptor of its own.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  cudnnBackendDescriptor_t get() const { return handle_; }

  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values, const std::string& about);
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value,
           const std::string& about) {
    set(name, type, 1, &value, about);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value, const std::string& about) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.handle_, about);
  }
  int64_t get_int64(cudnnBackendAttributeName_t name, const std::string& about) const;

  // What finalizing said: success, or that it is unsupported. Error(device) else.
  cudnnStatus_t try_finalize(const std::string& about);
  void finalize(const std::string& about);

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

// An engine with its knobs, as text "cudnn engine 67 knobs 2:4,13:0".
struct EngineConfig {
  int64_t engine = 0;
  std::vector<std::pair<int64_t, int64_t>> knobs;  // type, value

  std::string text() const;
  static EngineConfig parse(const std::string& text);  // Error(file)
};

// For which GPU: that of a handle, or without one, to look at only, that which a text describes
// (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION).
struct Target {
  cudnnHandle_t handle = nullptr;
  int sm = 0;  // 90 for compute capability 9.0
  Descriptor properties;

  static Target of(cudnnHandle_t handle, int sm);
  static Target described_by(const std::string& json, int sm);
};

// Whether an engine with these notes may be used: it keeps the precision's promises (fp32 is never
// rounded on the way, sums are float32), sums products in the plain way (no transforms, whose
// rounding errors are larger), and repeats its bits unless `nondeterministic` ones are welcome.
bool is_allowed(const std::vector<cudnnBackendNumericalNote_t>& notes, Precision precision,
                bool nondeterministic);

// Whether an engine is known to compute wrong results, or to end the device's work, on GPUs of
// compute capability `sm` (90 for 9.0) in a version of cuDNN (91900 for 9.19.0), though no note of
// its says so. By PyTorch's list of engines that it leaves out.
bool is_known_bad(Product product, int64_t engine, size_t version, int sm);

// What is executed; with what it was made of, which it may refer to.
struct ExecutionPlan {
  Descriptor engine, config, plan;
  explicit operator bool() const { return plan.get() != nullptr; }
};

// One convolution as cuDNN's operation graph: x and y with channels last, filters and their
// gradient [Co,Kh,Kw,Ci/groups], all of the problem's type of activations, sums in float32.
class ConvolutionGraph {
 public:
  enum Operand : int64_t { x = 1, w = 2, y = 3 };  // their numbers in a variant pack

  // Empty, with the reason, where cuDNN has no such operation.
  ConvolutionGraph(const DenseProblem& problem, const Target& target, std::string& why_not);

  bool is_empty() const { return graph_.get() == nullptr; }
  const std::string& about() const { return about_; }

  // What a heuristic proposes, the fastest first, and what of it is allowed.
  std::vector<EngineConfig> proposals(cudnnBackendHeurMode_t mode, bool nondeterministic) const;
  // Empty, with the reason, where the engine doesn't support it.
  ExecutionPlan plan(const EngineConfig& config, std::string& why_not) const;

 private:
  Product product_;
  Precision precision_;
  std::string about_;
  const Target& target_;
  Descriptor x_, w_, y_, convolution_, operation_, graph_;
};

// cuDNN's convolutions on a stream of our backend, its GPU's compute capability `sm` (90 for 9.0).
std::unique_ptr<DenseLibrary> library(const Stream& stream, int sm, bool nondeterministic);

}  // namespace fulmar::cuda::cudnn
