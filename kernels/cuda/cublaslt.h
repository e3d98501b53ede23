#pragma once

#include <cublasLt.h>

#include <string>

#include "kernels/cuda/dense.h"

// cuBLASLt's matrix products, for dense layers and 1x1 convolutions.
namespace fulmar::cuda::cublaslt {

// Error(device) with the call, cuBLASLt's words, and what it was about.
void check(cublasStatus_t status, const std::string& call, const std::string& about);

// An algorithm with its workspace, as text "cublaslt workspace 4194304 algorithm " and 128 hex
// digits: what cuBLASLt keeps of it, good for the same version.
struct Algorithm {
  cublasLtMatmulAlgo_t algorithm{};
  size_t workspace_bytes = 0;

  std::string text() const;
  static Algorithm parse(const std::string& text);  // Error(file)
};

// One product as cuBLASLt sees it. Its matrices lie by columns, so that ours, which lie by rows,
// are theirs transposed:
//   forward      y^T [Co,P] = w^T [Co,Ci] x^T [Ci,P] (+ bias of each row)
//   input_grad   dx^T [Ci,P] = w [Ci,Co] dy^T [Co,P]
//   weight_grad  dw^T [Co,Ci] = dy^T [Co,P] x [P,Ci]
// bf16: operands are bf16, the bias of bf16 results too; sums, and the gradient of weights,
// float32.
class Descriptors {
 public:
  explicit Descriptors(const DenseProblem& problem);
  ~Descriptors() { release(); }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  // Ordered by the time that cuBLASLt expects; only such as repeat their bits.
  std::vector<Algorithm> proposals(cublasLtHandle_t handle) const;
  // Whether it can be used here, and then its workspace; else why not.
  bool supports(cublasLtHandle_t handle, Algorithm& algorithm, std::string& why_not) const;
  // Puts d = a b on the stream.
  void run(cublasLtHandle_t handle, const Algorithm& algorithm, const void* a, const void* b,
           const void* bias, void* d, void* work, cudaStream_t stream) const;

 private:
  void release();

  std::string about_;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, d_ = nullptr;
  bool bias_;
};

// cuBLASLt's products on a stream of our backend.
std::unique_ptr<DenseLibrary> library(const Stream& stream);

}  // namespace fulmar::cuda::cublaslt
