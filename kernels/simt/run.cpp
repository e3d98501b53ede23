#include "kernels/simt/run.h"

#include <string>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/intrinsics.h"
#include "kernels/simt/observer.h"
#include "kernels/simt/sanitizers.h"

namespace fulmar::simt {
namespace {

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability", 8.0 to 9.0
constexpr unsigned max_threads = 1024, max_block_z = 64;
constexpr unsigned max_grid_x = 0x7FFFFFFF, max_grid_yz = 65535;

std::string text(const dim3& d) {
  return std::to_string(d.x) + " x " + std::to_string(d.y) + " x " + std::to_string(d.z);
}

void check_work(const Work& work) {
  const std::string name = "simt: launch of " + std::string(work.name) + ": ";
  const dim3 &grid = work.grid, &block = work.block;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || block.x > max_threads || block.y > max_threads || threads > max_threads ||
      block.z > max_block_z)
    usage_error(name + "a block of " + text(block) + " threads; 1 to 1024, at most 64 in z");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > max_grid_x || grid.y > max_grid_yz ||
      grid.z > max_grid_yz)
    usage_error(name + "a grid of " + text(grid) +
                " blocks; 1 to 2147483647 in x, 1 to 65535 in y and z");
  if (work.dynamic_shared > SharedMemory::max_bytes)
    usage_error(name + std::to_string(work.dynamic_shared) +
                " bytes of dynamic shared memory, at most " +
                std::to_string(SharedMemory::max_bytes));
}

// Tells the observer of a launch, whether it fails or not.
class Observed {
 public:
  explicit Observed(const Work& work) : observer_(observer()) {
    if (observer_) observer_->launch_begins(work);
  }
  ~Observed() {
    if (observer_) observer_->launch_ends();
  }
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;

  bool runs_block(uint64_t block, uint64_t blocks) const {
    return !observer_ || observer_->runs_block(block, blocks);
  }

 private:
  Observer* observer_;
};

}  // namespace

void run(const Work& work) {
  check_work(work);
  const Observed observed(work);
  Turns thread_turns(order());
  Block block(work, thread_turns);
  const uint64_t blocks = uint64_t{work.grid.x} * work.grid.y * work.grid.z;
  Block::launch_begins();
  Strides block_turns(order(), blocks);
  for (uint64_t i = 0; i < blocks; i++) {
    const uint64_t id = block_turns.next();
    if (!observed.runs_block(id, blocks)) continue;
    const uint64_t x = work.grid.x, y = work.grid.y;
    block.run({static_cast<unsigned>(id % x), static_cast<unsigned>(id / x % y),
               static_cast<unsigned>(id / x / y)});
  }
  Block::launch_ends();
}

int sync_block(const char* what, int predicate, const char* file, int line) {
  return Block::current().barrier({what, file, line}, predicate);
}

void* shared_array(const void* tag, const char* name, size_t bytes) {
  return Block::current().shared_array(tag, name, bytes);
}

void* dynamic_shared() { return Block::current().dynamic_shared(); }

void misaligned(const void* address, size_t bytes) {
  const Unwatched own;
  const uintptr_t past = reinterpret_cast<uintptr_t>(address) % bytes;
  Block::current().fail("misaligned address: " + std::to_string(past) +
                        " bytes past a multiple of the " + std::to_string(bytes) +
                        " that are moved at once");
}

}  // namespace fulmar::simt
