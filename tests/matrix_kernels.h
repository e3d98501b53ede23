#pragma once

#include "kernels/cuda/mma.cuh"

// A warp's product of small matrices, for the tests of the emulator's tensor cores and of counts.
namespace fulmar::test {

struct MatrixCall {
  const bf16 *a, *b;  // [16][depth], [depth][8]
  float* d;           // [16][8], added to
  uint32_t *a_fragment,
      *b_fragment;  // [32][depth / 4], [32][depth / 8]: what lanes have of a and b
};

// Both operands by ldmatrix, b transposed; d by rows and columns of its fragment.
template <int depth>
__global__ void multiply_matrices(MatrixCall call) {
  constexpr int a_row = depth == 16 ? 24 : 8,  // an odd number of 16 bytes
      a_words = depth / 4, b_words = depth / 8;
  FULMAR_DYNAMIC_SHARED(bf16, memory);
  bf16* const a = memory;
  bf16* const b = memory + 16 * a_row;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * depth; i += 32) a[i / depth * a_row + i % depth] = call.a[i];
  for (int i = lane; i < depth * 8; i += 32) b[i] = call.b[i];
  __syncthreads();
  cuda::FragmentA of_a{};
  cuda::FragmentB of_b{};
  cuda::FragmentD of_d;
  cuda::load_matrices<a_words, false>(of_a.r, a + lane % 16 * a_row + lane / 16 % b_words * 8);
  cuda::load_matrices<b_words, true>(of_b.r, b + lane % depth * 8);
  for (int i = 0; i < a_words; i++) call.a_fragment[lane * a_words + i] = of_a.r[i];
  for (int i = 0; i < b_words; i++) call.b_fragment[lane * b_words + i] = of_b.r[i];
  const auto at = [&](int i) {
    return cuda::FragmentD::row(lane, i) * 8 + cuda::FragmentD::column(lane, i);
  };
  for (int i = 0; i < 4; i++) of_d.v[i] = call.d[at(i)];
  if constexpr (depth == 16)
    cuda::mma16(of_d, of_a, of_b);
  else
    cuda::mma8(of_d, of_a, of_b);
  for (int i = 0; i < 4; i++) call.d[at(i)] = of_d.v[i];
}

template <int depth>
void launch_multiply_matrices(const MatrixCall& call) {
  launch({"multiply matrices", 1, 32, nullptr, (16 * 24 + depth * 8) * sizeof(bf16)},
         multiply_matrices<depth>, call);
}

}  // namespace fulmar::test
