#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/choices.h"
#include "kernels/cuda/dense.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/timing.h"

namespace fulmar::cuda {

std::string cudnn_version();     // "9.19.0", of the library that is loaded
std::string cublaslt_version();  // "13.0.2"
// Error(device) where one is too old for what this was built with, or of another major version.
void check_versions();
// The same of any library: numbers as NVIDIA writes them, 91900 for 9.19.0.
void check_version(const std::string& name, int built, int loaded);

// cuDNN and cuBLASLt of one queue: which algorithm computes which problem, and the algorithms.
//
// A problem is given its algorithm once, by plan: the stored choice where there is one; else what
// the libraries' heuristics propose (cuBLASLt's for matrix products, cuDNN's for all), each timed
// on memory of its own and the fastest kept, those that fail left out with the reason (untimed: the
// first of the first library that can); else none, and our plain kernels compute it. A choice
// belongs to a problem, a model of GPU and versions of the libraries.
class Vendor {
 public:
  using Libraries = std::vector<std::unique_ptr<DenseLibrary>>;

  Vendor(const CudaDevice& device, const CudaOptions& options, const Stream& stream);
  // With other libraries and other clocks.
  Vendor(const CudaDevice& device, const CudaOptions& options, Libraries libraries, Timers timers);
  ~Vendor();

  // Bytes of workspace, 0 where the plain kernels do it. Waits for the device where it has to time.
  size_t plan(const DenseProblem& problem);
  // False where the plain kernels do it. Error(usage) before plan.
  bool run(const DenseProblem& problem, const DenseOperands& operands, void* work);

  std::string choices() const { return choices_.text(); }
  // At any time. Where a problem was planned already and its line names another algorithm, the next
  // plan of it takes that, for all who run the problem from then on; what was captured stays as it
  // was. Error(usage) by that plan where it needs more workspace than was told before.
  void use_choices(const std::string& text);

 private:
  struct Candidate {
    std::string text;
    std::unique_ptr<DenseAlgorithm> algorithm;
    float ms = 0;
  };
  struct Plan {
    std::string text = "plain";                 // the algorithm, as in choices
    std::unique_ptr<DenseAlgorithm> algorithm;  // null: the plain kernels
    size_t announced = 0;                       // by an earlier plan that this one replaces

    size_t bytes() const {
      return std::max(announced, algorithm ? algorithm->workspace_bytes() + work_alignment : 0);
    }
  };

  std::string key(const DenseProblem& problem) const { return problem.text() + machine_; }
  std::unique_ptr<DenseAlgorithm> stored(const DenseProblem& problem, const std::string& choice);
  std::unique_ptr<DenseAlgorithm> chosen(const DenseProblem& problem, std::string& choice);
  std::vector<Candidate> candidates(DenseLibrary& library, const DenseProblem& problem,
                                    std::string& failures);

  CudaOptions options_;
  std::string machine_;  // " on NVIDIA H100 80GB HBM3 sm_90 cudnn 9.19.0 cublaslt 13.0.2"
  Libraries libraries_;
  Choices choices_;
  Timers timers_;
  std::map<std::vector<int64_t>, Plan> plans_;
  std::vector<std::unique_ptr<DenseAlgorithm>> replaced_;
};

}  // namespace fulmar::cuda
