#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/context.h"
#include "engine/model.h"
#include "engine/plan.h"
#include "kernels/error.h"

namespace fulmar {

// Memory for activations, shared by the Sessions of one thread. A run ends the life of the other
// Sessions' results; a run beside another one is Error(usage). It grows to the largest Session's
// need and must not outlive the device.
class FULMAR_API Arena {
 public:
  // The memory, for a run; its earlier contents are lost.
  std::byte* take(Device& device, size_t bytes);
  uint64_t taken() const { return taken_; }  // how often
  size_t bytes() const { return memory_.bytes(); }
  std::atomic<bool>& busy() { return busy_; }  // while a run lasts

 private:
  DeviceBuffer memory_;
  std::atomic<bool> busy_{false};
  uint64_t taken_ = 0;
};

struct SessionOptions {
  // After each node, wait for the device and check that the node's outputs are finite:
  // Error(diverged) names the first bad one, Error(device) the very node that failed.
  bool debug = false;
  bool reuse = true;  // see PlanOptions
  // Whether the context's cancel flag stops a run between two nodes. A cancelled run that updates
  // state is left half done, so training steps set false.
  bool cancellable = true;
  // Where the device can capture: the second run with the same buffers is captured as a graph;
  // later runs replay it. Cancelling then stops before a run, not within it. A run that can't be
  // captured goes on kernel by kernel, with a note in the context's log.
  bool capture = true;
};

// Runs a tape on a device. Not for use by two threads at a time. Context, device and model must
// outlive it; it shares tape and arena.
class FULMAR_API Session {
 public:
  Session(Context& context, Device& device, std::shared_ptr<const Tape> tape,
          std::span<const Val> outputs, Model* model = nullptr,
          std::shared_ptr<Arena> arena = nullptr, const SessionOptions& options = {});

  Device& device() const { return *device_; }
  const Tape& tape() const { return *tape_; }
  const Plan& plan() const { return plan_; }

  // Copies host values, row-major, into an input. The bytes must be exactly the input's.
  // Error(usage) where they are not, `host` is null, or the value is no input; so for all of set.
  void set_bytes(Val input, const void* host, size_t bytes);
  // Converts to the element type that the input has on this device.
  void set(Val input, std::span<const double> values);
  void set(Val input, std::span<const float> values);
  void set(Val input, std::span<const int32_t> values);
  // Uses the caller's device memory as an input from now on: nothing is copied, and the memory must
  // stay until the last run. Error(usage) where the value is no input, or the memory is null, not
  // contiguous, or of another shape or element type than the input has on this device.
  void bind(Val input, const View& device_memory);

  // Runs all steps in order; those that depend on the model alone, only where it has changed since
  // they ran. Error(usage) where an input was never set, or another thread runs in
  // the same arena. Error(cancelled) when the context's flag is up. Error(device) naming node and
  // device; where the host doesn't wait for work, the fault may lie in an earlier node. Out of
  // memory, the message gives the planned bytes and a batch that fits.
  void run();
  // As run(). Gives the seconds that each step took, by its place in plan().steps; 0 where it
  // didn't run.
  std::vector<double> run_timed();

  // Values of an output (of the list given at construction) after a run, or of a leaf. Error(usage)
  // where this session has not run yet or its last run did not end, or another has run in the
  // shared arena since.
  std::vector<double> read(Val output);
  // The same into the caller's memory, without a detour: as they lie on the device, or as floats.
  // Error(usage) too where there are not exactly as many bytes, or floats.
  void read_bytes(Val output, std::span<std::byte> bytes);
  void read(Val output, std::span<float> values);
  // Its memory on the device, until the next run; errors as read().
  View view(Val value);
  // Starts a copy of an output to pinned host memory of its size, behind the latest run; await()
  // waits until everything that was called before the mark is done. Errors as read().
  void fetch(Val output, std::byte* pinned);
  uint64_t mark();
  void await(uint64_t mark);
  // Bytes of all inputs of one run.
  size_t input_bytes() const;
  int64_t replays() const { return replays_; }  // runs so far that were replays
  // Whether runs are captured where the device can: asked for, and none has failed to be.
  bool captures() const { return options_.capture; }

 private:
  struct Bound {
    std::vector<View> in, out;
    void* work = nullptr;
  };
  // A run's addresses: the arena, and the memory of each leaf. A graph is valid for one list.
  struct Captured {
    std::vector<const void*> memory;
    DeviceGraph graph;  // empty: one run used these addresses
  };
  // The view without memory that an input has on this device.
  View input_view(Val input, const char* verb) const;
  void take_memory();
  void bind_views();
  View place(Val value);
  std::byte* address(const Buffer& buffer) const;
  void stop_if_cancelled() const;
  void begin_run();
  void run_once();   // the first plan().once steps, where the model has changed
  void run_steps();  // the others
  void run_step(size_t step);
  std::vector<const void*> memory_of_run() const;
  // The graph of a run in this memory; null where no run used it yet, or the run can't be captured.
  DeviceGraph* captured(const std::vector<const void*>& memory);
  void check_finite(size_t step);
  int32_t count_nonfinite(const View& x, int node);  // of a node; waits
  View output_view(Val output);
  void copy_out(const View& from, void* to);  // waits
  int last_node() const { return plan_.steps.empty() ? -1 : plan_.steps.back().node; }
  [[noreturn]] void device_failed(const Error& error, int node) const;
  [[noreturn]] void out_of_memory(const Error& error, size_t bytes) const;

  Context* context_;
  Device* device_;
  std::shared_ptr<const Tape> tape_;
  Model* model_;
  std::shared_ptr<Arena> arena_;
  SessionOptions options_;
  Plan plan_;
  std::vector<View> leaves_;          // by node
  std::vector<bool> set_;             // by node: input has a value
  std::vector<DeviceBuffer> inputs_;  // by node: memory of inputs that were copied
  std::vector<Bound> bound_;          // by step
  std::byte* base_ = nullptr;         // arena of this run
  std::byte* bound_base_ = nullptr;   // the arena that bound_ points into
  DeviceBuffer kept_;                 // values of `once` steps
  uint64_t kept_version_ = 0;         // of the model that they were computed from; 0: none yet
  bool updates_ = false;              // whether a run changes the model
  std::vector<Captured> captured_;    // latest first
  int64_t replays_ = 0;
  uint64_t taken_ = 0;  // arena_->taken() at the last whole run; 0: none
  DeviceBuffer count_;  // of NaN and infinities, in debug runs
};

}  // namespace fulmar
