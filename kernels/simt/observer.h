#pragma once

#include <cstddef>
#include <cstdint>

namespace fulmar::simt {

struct Work;

// Is told what the emulator does, to count it.
class Observer {
 public:
  Observer() = default;
  virtual ~Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  virtual void launch_begins(const Work& work) = 0;
  virtual void launch_ends() = 0;  // also of one that fails
  // Whether this block of so many runs: one who counts may let a few stand for all.
  virtual bool runs_block(uint64_t block, uint64_t blocks) = 0;
  virtual void block_begins(unsigned threads) = 0;
  // What runs from now on is this thread of the block.
  virtual void thread_runs(unsigned thread) = 0;
  // The lanes of a warp that have not left have all come to one place, or the last one has left.
  virtual void lanes_meet(unsigned warp) = 0;
  virtual void barrier() = 0;         // of the block, once for all its threads
  virtual void warp_operation() = 0;  // a shuffle, a vote or a __syncwarp, once for its lanes
  // A product of matrices by a warp, beside warp_operation().
  virtual void matrix_operation(uint64_t multiply_adds) = 0;
  virtual void shared_array(const void* address, size_t bytes) = 0;
};

// Whom launches from this thread tell; null where nobody asked.
Observer* observer();

// Another one, while it lives.
class UseObserver {
 public:
  explicit UseObserver(Observer* observer);
  ~UseObserver();
  UseObserver(const UseObserver&) = delete;
  UseObserver& operator=(const UseObserver&) = delete;

 private:
  Observer* before_;
};

}  // namespace fulmar::simt
