#include "kernels/simt/matrix.h"

#include "kernels/bf16.h"
#include "kernels/simt/block.h"
#include "kernels/simt/observer.h"

namespace fulmar::simt {
namespace {

struct Product {
  MatrixProduct* lane;
  int depth;
};
struct Exchange {
  MatrixRows* lane;
  int count;
  bool transposed;
};

template <class T>
T& operand(const WarpCall* call) {
  return *reinterpret_cast<T*>(call->value);
}

uint16_t half(uint32_t pair, int which) { return static_cast<uint16_t>(pair >> (16 * which)); }
float number(uint32_t pair, int which) { return to_float(bf16{half(pair, which)}); }

void require_all(uint32_t present) {
  if (present != ~uint32_t{0}) Block::current().fail("tensor cores take all 32 lanes of a warp");
}

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type" and those for .m16n8k8
void complete_product(const WarpCall::Lanes& lanes, uint32_t present) {
  require_all(present);
  const int depth = operand<Product>(lanes[0]).depth;
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; l++) {
    const MatrixProduct& from = *operand<Product>(lanes[l]).lane;
    const int group = l / 4, first = 2 * (l % 4);
    for (int r = 0; r < depth / 4; r++)
      for (int i = 0; i < 2; i++)
        a[group + 8 * (r % 2)][first + i + 8 * (r / 2)] = number(from.a[r], i);
    for (int r = 0; r < depth / 8; r++)
      for (int i = 0; i < 2; i++) b[first + i + 8 * r][group] = number(from.b[r], i);
  }
  for (int l = 0; l < 32; l++) {
    MatrixProduct& to = *operand<Product>(lanes[l]).lane;
    for (int i = 0; i < 4; i++) {
      float sum = to.d[i];
      for (int k = 0; k < depth; k++) sum += a[l / 4 + 8 * (i / 2)][k] * b[k][2 * (l % 4) + i % 2];
      to.d[i] = sum;
    }
  }
  if (Observer* watching = observer())
    watching->matrix_operation(16 * 8 * static_cast<uint64_t>(depth));
}

// PTX ISA, "Warp-level matrix load instruction: ldmatrix"
void complete_exchange(const WarpCall::Lanes& lanes, uint32_t present) {
  require_all(present);
  const Exchange& asked = operand<Exchange>(lanes[0]);
  for (int l = 0; l < 32; l++)
    for (int matrix = 0; matrix < asked.count; matrix++) {
      uint32_t pair = 0;
      for (int i = 0; i < 2; i++) {
        const int along = 2 * (l % 4) + i;
        const int row = asked.transposed ? along : l / 4, column = asked.transposed ? l / 4 : along;
        const MatrixRows& from = *operand<Exchange>(lanes[8 * matrix + row]).lane;
        pair |= uint32_t{half(from.row[column / 2], column % 2)} << (16 * i);
      }
      operand<Exchange>(lanes[l]).lane->fragment[matrix] = pair;
    }
}

template <class T>
void together(const char* what, void (*complete)(const WarpCall::Lanes&, uint32_t), T& operands,
              const char* file, int line) {
  WarpCall call{complete, false, reinterpret_cast<uint64_t>(&operands), 0, 0};
  Block::current().warp_operation({what, file, line}, ~uint32_t{0}, call);
}

}  // namespace

void multiply_matrices(MatrixProduct& lane, int depth, const char* file, int line) {
  Product operands{&lane, depth};
  together("mma", complete_product, operands, file, line);
}

void exchange_matrices(MatrixRows& lane, int count, bool transposed, const char* file, int line) {
  Exchange operands{&lane, count, transposed};
  together("ldmatrix", complete_exchange, operands, file, line);
}

}  // namespace fulmar::simt
