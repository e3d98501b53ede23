#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/counted/counts.h"
#include "kernels/counted/global_memory.h"
#include "kernels/counted/sector_cache.h"
#include "kernels/counted/warp_record.h"
#include "kernels/simt/observer.h"

namespace fulmar::counted {

// Counts the launches of one thread of the host. The emulator tells it who runs, the hooks in the
// kernels' code (hooks.cpp) what that thread does.
class Counter : public simt::Observer {
 public:
  Counter(GlobalMemory& memory, const Machine& machine);
  ~Counter() override;

  std::vector<Launch> take() { return std::exchange(done_, {}); }

  // The counter of the launch that runs on this thread of the host; null outside of launches, and
  // within another turn: the counter's own work is not counted.
  class Turn {
   public:
    Turn();
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    explicit operator bool() const { return counter_ != nullptr; }
    Counter* operator->() const { return counter_; }

   private:
    Counter* counter_;
  };

  // From the hooks; `at` is an address in the code.
  void access(uint64_t at, Kind kind, uint64_t address, unsigned bytes);
  void moved_at_once(uint64_t at, uint64_t address, unsigned bytes);
  void basic_block(uint64_t at);
  void call_begins(uint64_t from);
  void call_ends();

 private:
  void launch_begins(const simt::Work& work) override;
  void launch_ends() override;
  bool runs_block(uint64_t block, uint64_t blocks) override;
  void block_begins(unsigned threads) override;
  void thread_runs(unsigned thread) override;
  void lanes_meet(unsigned warp) override;
  void barrier() override { launch_->barriers++; }
  void warp_operation() override { launch_->warp_operations++; }
  void matrix_operation(uint64_t multiply_adds) override {
    launch_->matrix_operations++;
    launch_->matrix_multiply_adds += multiply_adds;
  }
  void shared_array(const void* address, size_t bytes) override;

  // Bytes that a thread has said to move at once, and which of them it has.
  struct Moved {
    uint64_t at = 0, address = 0;
    unsigned bytes = 0;
    uint32_t done = 0;
    Kind kind = Kind::load;  // of the first
  };
  // How often a basic block ran: by lanes, and by warps.
  struct Runs {
    uint64_t lanes = 0, warps = 0;
  };

  std::optional<Space> space_of(uint64_t address);
  bool is_part_of_a_move(Kind kind, uint64_t& at, uint64_t& address, unsigned& bytes, bool& first);
  uint32_t place_of(uint64_t at);
  void count(const Request& request);
  void count_global(const Request& request);
  void stand_for_all();

  GlobalMemory& memory_;
  Machine machine_;
  std::vector<Launch> done_;
  std::optional<Launch> launch_;  // that runs
  uint64_t blocks_run_ = 0;       // of it
  uint8_t window_ = 0;            // in which the block lies that runs
  uint64_t common_[2] = {};       // sectors that several windows read, and write

  SectorCache l2_;
  std::optional<SectorCache> l1_;
  std::vector<std::pair<uint64_t, uint64_t>> shared_;  // arrays of the block: begin and end

  unsigned thread_ = 0;
  std::vector<WarpRecord> warps_;
  std::vector<std::vector<uint64_t>> calls_;  // by thread: a hash of the calls that led here
  std::array<Moved, 8> moved_;                // the latest of the thread that runs
  unsigned next_moved_ = 0;

  std::unordered_map<uint64_t, uint32_t> places_;
  std::unordered_map<uint64_t, uint32_t> block_places_;
  std::vector<uint64_t> blocks_;  // addresses in the code, by number
  std::vector<Runs> runs_;        // the same, of this launch
};

}  // namespace fulmar::counted
