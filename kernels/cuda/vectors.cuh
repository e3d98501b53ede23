#pragma once

#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/cuda/launch.h"

#ifdef FULMAR_COUNTED
// The same bits as to_bf16's. The counter takes a call for one instruction, as a GPU has it.
extern "C" uint16_t fulmar_to_bf16(float value) noexcept;
extern "C" uint32_t fulmar_to_bf16x2(float low, float high) noexcept;
#endif

namespace fulmar::cuda {

// The type that a kernel computes with: float where memory holds bf16.
template <class T>
using Number = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

// T's number, and back: rounded where T is bf16.
template <class T>
FULMAR_DEVICE Number<T> number(T value) {
  if constexpr (std::is_same_v<T, bf16>)
    return to_float(value);
  else
    return value;
}
template <class T>
FULMAR_DEVICE T rounded(Number<T> value) {
  if constexpr (std::is_same_v<T, bf16>)
#ifdef FULMAR_COUNTED
    return {fulmar_to_bf16(value)};
#else
    return to_bf16(value);
#endif
  else
    return value;
}
// Two of bf16, the first in the lower half.
FULMAR_DEVICE uint32_t rounded_pair(float low, float high) {
#ifdef __CUDA_ARCH__
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#elif defined(FULMAR_COUNTED)
  return fulmar_to_bf16x2(low, high);
#else
  return to_bf16(low).bits | static_cast<uint32_t>(to_bf16(high).bits) << 16;
#endif
}

// N numbers in registers.
template <class T, int N>
struct Vec {
  T v[N];
};

// N neighbours in memory, which are moved at once.
template <class T, int N>
struct alignas(sizeof(T) * N) Moved {
  static_assert(sizeof(T) * N <= 16);
  T v[N];
};

// Elements of T in 16 bytes: a thread takes so many at a time where it can.
template <class T>
constexpr int lanes_of = static_cast<int>(16 / sizeof(T));

// N neighbours as numbers, 16 bytes at a time or all at once; `from` and `to` are multiples of what
// is moved: the emulator asks.
template <class T, int N>
constexpr int moved_of = N < lanes_of<T> ? N : lanes_of<T>;

template <int N, class T>
FULMAR_DEVICE Vec<Number<T>, N> load(const T* from) {
  constexpr int at_once = moved_of<T, N>;
  Vec<Number<T>, N> value;
  FULMAR_UNROLL
  for (int first = 0; first < N; first += at_once) {
    FULMAR_CHECK_ALIGNED(from + first, sizeof(Moved<T, at_once>));
    const auto some = *reinterpret_cast<const Moved<T, at_once>*>(from + first);
    FULMAR_UNROLL
    for (int k = 0; k < at_once; k++) value.v[first + k] = number(some.v[k]);
  }
  return value;
}
template <class Word, class T, int N>
FULMAR_DEVICE void store_word(T* to, const Moved<T, N>& some) {
  Word word;
  memcpy(&word, &some, sizeof word);
  *reinterpret_cast<Word*>(to) = word;
}
template <class T, int N>
FULMAR_DEVICE void store_at_once(T* to, const Moved<T, N>& some) {
#ifdef __CUDA_ARCH__
  // nvcc would store one by one, as it forgets the alignment behind a loop.
  if constexpr (sizeof some == 16) return store_word<uint4>(to, some);
  if constexpr (sizeof some == 8) return store_word<uint2>(to, some);
  if constexpr (sizeof some == 4) return store_word<uint32_t>(to, some);
#endif
  *reinterpret_cast<Moved<T, N>*>(to) = some;
}

template <int N, class T>
FULMAR_DEVICE void store(T* to, const Vec<Number<T>, N>& value) {
  constexpr int at_once = moved_of<T, N>;
  FULMAR_UNROLL
  for (int first = 0; first < N; first += at_once) {
    FULMAR_CHECK_ALIGNED(to + first, sizeof(Moved<T, at_once>));
    Moved<T, at_once> some;
    if constexpr (std::is_same_v<T, bf16> && at_once % 2 == 0) {
      FULMAR_UNROLL
      for (int k = 0; k < at_once; k += 2) {
        const uint32_t pair = rounded_pair(value.v[first + k], value.v[first + k + 1]);
        some.v[k].bits = static_cast<uint16_t>(pair);
        some.v[k + 1].bits = static_cast<uint16_t>(pair >> 16);
      }
    } else {
      FULMAR_UNROLL
      for (int k = 0; k < at_once; k++) some.v[k] = rounded<T>(value.v[first + k]);
    }
    store_at_once(to + first, some);
  }
}

}  // namespace fulmar::cuda
