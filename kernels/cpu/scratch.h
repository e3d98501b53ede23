#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace fulmar::cpu {

// Memory for the lists and tables of a kernel's call, some KB. Each thread keeps a stack of it:
// from the second call on nothing is allocated. What is large belongs into a kernel's workspace.
void* take_scratch(size_t bytes);
void give_scratch(void* memory, size_t bytes);

template <class T>
struct ScratchAllocator {
  using value_type = T;
  ScratchAllocator() = default;
  template <class U>
  ScratchAllocator(const ScratchAllocator<U>&) {}

  T* allocate(size_t count) { return static_cast<T*>(take_scratch(count * sizeof(T))); }
  void deallocate(T* memory, size_t count) { give_scratch(memory, count * sizeof(T)); }
  friend bool operator==(ScratchAllocator, ScratchAllocator) { return true; }
};

// A list that lives for one call, on the thread that made it.
template <class T>
using Scratch = std::vector<T, ScratchAllocator<T>>;

}  // namespace fulmar::cpu
