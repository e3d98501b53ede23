#pragma once

#include "kernels/cuda/launch.h"

// Kernels for the emulator's own tests: right ones, and by `bug` some that break a rule.
namespace fulmar::test {

enum class Bug { none, no_barrier, halo };

// out[block] = sum of `count` numbers: registers, shuffles, shared memory, fixed order.
template <int threads, Bug bug = Bug::none>
__global__ void block_sums(const float* x, float* out, int count) {
  FULMAR_SHARED(float, part, [threads / 32]);
  const int thread = static_cast<int>(threadIdx.x);
  const int step = static_cast<int>(gridDim.x) * threads;
  float sum = 0;
  for (int i = static_cast<int>(blockIdx.x) * threads + thread; i < count; i += step) sum += x[i];
  for (int by = 16; by > 0; by /= 2) sum += __shfl_down_sync(~0u, sum, by);
  if (thread % 32 == 0) part[thread / 32] = sum;
  if (bug != Bug::no_barrier) __syncthreads();
  if (thread == 0) {
    sum = 0;
    for (int warp = 0; warp < threads / 32; warp++) sum += part[warp];
    out[blockIdx.x] = sum;
  }
}

// y[i] = x[i-1] + x[i] + x[i+1], x zero outside: a tile with a halo in dynamic shared memory.
template <Bug bug = Bug::none>
__global__ void box3(const float* x, float* y, int count) {
  FULMAR_DYNAMIC_SHARED(float, tile);
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const int begin = static_cast<int>(blockIdx.x) * threads - 1;
  for (int i = thread; i < threads + 2; i += threads)
    tile[i] = begin + i >= 0 && begin + i < count ? x[begin + i] : 0;
  __syncthreads();
  const int at = begin + 1 + thread;
  const int shift = bug == Bug::halo ? 1 : 0;
  if (at < count)
    y[at] = tile[thread + shift] + tile[thread + 1 + shift] + tile[thread + 2 + shift];
}

// Inclusive prefix sums of a block's numbers (Hillis & Steele 1986).
__global__ inline void scan(const int* x, int* y) {
  FULMAR_SHARED(int, sums, [2][1024]);
  const unsigned i = threadIdx.x;
  int now = 0;
  sums[0][i] = x[i];
  __syncthreads();
  for (unsigned by = 1; by < blockDim.x; by *= 2) {
    sums[1 - now][i] = sums[now][i] + (i >= by ? sums[now][i - by] : 0);
    now = 1 - now;
    __syncthreads();
  }
  y[i] = sums[now][i];
}

// Each thread writes, and reads what its neighbour wrote, with nothing between.
__global__ inline void neighbour(int* memory, int* out) {
  memory[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = memory[(threadIdx.x + 1) % blockDim.x];
}

// All blocks write one element.
__global__ inline void same_element(int* out) { *out = static_cast<int>(blockIdx.x); }

}  // namespace fulmar::test
