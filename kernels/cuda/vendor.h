#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/choices.h"
#include "kernels/cuda/dense.h"
#include "kernels/cuda/library.h"

namespace fulmar::cuda {

std::string cudnn_version();     // "9.19.0", of the library that is loaded
std::string cublaslt_version();  // "13.0.2"

// cuDNN and cuBLASLt of one queue: which algorithm computes which problem, and the algorithms.
//
// A problem is given its algorithm once, by plan: the stored choice where there is one; else what
// the libraries' heuristics propose (cuBLASLt for matrix products, cuDNN for the rest), each timed
// on memory of its own and the fastest kept; else none, and our plain kernels compute it. A choice
// belongs to a problem, a model of GPU and versions of the libraries.
class Vendor {
 public:
  using Libraries = std::vector<std::unique_ptr<DenseLibrary>>;

  Vendor(const CudaDevice& device, const CudaOptions& options, const Stream& stream);
  // With other libraries, of which the first that can is given a problem.
  Vendor(const CudaDevice& device, const CudaOptions& options, const Stream& stream,
         Libraries libraries);
  ~Vendor();

  // Bytes of workspace, 0 where the plain kernels do it. Waits for the device where it has to time.
  size_t plan(const DenseProblem& problem);
  // False where the plain kernels do it. Error(usage) before plan.
  bool run(const DenseProblem& problem, const DenseOperands& operands, void* work);

  std::string choices() const { return choices_.text(); }
  void use_choices(const std::string& text);

 private:
  struct Timing;
  using Plans = std::map<std::vector<int64_t>, std::unique_ptr<DenseAlgorithm>>;

  std::string key(const DenseProblem& problem) const { return problem.text() + machine_; }
  std::unique_ptr<DenseAlgorithm> stored(const DenseProblem& problem, const std::string& choice);
  std::unique_ptr<DenseAlgorithm> chosen(const DenseProblem& problem, std::string& choice);

  Stream stream_;
  CudaOptions options_;
  std::string machine_;  // " on NVIDIA H100 80GB HBM3 sm_90 cudnn 9.19.0 cublaslt 13.0.2"
  Libraries libraries_;
  Choices choices_;
  Plans plans_;  // null: the plain kernels
};

}  // namespace fulmar::cuda
