#pragma once

#include <atomic>
#include <cstdint>

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
      left_[static_cast<size_t>(w)].tasks.store({static_cast<uint32_t>(w * tasks / workers),
                                                 static_cast<uint32_t>((w + 1) * tasks / workers)},
                                                std::memory_order_relaxed);
  }

  // As often as there are tasks.
  int64_t take(int worker) {
    const size_t workers = left_.size();
    for (size_t i = 0;; i++) {
      std::atomic<Span>& of = left_[(static_cast<size_t>(worker) + i) % workers].tasks;
      Span span = of.load(std::memory_order_relaxed);
      while (span.begin < span.end) {
        const Span rest = i == 0 ? Span{span.begin + 1, span.end} : Span{span.begin, span.end - 1};
        if (of.compare_exchange_weak(span, rest, std::memory_order_relaxed))
          return i == 0 ? span.begin : rest.end;
      }
    }
  }

 private:
  struct alignas(8) Span {
    uint32_t begin, end;
  };
  struct alignas(64) Share {
    std::atomic<Span> tasks;
  };
  Scratch<Share> left_;
};

}  // namespace fulmar::cpu
