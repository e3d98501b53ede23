#include "kernels/cuda/timing.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <memory>
#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/dense_operands.h"
#include "kernels/cuda/queue.h"

namespace fulmar::cuda {
namespace {

constexpr size_t timed_rounds = 3;
// A round runs an algorithm as often as fills this, within bounds.
constexpr float round_ms = 0.5f;
constexpr int min_runs = 2, max_runs = 20;
// One whose second run takes this long, and so many times the best time so far, is given up.
constexpr float slow_ms = 1, slow_ratio = 3;

constexpr auto warm_up_time = std::chrono::milliseconds(100);
constexpr size_t warm_up_bytes = size_t{64} << 20;

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

// What `body` puts on the stream, to be run again.
class Graph {
 public:
  template <class Body>
  Graph(cudaStream_t stream, const Body& body) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
    cudaGraph_t graph = nullptr;
    try {
      body();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph) cudaGraphDestroy(graph);
      cudaGetLastError();  // body's own is told of
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    const cudaError_t error = cudaGraphInstantiate(&ready_, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "cudaGraphInstantiate");
  }
  ~Graph() { cudaGraphExecDestroy(ready_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void replay(cudaStream_t stream) { check(cudaGraphLaunch(ready_, stream), "cudaGraphLaunch"); }

 private:
  cudaGraphExec_t ready_ = nullptr;
};

// Operands and results to time algorithms on; without memory where there isn't enough.
class Timing {
 public:
  Timing(const DenseProblem& p, const Stream& s)
      : stream_(s),
        x_(static_cast<size_t>(p.x.elements()) * size_of(p.activation())),
        w_(static_cast<size_t>(p.w.elements()) * sizeof(float)),
        y_(static_cast<size_t>(p.y.elements()) * size_of(p.activation())),
        bias_(static_cast<size_t>(p.w.channels()) * sizeof(float)) {
    if (!has_memory()) return;
    fill_with_noise(stream_, x_.get(), p.activation(), p.x.elements());
    fill_with_noise(stream_, w_.get(), DType::f32, p.w.elements());
    fill_with_noise(stream_, y_.get(), p.activation(), p.y.elements());
    fill_with_noise(stream_, bias_.get(), DType::f32, p.w.channels());
  }

  float of(DenseAlgorithm& algorithm) {
    constexpr float unknown = std::numeric_limits<float>::infinity();
    if (!has_memory()) return unknown;
    const cudaStream_t queue = queue_of(stream_).stream;
    const Memory work(algorithm.workspace_bytes() + work_alignment);
    if (!work.get()) return unknown;
    const DenseOperands operands{x_.get(), w_.get(), y_.get(), bias_.get()};
    const auto run = [&] { algorithm.run(operands, aligned_work(work.get())); };
    run();  // loads its code
    check(cudaStreamSynchronize(queue), "cudaStreamSynchronize after a vendor's algorithm");
    events_[0].record(queue);
    run();
    events_[1].record(queue);
    const float once = events_[1].since(events_[0]);
    if (once > std::max(slow_ms, slow_ratio * best_)) return once;

    const float wanted = std::min(round_ms / once, static_cast<float>(max_runs));
    const int runs = std::max(static_cast<int>(wanted), min_runs);
    Graph round(queue, [&] {
      for (int i = 0; i < runs; i++) run();
    });
    // The first replay brings the graph to the device, and keeps it busy while the host puts the
    // others behind it.
    round.replay(queue);
    events_[0].record(queue);
    for (size_t i = 0; i < timed_rounds; i++) {
      round.replay(queue);
      events_[i + 1].record(queue);
    }
    float ms = unknown;
    for (size_t i = 0; i < timed_rounds; i++)
      ms = std::min(ms, events_[i + 1].since(events_[i]) / static_cast<float>(runs));
    best_ = std::min(best_, ms);
    return ms;
  }

 private:
  bool has_memory() const { return x_.get() && w_.get() && y_.get() && bias_.get(); }

  Stream stream_;
  Memory x_, w_, y_, bias_;
  std::array<Event, timed_rounds + 1> events_;  // around the rounds
  float best_ = std::numeric_limits<float>::infinity();
};

// An idle GPU's clocks are a fraction of a busy one's: what is timed first would look slow.
void warm_up(Stream stream) {
  const Memory memory(warm_up_bytes);
  const auto end = std::chrono::steady_clock::now() + warm_up_time;
  while (memory.get() && std::chrono::steady_clock::now() < end) {
    fill_with_noise(stream, memory.get(), DType::f32, warm_up_bytes / sizeof(float));
    check(cudaStreamSynchronize(queue_of(stream).stream), "cudaStreamSynchronize of a warm-up");
  }
}

}  // namespace

void* aligned_work(void* work) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(work);
  return reinterpret_cast<void*>((at + work_alignment - 1) / work_alignment * work_alignment);
}

Timers timers_on(const Stream& stream) {
  return [stream, warm = false](const DenseProblem& problem) mutable -> Timer {
    queue_of(stream);
    if (!std::exchange(warm, true)) warm_up(stream);
    const auto timing = std::make_shared<Timing>(problem, stream);
    return [timing, stream](DenseAlgorithm& algorithm) {
      try {
        return timing->of(algorithm);
      } catch (const Error& error) {
        cudaGetLastError();  // it is told of
        if (cudaStreamSynchronize(queue_of(stream).stream) != cudaSuccess)
          throw DeviceLost(error.what());
        throw;
      }
    };
  };
}

}  // namespace fulmar::cuda
