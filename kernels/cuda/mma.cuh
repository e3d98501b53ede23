#pragma once

#include <cstdint>

#include "kernels/cuda/vectors.cuh"

#ifndef __CUDACC__
#include "kernels/simt/matrix.h"
#endif

// Products of small matrices of bf16 by a whole warp, on tensor cores: PTX's mma and ldmatrix. All
// 32 lanes call; the emulator has both as operations of the warp (kernels/simt/matrix.h).
//
// Fragments as the PTX ISA has them, with groupID g = lane / 4 and threadID_in_group t = lane % 4;
// a register holds two bf16, the lower half first:
//   A (16 x k, row-major): a[0] (g, 2t..2t+1), a[1] (g + 8, 2t..), a[2] (g, 2t + 8..),
//     a[3] (g + 8, 2t + 8..); of k = 8 the first two
//   B (k x 8): b[0] (2t..2t+1, g), b[1] (2t + 8.., g); of k = 8 the first
//   C, D (16 x 8, float): d[0] (g, 2t), d[1] (g, 2t + 1), d[2] (g + 8, 2t), d[3] (g + 8, 2t + 1)
namespace fulmar::cuda {

struct FragmentA {
  uint32_t r[4];
};
struct FragmentB {
  uint32_t r[2];
};
struct FragmentD {
  float v[4] = {};

  // Row and column of v[i].
  static FULMAR_DEVICE int row(int lane, int i) { return lane / 4 + i / 2 * 8; }
  static FULMAR_DEVICE int column(int lane, int i) { return lane % 4 * 2 + i % 2; }
};

#ifdef __CUDACC__

// d += a b; mma.m16n8k16
__device__ __forceinline__ void mma16(FragmentD& d, const FragmentA& a, const FragmentB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d.v[0]), "+f"(d.v[1]), "+f"(d.v[2]), "+f"(d.v[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
}
// mma.m16n8k8
__device__ __forceinline__ void mma8(FragmentD& d, const FragmentA& a, const FragmentB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+f"(d.v[0]), "+f"(d.v[1]), "+f"(d.v[2]), "+f"(d.v[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(b.r[0]));
}

// `count` matrices of 8 x 8: lane l gives the address of row l % 8 of matrix l / 8, in shared
// memory, a multiple of 16 bytes; lanes past 8 count give none that is read. Transposed where the
// rows in memory are columns of the fragment.
template <int count, bool transposed>
__device__ __forceinline__ void load_matrices(uint32_t* to, const bf16* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (count == 4 && transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  else if constexpr (count == 4)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  else if constexpr (count == 2 && transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(address)
                 : "memory");
  else if constexpr (count == 2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(address)
                 : "memory");
  else if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(to[0])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(to[0])
                 : "r"(address)
                 : "memory");
}

#else

inline void mma_by_warp(FragmentD& d, const FragmentA& a, const FragmentB& b, int depth,
                        const char* file, int line) {
  simt::MatrixProduct lane{};
  std::memcpy(lane.a, a.r, static_cast<size_t>(depth / 4) * sizeof lane.a[0]);
  std::memcpy(lane.b, b.r, static_cast<size_t>(depth / 8) * sizeof lane.b[0]);
  std::memcpy(lane.d, d.v, sizeof lane.d);
  simt::multiply_matrices(lane, depth, file, line);
  std::memcpy(d.v, lane.d, sizeof lane.d);
}
inline void mma16(FragmentD& d, const FragmentA& a, const FragmentB& b,
                  const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  mma_by_warp(d, a, b, 16, file, line);
}
inline void mma8(FragmentD& d, const FragmentA& a, const FragmentB& b,
                 const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  mma_by_warp(d, a, b, 8, file, line);
}
template <int count, bool transposed>
void load_matrices(uint32_t* to, const bf16* row, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
  simt::MatrixRows lane{};
  if (static_cast<int>(threadIdx.x % 32) < 8 * count) {
    FULMAR_CHECK_ALIGNED(row, sizeof lane.row);
    std::memcpy(lane.row, row, sizeof lane.row);
  }
  simt::exchange_matrices(lane, count, transposed, file, line);
  std::memcpy(to, lane.fragment, count * sizeof lane.fragment[0]);
}

#endif

}  // namespace fulmar::cuda
