#include <algorithm>
#include <array>

#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/dense_operands.h"
#include "kernels/cuda/queue.h"
#include "kernels/error.h"

namespace fulmar::cuda::cudnn {
namespace {

// A context of cuDNN on a stream.
class Handle {
 public:
  explicit Handle(cudaStream_t stream) {
    check(cudnnCreate(&handle_), "cudnnCreate", "");
    const cudnnStatus_t status = cudnnSetStream(handle_, stream);
    if (status != CUDNN_STATUS_SUCCESS) cudnnDestroy(handle_);
    check(status, "cudnnSetStream", "");
  }
  ~Handle() { cudnnDestroy(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  cudnnHandle_t get() const { return handle_; }

 private:
  cudnnHandle_t handle_ = nullptr;
};

// Filters go to cuDNN's layout and type first, or come from it last; a bias is added last.
class Convolution : public DenseAlgorithm {
 public:
  Convolution(const DenseProblem& problem, const Stream& stream, cudnnHandle_t handle,
              ExecutionPlan plan)
      : problem_(problem),
        stream_(stream),
        handle_(handle),
        plan_(std::move(plan)),
        about_(problem.text()) {
    const size_t filters = static_cast<size_t>(problem.w.elements());
    filters_ = layout_.add(filters * size_of(problem.activation()));
    scratch_ = layout_.add(static_cast<size_t>(
        plan_.plan.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, about_)));
  }
  size_t workspace_bytes() const override { return layout_.bytes(); }

  void run(const DenseOperands& operands, void* work) override {
    const DType type = problem_.activation();
    const int64_t taps = problem_.w.images() * problem_.w.height();
    const int64_t channels = problem_.w.width(), filters = problem_.w.channels();
    void* const ours = at(work, filters_);
    if (problem_.product != Product::weight_grad)
      filters_to_vendor(stream_, operands.w, ours, type, taps, channels, filters);
    execute({operands.x, ours, operands.y}, at(work, scratch_));
    if (problem_.product == Product::weight_grad)
      filters_from_vendor(stream_, ours, type, operands.w, taps, channels, filters);
    if (problem_.bias) add_bias(stream_, operands.bias, operands.y, type, problem_.y);
  }

 private:
  void execute(std::array<void*, 3> pointers, void* scratch) {
    constexpr std::array<int64_t, 3> numbers{ConvolutionGraph::x, ConvolutionGraph::w,
                                             ConvolutionGraph::y};
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, numbers.data(), about_);
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointers.data(),
             about_);
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, scratch, about_);
    pack.finalize(about_);
    check(cudnnBackendExecute(handle_, plan_.plan.get(), pack.get()), "cudnnBackendExecute",
          about_);
  }

  DenseProblem problem_;
  Stream stream_;
  cudnnHandle_t handle_;
  ExecutionPlan plan_;
  std::string about_;
  WorkLayout layout_;
  size_t filters_ = 0, scratch_ = 0;
};

class Library : public DenseLibrary {
 public:
  Library(const Stream& stream, int sm, bool nondeterministic)
      : stream_(stream), sm_(sm), nondeterministic_(nondeterministic) {}
  std::string name() const override { return "cudnn"; }

  std::vector<std::string> proposals(const DenseProblem& problem, std::string& why_not) override {
    const ConvolutionGraph graph(problem, target(), why_not);
    if (graph.is_empty()) return {};
    std::vector<std::string> texts;
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
      for (const EngineConfig& config : graph.proposals(mode, nondeterministic_))
        if (std::find(texts.begin(), texts.end(), config.text()) == texts.end())
          texts.push_back(config.text());
    if (texts.empty()) why_not = "no engine is allowed";
    return texts;
  }

  std::unique_ptr<DenseAlgorithm> make(const DenseProblem& problem, const std::string& text,
                                       std::string& why_not) override {
    const EngineConfig config = EngineConfig::parse(text);
    const ConvolutionGraph graph(problem, target(), why_not);
    if (graph.is_empty()) return nullptr;
    ExecutionPlan plan = graph.plan(config, why_not);
    if (!plan) return nullptr;
    return std::make_unique<Convolution>(problem, stream_, handle_->get(), std::move(plan));
  }

 private:
  const Target& target() {
    if (!handle_) {
      handle_ = std::make_unique<Handle>(queue_of(stream_).stream);
      target_ = Target::of(handle_->get(), sm_);
    }
    return target_;
  }

  Stream stream_;
  int sm_;
  bool nondeterministic_;
  std::unique_ptr<Handle> handle_;  // made when needed first: it takes a moment and memory
  Target target_;
};

}  // namespace

std::unique_ptr<DenseLibrary> library(const Stream& stream, int sm, bool nondeterministic) {
  return std::make_unique<Library>(stream, sm, nondeterministic);
}

}  // namespace fulmar::cuda::cudnn
