#pragma once

#include <cstdint>

// What tensor cores do, by all 32 lanes of a warp. Lane l is thread l % 4 of group l / 4, as the
// PTX ISA numbers them.
namespace fulmar::simt {

// Fragments of a lane: pairs of bf16, the first in the lower half.
struct MatrixProduct {
  uint32_t a[4], b[2];
  float d[4];
};

// d += A B: A 16 x depth, B depth x 8, depth 8 or 16. Sums are float, in the order of the depth.
void multiply_matrices(MatrixProduct& lane, int depth, const char* file, int line);

// Of up to 4 matrices of 8 x 8 16-bit elements, lane l brings row l % 8 of matrix l / 8 in `row`;
// of each matrix it gets elements 2 (l % 4) and the next of row l / 4, or of column l / 4.
struct MatrixRows {
  uint32_t row[4], fragment[4];
};
void exchange_matrices(MatrixRows& lane, int count, bool transposed, const char* file, int line);

}  // namespace fulmar::simt
