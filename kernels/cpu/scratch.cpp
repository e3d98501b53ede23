#include "kernels/cpu/scratch.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <memory>

// AddressSanitizer sees what runs past memory of the heap, not past a piece of a stack.
#if defined(__SANITIZE_ADDRESS__)
#define FULMAR_HEAP_SCRATCH 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FULMAR_HEAP_SCRATCH 1
#endif
#endif

namespace fulmar::cpu {
namespace {

constexpr size_t alignment = 64;

#ifndef FULMAR_HEAP_SCRATCH
struct Free {
  void operator()(std::byte* memory) const {
    ::operator delete (memory, std::align_val_t{alignment});
  }
};
struct FreeBlock {
  std::unique_ptr<std::byte, Free> memory;
  size_t bytes = 0, used = 0;

  explicit FreeBlock(size_t size)
      : memory(static_cast<std::byte*>(::operator new (size, std::align_val_t{alignment}))),
        bytes(size) {}
};

// Grows by blocks while anything is in use. Once nothing is, one block is made as large as all, or
// none where that is much.
class Stack {
 public:
  void* take(size_t bytes) {
    const size_t size = (bytes + alignment - 1) / alignment * alignment;
    if (blocks_.empty() || blocks_.back().bytes - blocks_.back().used < size)
      blocks_.emplace_back(std::max({size, least, 2 * total()}));
    FreeBlock& block = blocks_.back();
    void* const memory = block.memory.get() + block.used;
    block.used += size;
    live_++;
    return memory;
  }

  void give(void* memory, size_t bytes) {
    assert(owns(memory));  // a list dies on the thread that made it
    const size_t size = (bytes + alignment - 1) / alignment * alignment;
    FreeBlock& block = blocks_.back();
    if (static_cast<std::byte*>(memory) + size == block.memory.get() + block.used)
      block.used -= size;  // the latest
    if (--live_ > 0) return;
    const size_t bytes_of_all = total();
    if (blocks_.size() > 1 || bytes_of_all > most_kept) blocks_.clear();
    if (bytes_of_all > most_kept) return;
    if (blocks_.empty()) blocks_.emplace_back(bytes_of_all);
    blocks_.back().used = 0;
  }

 private:
  static constexpr size_t least = size_t{64} << 10, most_kept = size_t{8} << 20;
  bool owns(const void* memory) const {
    return std::any_of(blocks_.begin(), blocks_.end(), [&](const FreeBlock& block) {
      return memory >= block.memory.get() && memory < block.memory.get() + block.bytes;
    });
  }
  size_t total() const {
    size_t sum = 0;
    for (const FreeBlock& block : blocks_) sum += block.bytes;
    return sum;
  }

  std::vector<FreeBlock> blocks_;
  int64_t live_ = 0;  // pieces in use
};

Stack& stack() {
  static thread_local Stack own;
  return own;
}
#endif

}  // namespace

#ifndef FULMAR_HEAP_SCRATCH

void* take_scratch(size_t bytes) { return stack().take(bytes); }
void give_scratch(void* memory, size_t bytes) { stack().give(memory, bytes); }

#else

void* take_scratch(size_t bytes) { return ::operator new (bytes, std::align_val_t{alignment}); }
void give_scratch(void* memory, size_t) { ::operator delete (memory, std::align_val_t{alignment}); }

#endif

}  // namespace fulmar::cpu
