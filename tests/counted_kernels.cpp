#include "tests/counted_kernels.h"

#include "kernels/cuda/vectors.cuh"
#include "tests/simt_kernels.h"

namespace fulmar::test::counted_kernels {
namespace {

constexpr int block = 128;
unsigned blocks_of(int count) { return static_cast<unsigned>((count + block - 1) / block); }

FULMAR_DEVICE int index() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

__global__ void copy_kernel(const float* x, float* y, int count, int stride, int offset) {
  const int i = index();
  if (i < count) y[i] = x[i * stride + offset];
}

__global__ void copy_by_16_kernel(const float* x, float* y, int count) {
  const int i = 4 * index();
  if (i < count) cuda::store<4>(y + i, cuda::load<4>(x + i));
}

__global__ void round_by_8_kernel(const float* x, bf16* y, int count) {
  const int i = 8 * index();
  if (i < count) cuda::store<8>(y + i, cuda::load<8>(x + i));
}

__global__ void copy_bytes_kernel(const unsigned char* x, unsigned char* y, int count) {
  const int i = index();
  if (i < count) y[i] = x[i];
}

template <int pad>
__global__ void transpose_kernel(const float* x, float* y, int side) {
  FULMAR_SHARED(float, tile, [32][32 + pad]);
  const int column = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int left = static_cast<int>(blockIdx.x) * 32, top = static_cast<int>(blockIdx.y) * 32;
  for (int r = row; r < 32; r += 8) tile[r][column] = x[(top + r) * side + left + column];
  __syncthreads();
  for (int r = row; r < 32; r += 8) y[(left + r) * side + top + column] = tile[column][r];
}

__global__ void shared_by_16_kernel(float* y, int stride) {
  FULMAR_DYNAMIC_SHARED(float, memory);
  const int i = static_cast<int>(threadIdx.x);
  const float value = static_cast<float>(i);
  cuda::store<4>(memory + i * stride, {{value, value, value, value}});
  const cuda::Vec<float, 4> back = cuda::load<4>(memory + i * stride);
  y[i] = back.v[0] + back.v[3];
}

__global__ void triangle_kernel(float* y) {
  for (unsigned k = 0; k < threadIdx.x; k++) y[k * 32 + threadIdx.x] = 1;
}

__global__ void branch_kernel(float* y, int lanes) {
  if (static_cast<int>(threadIdx.x) < lanes)
    y[threadIdx.x] = 1;
  else
    y[threadIdx.x + 1024] = 2;
}

template <class T>
__global__ void fma_chain_kernel(T* y, int count) {
  T value = static_cast<T>(threadIdx.x);
  for (int k = 0; k < count; k++) value = value * static_cast<T>(0.5) + static_cast<T>(1.5);
  y[threadIdx.x] = value;
}

__global__ void roots_kernel(const float* x, float* y) {
  y[threadIdx.x] = 1.5f / sqrtf(x[threadIdx.x]);
}

__global__ void exponentials_kernel(const float* x, float* y) {
  y[threadIdx.x] = expf(x[threadIdx.x]);
}

__global__ void count_atomically_kernel(unsigned* counters, unsigned different) {
  atomicAdd(counters + threadIdx.x % different, 1u);
}

__global__ void box_kernel(const float* x, float* y) {
  const unsigned i = threadIdx.x;
  if (i > 0 && i + 1 < blockDim.x) y[i] = x[i - 1] + x[i] + x[i + 1];
}

__global__ void rounds_kernel(const float* x, float* y) {
  float sum = 0;
  for (int outer = 0; outer < 2; outer++) {
    for (unsigned k = 0; k <= threadIdx.x % 2; k++) sum += x[(2 * outer + k) * 32 + threadIdx.x];
    sum += __shfl_xor_sync(~0u, sum, 1);
  }
  y[threadIdx.x] = sum;
}

}  // namespace

void copy(const float* x, float* y, int count, int stride, int offset) {
  launch({"copy", blocks_of(count), block}, copy_kernel, x, y, count, stride, offset);
}
void copy_by_16(const float* x, float* y, int count) {
  launch({"copy by 16", blocks_of(count / 4), block}, copy_by_16_kernel, x, y, count);
}
void round_by_8(const float* x, bf16* y, int count) {
  launch({"round by 8", blocks_of(count / 8), block}, round_by_8_kernel, x, y, count);
}
void copy_bytes(const unsigned char* x, unsigned char* y, int count) {
  launch({"copy bytes", blocks_of(count), block}, copy_bytes_kernel, x, y, count);
}
void transpose(const float* x, float* y, int side, bool padded) {
  const auto tiles = static_cast<unsigned>(side / 32);
  launch({"transpose", dim3(tiles, tiles), dim3(32, 8)},
         padded ? transpose_kernel<1> : transpose_kernel<0>, x, y, side);
}
void shared_by_16(float* y, int stride) {
  launch({"shared by 16", 1, 32, nullptr, static_cast<size_t>(32 * stride + 4) * sizeof(float)},
         shared_by_16_kernel, y, stride);
}
void multiply_matrices(const MatrixCall& call, int depth) {
  (depth == 16 ? launch_multiply_matrices<16> : launch_multiply_matrices<8>)(call);
}
void sum(const float* x, float* out, int count, int blocks) {
  launch({"sum", static_cast<unsigned>(blocks), 64}, block_sums<64>, x, out, count);
}
void triangle(float* y) { launch({"triangle", 1, 32}, triangle_kernel, y); }
void branch(float* y, int lanes) { launch({"branch", 1, 32}, branch_kernel, y, lanes); }
void fma_chain(float* y, int count) {
  launch({"fma chain", 1, 32}, fma_chain_kernel<float>, y, count);
}
void fma_chain64(double* y, int count) {
  launch({"fma chain", 1, 32}, fma_chain_kernel<double>, y, count);
}
void roots(const float* x, float* y) { launch({"roots", 1, 32}, roots_kernel, x, y); }
void exponentials(const float* x, float* y) {
  launch({"exponentials", 1, 32}, exponentials_kernel, x, y);
}
void count_atomically(unsigned* counters, unsigned different) {
  launch({"atomics", 1, 64}, count_atomically_kernel, counters, different);
}
void box(const float* x, float* y) { launch({"box", 1, block}, box_kernel, x, y); }
void rounds(const float* x, float* y) { launch({"rounds", 1, 32}, rounds_kernel, x, y); }

}  // namespace fulmar::test::counted_kernels
