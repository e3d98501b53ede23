#pragma once

#include "kernels/simt/launch.h"

namespace fulmar::cuda {

// N neighbours that are moved at once, up to 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  static_assert(sizeof(T) * N <= 16);
  T v[N];
};

// `from` and `to` are multiples of the Vec's size: the emulator asks.
template <int N, class T>
FULMAR_DEVICE Vec<T, N> load(const T* from) {
  FULMAR_CHECK_ALIGNED(from, sizeof(Vec<T, N>));
  return *reinterpret_cast<const Vec<T, N>*>(from);
}
template <int N, class T>
FULMAR_DEVICE void store(T* to, const Vec<T, N>& value) {
  FULMAR_CHECK_ALIGNED(to, sizeof(Vec<T, N>));
  *reinterpret_cast<Vec<T, N>*>(to) = value;
}

}  // namespace fulmar::cuda
