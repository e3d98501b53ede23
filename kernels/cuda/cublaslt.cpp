#include "kernels/cuda/cublaslt.h"

#include <array>
#include <cstdio>
#include <cstring>

#include "kernels/cuda/dense_operands.h"
#include "kernels/cuda/queue.h"
#include "kernels/error.h"

namespace fulmar::cuda::cublaslt {
namespace {

constexpr size_t max_workspace_bytes = size_t{32} << 20;  // what NVIDIA advises for Hopper
constexpr uint32_t alignment = 16;                        // bytes, of every operand
constexpr int max_proposals = 8;

cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t columns,
                              const std::string& about) {
  cublasLtMatrixLayout_t made = nullptr;
  check(cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(rows),
                                   static_cast<uint64_t>(columns), rows),
        "cublasLtMatrixLayoutCreate", about);
  return made;
}

}  // namespace

void check(cublasStatus_t status, const std::string& call, const std::string& about) {
  if (status != CUBLAS_STATUS_SUCCESS)
    device_error("cuda: " + call + ": " + cublasLtGetStatusName(status) + ": " +
                 cublasLtGetStatusString(status) + (about.empty() ? "" : ": " + about));
}

std::string Algorithm::text() const {
  std::string text = "cublaslt workspace " + std::to_string(workspace_bytes) + " algorithm ";
  for (const uint64_t word : algorithm.data) {
    std::array<char, 17> digits{};
    std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(word));
    text += digits.data();
  }
  return text;
}

Algorithm Algorithm::parse(const std::string& text) {
  Algorithm parsed;
  int length = 0;
  unsigned long long bytes = 0;
  bool good =
      std::sscanf(text.c_str(), "cublaslt workspace %llu algorithm %n", &bytes, &length) == 1 &&
      length > 0;
  parsed.workspace_bytes = bytes;
  const char* at = text.c_str() + length;
  for (uint64_t& word : parsed.algorithm.data) {
    unsigned long long value = 0;
    good = good && std::strlen(at) >= 16 && std::sscanf(at, "%16llx", &value) == 1;
    if (good) at += 16;
    word = value;
  }
  if (!good || parsed.text() != text)
    file_error("cuda choices: \"" + text +
               "\" should read as \"cublaslt workspace BYTES algorithm\" and 128 hex digits");
  return parsed;
}

Descriptors::Descriptors(const DenseProblem& problem)
    : about_(problem.text()), bias_(problem.bias) {
  const int64_t inputs = problem.x.channels(), outputs = problem.y.channels();
  const int64_t pixels = problem.y.pixels();
  const bool half = problem.precision == Precision::bf16;
  const cudaDataType_t type = half ? CUDA_R_16BF : CUDA_R_32F;
  const cublasOperation_t transpose = CUBLAS_OP_T;
  try {
    check(
        cublasLtMatmulDescCreate(&operation_,
                                 problem.precision == Precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                                      : CUBLAS_COMPUTE_32F,
                                 CUDA_R_32F),
        "cublasLtMatmulDescCreate", about_);
    const auto set = [&](cublasLtMatmulDescAttributes_t name, const auto& value) {
      check(cublasLtMatmulDescSetAttribute(operation_, name, &value, sizeof value),
            "cublasLtMatmulDescSetAttribute " + std::to_string(name), about_);
    };
    switch (problem.product) {
      case Product::forward:
        a_ = layout(type, outputs, inputs, about_);
        b_ = layout(type, inputs, pixels, about_);
        d_ = layout(type, outputs, pixels, about_);
        break;
      case Product::input_grad:
        a_ = layout(type, outputs, inputs, about_);
        b_ = layout(type, outputs, pixels, about_);
        d_ = layout(type, inputs, pixels, about_);
        set(CUBLASLT_MATMUL_DESC_TRANSA, transpose);
        break;
      case Product::weight_grad:
        a_ = layout(type, outputs, pixels, about_);
        b_ = layout(type, inputs, pixels, about_);
        d_ = layout(CUDA_R_32F, outputs, inputs, about_);
        set(CUBLASLT_MATMUL_DESC_TRANSB, transpose);
        break;
    }
    if (bias_) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      // Heuristics take from it how the bias will be aligned.
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, reinterpret_cast<const void*>(uintptr_t{alignment}));
    }
  } catch (...) {
    release();
    throw;
  }
}

void Descriptors::release() {
  for (cublasLtMatrixLayout_t made : {a_, b_, d_})
    if (made) cublasLtMatrixLayoutDestroy(made);
  if (operation_) cublasLtMatmulDescDestroy(operation_);
}

std::vector<Algorithm> Descriptors::proposals(cublasLtHandle_t handle) const {
  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate", about_);
  const std::unique_ptr<std::remove_pointer_t<cublasLtMatmulPreference_t>,
                        decltype(&cublasLtMatmulPreferenceDestroy)>
      owner(preference, cublasLtMatmulPreferenceDestroy);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference, name, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute " + std::to_string(name), about_);
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{max_workspace_bytes});
  // Parts of a sum meet in the workspace as float32, added in one order by a kernel of their own.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  for (const auto name :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(name, alignment);

  std::array<cublasLtMatmulHeuristicResult_t, max_proposals> results{};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle, operation_, a_, b_, d_, d_, preference, max_proposals, results.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  check(status, "cublasLtMatmulAlgoGetHeuristic", about_);
  std::vector<Algorithm> found;
  for (int i = 0; i < count; i++) {
    const cublasLtMatmulHeuristicResult_t& result = results[static_cast<size_t>(i)];
    if (result.state == CUBLAS_STATUS_SUCCESS) found.push_back({result.algo, result.workspaceSize});
  }
  return found;
}

