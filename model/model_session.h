#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "engine/session.h"
#include "model/loaded_model.h"

namespace fulmar::model {

// A tensor in the caller's memory. `stride` is by axis of `shape`, in elements.
struct FULMAR_API HostTensor {
  void* data = nullptr;
  DType type = DType::f32;
  Shape shape;
  std::array<int64_t, Shape::max_rank> stride{};

  HostTensor() = default;
  HostTensor(const View& view);  // NOLINT(google-explicit-constructor): a View is one
  bool is_contiguous() const;
};

// One thread's use of a LoadedModel: programs for the last few shapes, and memory for activations.
// Sessions don't wait for each other. One thread at a time uses a session: a second one gets an
// Error(usage). On a GPU, the thread that made it is the one to use it.
class FULMAR_API ModelSession {
 public:
  // With a thread pool of its own. threads = 1: all work on the caller's thread; 0: as many as
  // ThreadPool chooses. Error(device) where threads or the GPU can't be had.
  explicit ModelSession(std::shared_ptr<const LoadedModel> model, int threads = 1);
  // On a device of the model's kind, with its pool; `context` gives log and cancel flag. Both must
  // outlive it. Error(usage) where the device is another.
  ModelSession(std::shared_ptr<const LoadedModel> model, Context& context, Device& device);
  ~ModelSession();

  const LoadedModel& model() const { return *model_; }

  // Reads inputs and writes outputs in the caller's memory. `inputs` are all of model().inputs(),
  // with any strides. `outputs` are the first of model().outputs(), or all; one without data is
  // left out. Their extents may leave out ones: [N,K] for [N,1,1,K]. Numbers are written as f32 or
  // f64, as the tensor says.
  // Error(usage) naming the tensor that doesn't fit, before anything is written; other errors as
  // Session::run.
  void run(std::span<const HostTensor> inputs, std::span<const HostTensor> outputs);
  // The same with how each picture is read, by input; an empty list stands for the centre. See
  // centre_part() for pictures of which a part alone was decoded.
  void run(std::span<const HostTensor> inputs, std::span<const HostTensor> outputs,
           std::span<const std::span<const WarpSample>> samples);

  // From any thread or signal handler: the run under way, or else the next, ends with
  // Error(cancelled). The one after that works again. For sessions with a pool of their own.
  void cancel() { context_->cancel.store(true, std::memory_order_relaxed); }

 private:
  struct Prepared;
  void require_inputs(std::span<const HostTensor> inputs) const;
  void require_outputs(const Prepared& p, std::span<const HostTensor> outputs) const;
  Prepared& prepare(std::span<const HostTensor> inputs);
  void sample_pictures(Prepared& p, std::span<const std::span<const WarpSample>> given) const;
  void set_input(Prepared& p, size_t input, const HostTensor& from);
  void read_output(Prepared& p, size_t output, const HostTensor& to);

  std::shared_ptr<const LoadedModel> model_;
  std::unique_ptr<Context> own_;
  Context* context_;
  Device* device_;
  std::shared_ptr<Arena> arena_;
  std::vector<std::byte> scratch_;
  std::atomic<bool> busy_{false};
  std::vector<std::unique_ptr<Prepared>> prepared_;  // latest first
};

}  // namespace fulmar::model
