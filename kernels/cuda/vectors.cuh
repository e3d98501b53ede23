#pragma once

#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/cuda/launch.h"

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
    return to_bf16(value);
  else
    return value;
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
template <class T, int N>
FULMAR_DEVICE void store_at_once(T* to, const Moved<T, N>& some) {
#ifdef __CUDA_ARCH__
  // Behind a loop nvcc forgets the alignment, and would store one by one.
  if constexpr (sizeof some == 16) {
    uint4 word;
    memcpy(&word, &some, sizeof word);
    __stwb(reinterpret_cast<uint4*>(to), word);
    return;
  }
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
    FULMAR_UNROLL
    for (int k = 0; k < at_once; k++) some.v[k] = rounded<T>(value.v[first + k]);
    store_at_once(to + first, some);
  }
}

}  // namespace fulmar::cuda
