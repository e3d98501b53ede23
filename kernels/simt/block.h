#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "kernels/simt/fiber.h"
#include "kernels/simt/observer.h"
#include "kernels/simt/order.h"
#include "kernels/simt/run.h"
#include "kernels/simt/shared.h"
#include "kernels/simt/types.h"
#include "kernels/simt/warp.h"

namespace fulmar::simt {

// A wait that a thread has come to.
struct CallSite {
  const char* what = "";  // "__syncthreads"
  const char* file = "";
  int line = 0;
};

// Runs the threads of one block, one at a time, each on a fiber, until all are done. A thread
// gives way where it waits: at a barrier of the block or at an operation of its warp.
class Block {
 public:
  Block(const Work& work, Turns& turns);
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Error(usage) naming kernel, block, threads and lines where the kernel breaks a rule; what the
  // kernel throws is passed on.
  void run(uint3 index);

  // A launch's threads see the host's writes before it; the host sees theirs after it. The blocks
  // of one launch see nothing of each other.
  static void launch_begins();
  static void launch_ends();

  // Of the thread that runs now, called by kernels.
  static Block& current();
  // Returns how many threads of the block brought a `predicate` that isn't 0.
  int barrier(const CallSite& site, int predicate);
  void warp_operation(const CallSite& site, uint32_t mask, WarpCall& call);
  unsigned lane() const { return running_ % lanes_per_warp; }
  void* shared_array(const void* tag, const char* name, size_t bytes);
  void* dynamic_shared();
  // Error(usage): kernel, block, thread and `what`
  [[noreturn]] void fail(const std::string& what) const;

 private:
  enum class State : uint8_t { fresh, ready, at_barrier, at_warp, done };
  struct Thread {
    State state = State::fresh;
    uint32_t mask = 0;  // of the warp operation at which it waits
    WarpCall* call = nullptr;
    CallSite site;
    std::unique_ptr<Fiber> fiber;
  };
  struct Warp {
    uint32_t alive = 0, waiting = 0;  // a bit for each lane
    unsigned completed = 0;           // operations
  };
  // Addresses that tell TSan of barriers. Two for each barrier, in turn: a thread that is slow to
  // leave one barrier must not see the others' writes on their way to the next.
  struct Tags {
    char block[2];
    char warp[32][2];
  };

  static FiberPool& pool();
  static void fiber_body();
  void run_thread();
  void begin(uint3 index);
  bool take_turns();
  void start(unsigned thread);
  void resume(unsigned thread);
  void open_barrier();
  void drop_threads();
  bool complete(unsigned warp, unsigned lane);
  void leave_warp();
  std::string waits() const;

  const Work& work_;
  Observer* const observer_ = observer();  // may be null
  Turns& turns_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<unsigned> order_;
  size_t position_ = 0;   // in order_
  unsigned running_ = 0;  // thread
  unsigned alive_ = 0, at_barrier_ = 0, first_at_barrier_ = 0, barriers_ = 0;
  int predicates_ = 0, barrier_result_ = 0;
  std::unique_ptr<SharedMemory> shared_;
  std::unique_ptr<Tags> tags_;
  std::exception_ptr error_;
};

}  // namespace fulmar::simt
