// What the compiler calls from the kernels' code: -fsanitize=thread reports accesses to memory and
// calls, -fsanitize-coverage=trace-pc the basic blocks. These functions stand in place of the
// sanitizers' own.
#include "kernels/bf16.h"
#include "kernels/counted/counter.h"
#include "kernels/simt/intrinsics.h"

namespace {

using fulmar::counted::Counter;
using fulmar::counted::Kind;

// Of the instruction behind the call.
#define FULMAR_HERE reinterpret_cast<uint64_t>(__builtin_return_address(0))

void access(uint64_t at, Kind kind, const void* address, size_t bytes) {
  if (const Counter::Turn counter; counter)
    counter->access(at, kind, reinterpret_cast<uint64_t>(address), static_cast<unsigned>(bytes));
}

}  // namespace

namespace fulmar::simt {

void moved_at_once(const void* address, size_t bytes);
void moved_at_once(const void* address, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) misaligned(address, bytes);
  if (const Counter::Turn counter; counter)
    counter->moved_at_once(FULMAR_HERE, reinterpret_cast<uint64_t>(address),
                           static_cast<unsigned>(bytes));
}

}  // namespace fulmar::simt

extern "C" {

// Roundings to bf16, out of line so that each is one instruction (kernels/cuda/vectors.cuh).
uint16_t fulmar_to_bf16(float value) noexcept { return fulmar::to_bf16(value).bits; }
uint32_t fulmar_to_bf16x2(float low, float high) noexcept {
  return fulmar_to_bf16(low) | static_cast<uint32_t>(fulmar_to_bf16(high)) << 16;
}

#define FULMAR_ACCESS(bytes)                                                                    \
  void __tsan_read##bytes(void* address) { access(FULMAR_HERE, Kind::load, address, bytes); }   \
  void __tsan_write##bytes(void* address) { access(FULMAR_HERE, Kind::store, address, bytes); } \
  void __tsan_unaligned_read##bytes(void* address) {                                            \
    access(FULMAR_HERE, Kind::load, address, bytes);                                            \
  }                                                                                             \
  void __tsan_unaligned_write##bytes(void* address) {                                           \
    access(FULMAR_HERE, Kind::store, address, bytes);                                           \
  }                                                                                             \
  void __tsan_read_write##bytes(void* address) {                                                \
    access(FULMAR_HERE, Kind::load, address, bytes);                                            \
    access(FULMAR_HERE, Kind::store, address, bytes);                                           \
  }
FULMAR_ACCESS(1)
FULMAR_ACCESS(2)
FULMAR_ACCESS(4)
FULMAR_ACCESS(8)
FULMAR_ACCESS(16)
#undef FULMAR_ACCESS

void __tsan_read_range(void* address, size_t bytes) {
  access(FULMAR_HERE, Kind::load, address, bytes);
}
void __tsan_write_range(void* address, size_t bytes) {
  access(FULMAR_HERE, Kind::store, address, bytes);
}

void __tsan_init() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}
void __tsan_func_entry(void* from) {
  if (const Counter::Turn counter; counter) counter->call_begins(reinterpret_cast<uint64_t>(from));
}
void __tsan_func_exit() {
  if (const Counter::Turn counter; counter) counter->call_ends();
}
void __sanitizer_cov_trace_pc() {
  if (const Counter::Turn counter; counter) counter->basic_block(FULMAR_HERE);
}

// Atomics are done here; the compiler leaves that to these functions.
#define FULMAR_ATOMIC(bits, T)                                       \
  T __tsan_atomic##bits##_load(const volatile T* a, int) {           \
    return __atomic_load_n(a, __ATOMIC_SEQ_CST);                     \
  }                                                                  \
  void __tsan_atomic##bits##_store(volatile T* a, T v, int) {        \
    __atomic_store_n(a, v, __ATOMIC_SEQ_CST);                        \
  }                                                                  \
  T __tsan_atomic##bits##_fetch_add(volatile T* a, T v, int) {       \
    access(FULMAR_HERE, Kind::atomic, const_cast<T*>(a), sizeof(T)); \
    return __atomic_fetch_add(a, v, __ATOMIC_SEQ_CST);               \
  }                                                                  \
  T __tsan_atomic##bits##_fetch_sub(volatile T* a, T v, int) {       \
    access(FULMAR_HERE, Kind::atomic, const_cast<T*>(a), sizeof(T)); \
    return __atomic_fetch_sub(a, v, __ATOMIC_SEQ_CST);               \
  }
FULMAR_ATOMIC(8, uint8_t)
FULMAR_ATOMIC(32, uint32_t)
FULMAR_ATOMIC(64, uint64_t)
#undef FULMAR_ATOMIC

}  // extern "C"
