#include "kernels/cuda/timing.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "kernels/cuda/check.h"
#include "kernels/cuda/dense_operands.h"
#include "kernels/cuda/queue.h"

namespace fulmar::cuda {
namespace {

constexpr int timed_rounds = 3;
constexpr int replays_a_round = 5;

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
    float best = std::numeric_limits<float>::infinity();
    if (!has_memory()) return best;
    const cudaStream_t queue = queue_of(stream_).stream;
    const Memory work(algorithm.workspace_bytes() + work_alignment);
    if (!work.get()) return best;
    const DenseOperands operands{x_.get(), w_.get(), y_.get(), bias_.get()};
    const auto run = [&] { algorithm.run(operands, aligned_work(work.get())); };
    run();  // loads its code
    check(cudaStreamSynchronize(queue), "cudaStreamSynchronize after a vendor's algorithm");
    Graph graph(queue, run);
    graph.replay(queue);  // the first brings it to the device
    for (int round = 0; round < timed_rounds; round++) {
      start_.record(queue);
      for (int i = 0; i < replays_a_round; i++) graph.replay(queue);
      end_.record(queue);
      best = std::min(best, end_.since(start_) / replays_a_round);
    }
    return best;
  }

 private:
  bool has_memory() const { return x_.get() && w_.get() && y_.get() && bias_.get(); }

  Stream stream_;
  Memory x_, w_, y_, bias_;
  Event start_, end_;
};

}  // namespace

void* aligned_work(void* work) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(work);
  return reinterpret_cast<void*>((at + work_alignment - 1) / work_alignment * work_alignment);
}

Timers timers_on(const Stream& stream) {
  return [stream](const DenseProblem& problem) -> Timer {
    queue_of(stream);
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
