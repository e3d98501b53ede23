#pragma once

// CUDA's functions that kernels of this project call, by the same names.

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/simt/types.h"
#include "kernels/simt/warp.h"

namespace fulmar::simt {

int sync_block(const char* what, int predicate, const char* file, int line);
void* shared_array(const void* tag, const char* name, size_t bytes);
void* dynamic_shared();
[[noreturn]] void misaligned(const void* address, size_t bytes);
#ifdef FULMAR_COUNTED
// What is read or written next of these bytes is one access (kernels/counted).
void moved_at_once(const void* address, size_t bytes);
#endif

// What a GPU demands of every access.
inline void check_aligned(const void* address, size_t bytes) {
#ifdef FULMAR_COUNTED
  moved_at_once(address, bytes);  // asks out of line, as the question isn't the kernel's work
#else
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) misaligned(address, bytes);
#endif
}

template <class T>
T shuffle_value(const char* what, unsigned mask, T value, int source, const char* file, int line) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4 && sizeof(T) <= 8,
                "CUDA shuffles numbers of 4 and 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = shuffle(what, mask, bits, source, file, line);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// `source` where it lies in the caller's segment of `width` lanes, else the caller's own lane.
inline int in_segment(int source, int width) {
  const int lane = this_lane();
  return source >= 0 && source / width == lane / width ? source : lane;
}

}  // namespace fulmar::simt

// Where a call stands, for errors: default arguments are evaluated at the call.
#define FULMAR_SIMT_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(FULMAR_SIMT_CALLER) {
  fulmar::simt::sync_block("__syncthreads", 0, file, line);
}
inline int __syncthreads_count(int predicate, FULMAR_SIMT_CALLER) {
  return fulmar::simt::sync_block("__syncthreads_count", predicate, file, line);
}
inline int __syncthreads_or(int predicate, FULMAR_SIMT_CALLER) {
  return fulmar::simt::sync_block("__syncthreads_or", predicate, file, line) != 0;
}
inline void __syncwarp(unsigned mask = ~0u, FULMAR_SIMT_CALLER) {
  fulmar::simt::sync_warp(mask, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, FULMAR_SIMT_CALLER) {
  return fulmar::simt::ballot("__ballot_sync", mask, predicate != 0, file, line);
}
inline int __any_sync(unsigned mask, int predicate, FULMAR_SIMT_CALLER) {
  return fulmar::simt::ballot("__any_sync", mask, predicate != 0, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, FULMAR_SIMT_CALLER) {
  return fulmar::simt::ballot("__all_sync", mask, predicate == 0, file, line) == 0;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, FULMAR_SIMT_CALLER) {
  const int first = fulmar::simt::this_lane() / width * width;
  return fulmar::simt::shuffle_value("__shfl_sync", mask, value, first + (source & (width - 1)),
                                     file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, FULMAR_SIMT_CALLER) {
  const int source = fulmar::simt::this_lane() + static_cast<int>(by);
  return fulmar::simt::shuffle_value("__shfl_down_sync", mask, value,
                                     fulmar::simt::in_segment(source, width), file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, FULMAR_SIMT_CALLER) {
  const int source = fulmar::simt::this_lane() - static_cast<int>(by);
  return fulmar::simt::shuffle_value("__shfl_up_sync", mask, value,
                                     fulmar::simt::in_segment(source, width), file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32, FULMAR_SIMT_CALLER) {
  const int source = fulmar::simt::this_lane() ^ by;
  return fulmar::simt::shuffle_value("__shfl_xor_sync", mask, value,
                                     fulmar::simt::in_segment(source, width), file, line);
}
#undef FULMAR_SIMT_CALLER

// Of whole numbers alone: a sum of fractions would depend on the order.
template <class T>
T atomicAdd(T* address, T value) {
  static_assert(std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>);
  fulmar::simt::check_aligned(address, sizeof value);
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}

inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline int __popc(unsigned bits) { return std::popcount(bits); }
