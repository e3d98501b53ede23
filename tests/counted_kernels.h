#pragma once

#include "tests/matrix_kernels.h"

// Kernels whose counts are known, compiled as counted ones are; each function launches one.
namespace fulmar::test::counted_kernels {

// y[i] = x[i * stride + offset] for i in [0, count), a thread each, in blocks of 128.
void copy(const float* x, float* y, int count, int stride = 1, int offset = 0);
// The same by 16 bytes a thread; `count` is a multiple of 4.
void copy_by_16(const float* x, float* y, int count);
// y[i] = x[i] as bf16, 8 a thread.
void round_by_8(const float* x, bf16* y, int count);
void copy_bytes(const unsigned char* x, unsigned char* y, int count);
// y[column][row] = x[row][column] by tiles of 32x32 in shared memory, whose rows are `pad` longer.
void transpose(const float* x, float* y, int side, bool padded);
// 16 bytes a thread into shared memory and back, `stride` elements apart.
void shared_by_16(float* y, int stride);
// d += a b by a warp's tensor cores, of a depth of 16 or 8 (tests/matrix_kernels.h).
void multiply_matrices(const MatrixCall& call, int depth);
// out[block] = sum, by 64 threads: registers, shuffles, shared memory.
void sum(const float* x, float* out, int count, int blocks);
// Lane l of a warp stores l times.
void triangle(float* y);
// Lanes below `lanes` take one way, the others another; each stores once.
void branch(float* y, int lanes);
// A loop without, and one with a double; `count` fused multiply-adds a thread, one warp.
void fma_chain(float* y, int count);
void fma_chain64(double* y, int count);
void roots(const float* x, float* y);         // one square root and one division a thread, one warp
void exponentials(const float* x, float* y);  // one expf a thread
// All threads of two warps add to counters[thread % different].
void count_atomically(unsigned* counters, unsigned different);
// y[i] = x[i - 1] + x[i] + x[i + 1] inside, one block of 128.
void box(const float* x, float* y);
// A warp whose lanes take an inner loop of 1 + lane % 2 rounds, twice, with a shuffle between.
void rounds(const float* x, float* y);

}  // namespace fulmar::test::counted_kernels
