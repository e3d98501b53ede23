#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "kernels/cpu/scratch.h"

namespace fulmar::cpu {

// Which of a job's numbered tasks a worker takes next: its share of neighbours in rising order,
// then what others have left, from the end. So a worker finds in its own caches what it made of the
// same part of a tensor before; cores that share no cache took a fifth longer for an inference
// where either took any task.
class NearTasks {
 public:
  NearTasks(int64_t tasks, int workers) : left_(static_cast<size_t>(workers)) {
    for (int64_t w = 0; w < workers; w++)
      left_[static_cast<size_t>(w)].tasks.store(share(tasks, workers, w),
                                                std::memory_order_relaxed);
  }

  struct alignas(8) Span {
    uint32_t begin, end;
  };
  // Of `worker`, before any is taken.
  static Span share(int64_t tasks, int64_t workers, int64_t worker) {
    return {static_cast<uint32_t>(worker * tasks / workers),
            static_cast<uint32_t>((worker + 1) * tasks / workers)};
  }

  // None, where all are taken.
  std::optional<int64_t> take(int worker) {
    for (size_t i = 0; i < left_.size(); i++)
      if (const auto task = take_of((static_cast<size_t>(worker) + i) % left_.size(), i == 0))
        return task;
    return {};
  }
  // The next of the worker's own share: the neighbour of what it took from there before.
  std::optional<int64_t> take_own(int worker) { return take_of(static_cast<size_t>(worker), true); }

 private:
  struct alignas(64) Share {
    std::atomic<Span> tasks;
  };

  std::optional<int64_t> take_of(size_t worker, bool first) {
    std::atomic<Span>& of = left_[worker].tasks;
    Span span = of.load(std::memory_order_relaxed);
    while (span.begin < span.end) {
      const Span rest = first ? Span{span.begin + 1, span.end} : Span{span.begin, span.end - 1};
      if (of.compare_exchange_weak(span, rest, std::memory_order_relaxed))
        return first ? span.begin : rest.end;
    }
    return {};
  }

  Scratch<Share> left_;
};

}  // namespace fulmar::cpu