bool Descriptors::supports(cublasLtHandle_t handle, Algorithm& algorithm,
                           std::string& why_not) const {
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status =
      cublasLtMatmulAlgoCheck(handle, operation_, a_, b_, d_, d_, &algorithm.algorithm, &result);
  if (status != CUBLAS_STATUS_SUCCESS) {
    why_not = std::string("cublasLtMatmulAlgoCheck: ") + cublasLtGetStatusName(status);
    return false;
  }
  algorithm.workspace_bytes = result.workspaceSize;
  return true;
}

void Descriptors::run(cublasLtHandle_t handle, const Algorithm& algorithm, const void* a,
                      const void* b, const void* bias, void* d, void* work,
                      cudaStream_t stream) const {
  if (bias_)
    check(cublasLtMatmulDescSetAttribute(operation_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                         sizeof bias),
          "cublasLtMatmulDescSetAttribute of the bias", about_);
  const float one = 1, zero = 0;
  check(cublasLtMatmul(handle, operation_, &one, a, a_, b, b_, &zero, d, d_, d, d_,
                       &algorithm.algorithm, work, algorithm.workspace_bytes, stream),
        "cublasLtMatmul", about_);
}

namespace {

// Weights and bias are rounded to bf16 first where the product is of bf16.
class MatrixProduct : public DenseAlgorithm {
 public:
  MatrixProduct(const DenseProblem& problem, const Stream& stream, cublasLtHandle_t handle)
      : problem_(problem), stream_(stream), handle_(handle), descriptors_(problem) {}

  bool use(const Algorithm& algorithm, std::string& why_not) {
    algorithm_ = algorithm;
    if (!descriptors_.supports(handle_, algorithm_, why_not)) return false;
    rounds_ = problem_.precision == Precision::bf16 && problem_.product != Product::weight_grad;
    if (rounds_) {
      weights_ = layout_.add(2 * static_cast<size_t>(problem_.w.elements()));
      bias_ = layout_.add(problem_.bias ? 2 * static_cast<size_t>(problem_.w.channels()) : 0);
    }
    scratch_ = layout_.add(algorithm_.workspace_bytes);
    return true;
  }
  size_t workspace_bytes() const override { return layout_.bytes(); }

  void run(const DenseOperands& operands, void* work) override {
    const void *w = operands.w, *bias = operands.bias;
    if (rounds_) {
      round_to_bf16(stream_, w, at(work, weights_), problem_.w.elements());
      w = at(work, weights_);
      if (problem_.bias) {
        round_to_bf16(stream_, bias, at(work, bias_), problem_.w.channels());
        bias = at(work, bias_);
      }
    }
    const auto multiply = [&](const void* a, const void* b, void* d) {
      descriptors_.run(handle_, algorithm_, a, b, bias, d, at(work, scratch_),
                       queue_of(stream_).stream);
    };
    switch (problem_.product) {
      case Product::forward:
        return multiply(w, operands.x, operands.y);
      case Product::input_grad:
        return multiply(w, operands.y, operands.x);
      case Product::weight_grad:
        return multiply(operands.y, operands.x, operands.w);
    }
  }

 private:
  DenseProblem problem_;
  Stream stream_;
  cublasLtHandle_t handle_;
  Descriptors descriptors_;
  Algorithm algorithm_;
  WorkLayout layout_;
  bool rounds_ = false;
  size_t weights_ = 0, bias_ = 0, scratch_ = 0;
};

class Library : public DenseLibrary {
 public:
  explicit Library(const Stream& stream) : stream_(stream) {}
  ~Library() override {
    if (handle_) cublasLtDestroy(handle_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  std::string name() const override { return "cublaslt"; }

  std::vector<std::string> proposals(const DenseProblem& problem, std::string& why_not) override {
    if (!problem.is_matrix_product()) {
      why_not = "no matrix product";
      return {};
    }
    std::vector<std::string> texts;
    for (const Algorithm& algorithm : Descriptors(problem).proposals(handle()))
      texts.push_back(algorithm.text());
    if (texts.empty()) why_not = "no algorithm is allowed";
    return texts;
  }

  std::unique_ptr<DenseAlgorithm> make(const DenseProblem& problem, const std::string& text,
                                       std::string& why_not) override {
    const Algorithm algorithm = Algorithm::parse(text);
    if (!problem.is_matrix_product()) {
      why_not = "no matrix product";
      return nullptr;
    }
    auto product = std::make_unique<MatrixProduct>(problem, stream_, handle());
    if (!product->use(algorithm, why_not)) return nullptr;
    return product;
  }

 private:
  cublasLtHandle_t handle() {
    if (!handle_) check(cublasLtCreate(&handle_), "cublasLtCreate", "");
    return handle_;
  }

  Stream stream_;
  cublasLtHandle_t handle_ = nullptr;  // made when needed first
};

}  // namespace

std::unique_ptr<DenseLibrary> library(const Stream& stream) {
  return std::make_unique<Library>(stream);
}

}  // namespace fulmar::cuda::cublaslt
