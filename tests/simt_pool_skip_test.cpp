#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cuda/emulated.h"
#include "tests/support/array.h"
#include "tests/support/slow_build.h"

// The CUDA backend's pool_skip where maxima are hard to tell: ties, scales that are negative or 0,
// NaN and infinity, in z and in the parameters. Compared with the CPU's, which pool_skip_test.cpp
// compares with the reference.

namespace fulmar::test {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

Array<float> floats(const Shape& shape, uint64_t seed, double low = -1, double high = 1) {
  Array<float> values(shape);
  for (int64_t i = 0; i < shape.elements(); i++)
    values[i] = static_cast<float>(uniform_value(seed, i, low, high));
  return values;
}

struct Block {
  Array<float> z, gamma, beta, mean, var;
  Array<float> u, u_gamma, u_beta, u_mean, u_var, w, bias, dy;

  Block(const Shape& shape, int64_t inputs)
      : z(floats(shape, 1)),
        gamma(floats({shape[3]}, 2, -1.5, 1.5)),
        beta(floats({shape[3]}, 3)),
        mean(floats({shape[3]}, 4)),
        var(floats({shape[3]}, 5, 0.1, 2)),
        u(floats({shape[0], shape[1], shape[2], inputs}, 6)),
        u_gamma(floats({inputs}, 10, -1.5, 1.5)),
        u_beta(floats({inputs}, 11)),
        u_mean(floats({inputs}, 12)),
        u_var(floats({inputs}, 13, 0.1, 2)),
        w(floats({1, 1, inputs, shape[3]}, 7)),
        bias(floats({shape[3]}, 8)),
        dy(floats(out(shape), 9)) {}
  Loaded loaded_z() { return {z.view(), gamma.view(), beta.view(), mean.view(), var.view(), 1e-3}; }
  Loaded loaded_u(bool normalised) {
    if (!normalised) return {u.view()};
    return {u.view(), u_gamma.view(), u_beta.view(), u_mean.view(), u_var.view(), 1e-3};
  }
  static Shape out(const Shape& in) { return {in[0], (in[1] + 1) / 2, (in[2] + 1) / 2, in[3]}; }
};

struct Results {
  Array<float> y, pooled;
  Array<uint8_t> argmax;
  Array<double> sums;
  Array<float> dw;
};

Results run(Block& b, bool normalised, const Backend& backend, const Stream& given) {
  Stream stream = given;
  const Shape out = Block::out(b.z.shape);
  Results r{Array<float>(out), Array<float>(out), Array<uint8_t>(out),
            Array<double>({2, out.channels()}), Array<float>(b.w.shape)};
  const FusedKernels& k = *backend.fused;
  const Loaded u = b.loaded_u(normalised);
  k.pool_skip(stream, b.loaded_z(), u, b.w.view(), b.bias.view(), r.y.view(), r.pooled.view(),
              r.argmax.view());
  k.pool_grad_sums(stream, b.dy.view(), r.pooled.view(), r.argmax.view(), b.mean.view(),
                   r.sums.view());
  std::vector<double> work(
      k.skip_weight_grad_workspace(stream, u, b.dy.view(), r.dw.view()) / sizeof(double) + 1);
  k.skip_weight_grad(stream, u, b.dy.view(), r.dw.view(), work.data());
  return r;
}

bool same(double a, double b, double bound) {
  if (std::isnan(b)) return std::isnan(a);
  if (std::isinf(b)) return a == b;
  return std::abs(a - b) <= bound * (1 + std::abs(b));
}

void check(Block& b, bool normalised) {
  ThreadPool pool(1);
  const simt::StreamOwner owner;
  Results expected = run(b, normalised, cpu_backend(), {&pool, nullptr});
  Results found = run(b, normalised, simt_backend(), owner.stream());
  int64_t wrong = 0;
  bool same_mask = true;
  for (int64_t i = 0; i < expected.y.shape.elements(); i++) {
    wrong += !same(found.y[i], expected.y[i], 1e-5);
    wrong += !same(found.pooled[i], expected.pooled[i], 0);
    // Rounding may decide on which side of 0 a value lies.
    const bool at_zero = (found.argmax[i] == pool_off) != (expected.argmax[i] == pool_off);
    wrong += found.argmax[i] != expected.argmax[i] && !at_zero;
    same_mask = same_mask && !at_zero;
  }
  for (int64_t i = 0; same_mask && i < expected.sums.shape.elements(); i++)
    wrong += !same(found.sums[i], expected.sums[i], 1e-5);
  for (int64_t i = 0; i < b.w.shape.elements(); i++)
    wrong += !same(found.dw[i], expected.dw[i], 1e-5);
  CHECK(wrong == 0);
}

const std::array<int64_t, 2> sides[] = {{1, 1}, {1, 8}, {9, 1}, {2, 2}, {5, 4}, {7, 9}, {8, 16}};
constexpr int64_t widths[] = {3, 8, 16, 40};

template <class Change>
void check_all(const Change& change) {
  for (const auto& side : sides)
    for (const int64_t channels : widths) {
      const bool normalised = side[0] % 2 == 1;
      Block b({2, side[0], side[1], channels}, channels == 16 ? 5 : 8);
      change(b);
      CAPTURE(b.z.shape.to_string());
      check(b, normalised);
    }
}

}  // namespace

TEST_CASE("simt pool_skip: scales of both signs, and of 0") {
  check_all([](Block&) {});
  for (const float scale : {0.0F, -0.0F})
    check_all([&](Block& b) {
      for (int64_t c = 0; c < b.gamma.shape.elements(); c += 3) b.gamma[c] = scale;
    });
}

TEST_CASE("simt pool_skip: the first of equals wins") {
  check_all([](Block& b) {
    for (float& v : b.z.values) v = std::round(v * 2);
    for (size_t i = 0; i < b.z.values.size(); i += 3)
      if (b.z.values[i] == 0) b.z.values[i] = -0.0F;
  });
  check_all([](Block& b) {
    for (float& v : b.z.values) v = 0.75F;
  });
}

TEST_CASE("simt pool_skip: NaN and infinity pass") {
  check_all([](Block& b) {
    b.gamma[0] = 0;
    for (int64_t i = 0; i < b.z.shape.elements(); i++) {
      const double pick = uniform_value(5, i, 0, 1);
      if (pick < 0.05) b.z[i] = static_cast<float>(pick < 0.025 ? nan : -nan);
      if (pick > 0.9) b.z[i] = static_cast<float>(pick < 0.93 ? infinity : -infinity);
    }
  });
  for (const double odd : {nan, infinity, -infinity})
    for (Array<float> Block::*parameter : {&Block::gamma, &Block::beta, &Block::mean, &Block::var})
      check_all([&](Block& b) { (b.*parameter)[2] = static_cast<float>(odd); });
}

}  // namespace fulmar::test
