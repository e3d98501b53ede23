#include <doctest/doctest.h>

#include <vector>

#include "tests/matrix_kernels.h"
#include "tests/support/simt_orders.h"

// kernels/cuda/mma.cuh by itself: which element of a matrix lies in which register of which lane,
// as the PTX ISA says it, and the product.
namespace fulmar::test {
namespace {

// Whole numbers, so that no sum is rounded; all elements of a matrix differ from their neighbours.
bf16 of_a(int row, int k) { return to_bf16(static_cast<float>((7 * row + 3 * k) % 23 - 11)); }
bf16 of_b(int k, int column) { return to_bf16(static_cast<float>((5 * k + 11 * column) % 19 - 9)); }
float of_d(int row, int column) { return static_cast<float>(100 * row + column); }

uint32_t pair(bf16 low, bf16 high) { return low.bits | static_cast<uint32_t>(high.bits) << 16; }

template <int depth>
void check_product() {
  CAPTURE(depth);
  std::vector<bf16> a, b;
  std::vector<float> d;
  for (int row = 0; row < 16; row++)
    for (int k = 0; k < depth; k++) a.push_back(of_a(row, k));
  for (int k = 0; k < depth; k++)
    for (int column = 0; column < 8; column++) b.push_back(of_b(k, column));
  for (int row = 0; row < 16; row++)
    for (int column = 0; column < 8; column++) d.push_back(of_d(row, column));
  constexpr int a_words = depth / 4, b_words = depth / 8;
  std::vector<uint32_t> a_fragment(32 * a_words), b_fragment(32 * b_words);
  launch_multiply_matrices<depth>(
      {a.data(), b.data(), d.data(), a_fragment.data(), b_fragment.data()});
  for (int lane = 0; lane < 32; lane++) {
    CAPTURE(lane);
    const int group = lane / 4, two = lane % 4 * 2;
    const uint32_t a_expected[] = {pair(of_a(group, two), of_a(group, two + 1)),
                                   pair(of_a(group + 8, two), of_a(group + 8, two + 1)),
                                   pair(of_a(group, two + 8), of_a(group, two + 9)),
                                   pair(of_a(group + 8, two + 8), of_a(group + 8, two + 9))};
    for (int i = 0; i < a_words; i++)
      CHECK(a_fragment[static_cast<size_t>(lane * a_words + i)] == a_expected[i]);
    const uint32_t b_expected[] = {pair(of_b(two, group), of_b(two + 1, group)),
                                   pair(of_b(two + 8, group), of_b(two + 9, group))};
    for (int i = 0; i < b_words; i++)
      CHECK(b_fragment[static_cast<size_t>(lane * b_words + i)] == b_expected[i]);
  }
  for (int row = 0; row < 16; row++)
    for (int column = 0; column < 8; column++) {
      float sum = of_d(row, column);
      for (int k = 0; k < depth; k++) sum += to_float(of_a(row, k)) * to_float(of_b(k, column));
      CHECK(d[static_cast<size_t>(row * 8 + column)] == sum);
    }
}

}  // namespace

TEST_CASE("simt matrix: registers of lanes and the product, of a depth of 16 and of 8") {
  in_every_order([] {
    check_product<16>();
    check_product<8>();
  });
}

}  // namespace fulmar::test
