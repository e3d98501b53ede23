#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/ops.h"
#include "tests/support/array.h"
#include "tests/support/guard.h"
#include "tests/support/instruction_sets.h"

// The CPU's fused kernels of the pooled sum at a block's end, against the reference's kernels of
// the ops that they stand for, in float64, with every instruction set that this machine has.

namespace fulmar::test {
namespace {

const double nan = std::numeric_limits<double>::quiet_NaN();
const double infinity = std::numeric_limits<double>::infinity();

// Numbers that float can hold, as both devices take them.
struct Numbers {
  Reals wide;
  Array<float> narrow;

  explicit Numbers(Reals reals) : wide(std::move(reals)), narrow(wide.shape) {
    for (int64_t i = 0; i < wide.shape.elements(); i++) {
      narrow[i] = static_cast<float>(wide[i]);
      wide[i] = static_cast<double>(narrow[i]);
    }
  }
};

struct Normalised {
  Numbers x, gamma, beta, mean, var;
  double epsilon = 1e-3;

  Normalised(const Shape& shape, uint64_t seed)
      : x(random_reals(shape, seed)),
        gamma(random_reals({shape.channels()}, seed + 1, -1.5, 1.5)),
        beta(random_reals({shape.channels()}, seed + 2)),
        mean(random_reals({shape.channels()}, seed + 3, -0.5, 0.5)),
        var(random_reals({shape.channels()}, seed + 4, 0.1, 2)) {}
  Loaded loaded() {
    return {narrow(x), narrow(gamma), narrow(beta), narrow(mean), narrow(var), epsilon};
  }
  // What batch normalisation makes of it.
  Reals batch_norm() {
    Reals y(x.wide.shape);
    Stream stream{};
    reference_backend().batch_norm(stream, x.wide.view(), gamma.wide.view(), beta.wide.view(),
                                   mean.wide.view(), var.wide.view(), y.view(), epsilon);
    return y;
  }

 private:
  static View narrow(Numbers& numbers) { return numbers.narrow.view(); }
};

Reals relu(Reals x) {
  for (double& v : x.values) v = v <= 0 ? 0 : v;  // NaN stays
  return x;
}

// A block's end: shapes and operands. Tests change the operands.
struct Case {
  Normalised z, u;
  bool plain_u, with_bias = true;
  Numbers w, bias, dy;

  Case(const Shape& shape, int64_t inputs, bool plain = false)
      : z(shape, 1),
        u({shape[0], shape[1], shape[2], inputs}, 11),
        plain_u(plain),
        w(random_reals({1, 1, inputs, shape[3]}, 21)),
        bias(random_reals({shape[3]}, 22)),
        dy(random_reals({shape[0], (shape[1] + 1) / 2, (shape[2] + 1) / 2, shape[3]}, 23, -0.5,
                        1)) {}
  const Shape& in() const { return z.x.wide.shape; }
  const Shape& out() const { return dy.wide.shape; }
  Loaded loaded_u() { return plain_u ? Loaded{u.x.narrow.view()} : u.loaded(); }
  Window window() const { return {{2, 2}, {1, 1}, {in().height() % 2, 1, in().width() % 2, 1}}; }
  std::string to_string() const {
    return "z " + in().to_string() + " u " + u.x.wide.shape.to_string();
  }
};

struct Expected {
  Reals y, pooled, sums, dw;
  Array<uint8_t> argmax;
  Reals most;  // the largest normalised value, before relu
};

Expected expected_of(Case& c) {
  const Backend& reference = reference_backend();
  Stream stream{};
  Expected e{Reals(c.out()),        Reals(c.out()),          Reals({2, c.in()[3]}),
             Reals(c.w.wide.shape), Array<uint8_t>(c.out()), Reals(c.out())};
  const Window window = c.window(), halved{{2, 2}, {1, 1}, {}};
  Reals normalised = c.z.batch_norm();
  Array<uint8_t> winner(c.out());
  reference.max_pool(stream, normalised.view(), e.most.view(), winner.view(), {3, 3}, window);
  Reals rectified = relu(normalised), maximum(c.out());
  reference.max_pool(stream, rectified.view(), maximum.view(), e.argmax.view(), {3, 3}, window);
  Reals u = c.plain_u ? c.u.x.wide : relu(c.u.batch_norm());
  std::vector<double> work(
      std::max(reference.conv2d_workspace(stream, u.view(), c.w.wide.view(), c.bias.wide.view(),
                                          e.y.view(), halved, 1),
               reference.conv2d_weight_grad_workspace(stream, u.view(), c.dy.wide.view(),
                                                      e.dw.view(), halved, 1)) /
          sizeof(double) +
      1);
  reference.conv2d(stream, u.view(), c.w.wide.view(), c.with_bias ? c.bias.wide.view() : View(),
                   e.y.view(), halved, 1, work.data());
  const int64_t channels = c.in()[3];
  for (int64_t i = 0; i < c.out().elements(); i++) {
    const int64_t pixel = i / channels, row = pixel / c.out()[2];
    const int64_t z_row = 2 * (row % c.out()[1]) - window.padding[0] + winner[i] / 3;
    const int64_t z_column = 2 * (pixel % c.out()[2]) - window.padding[2] + winner[i] % 3;
    const int64_t image = row / c.out()[1];
    e.pooled[i] =
        c.z.x.wide[((image * c.in()[1] + z_row) * c.in()[2] + z_column) * channels + i % channels];
    e.y[i] += maximum[i];
    if (maximum[i] <= 0) e.argmax[i] = pool_off;
  }
  Reals g(c.in());
  reference.max_pool_grad(stream, c.dy.wide.view(), e.argmax.view(), g.view(), {3, 3}, window);
  reference.batch_norm_grad_sums(stream, g.view(), c.z.x.wide.view(), c.z.mean.wide.view(),
                                 e.sums.view());
  reference.conv2d_weight_grad(stream, u.view(), c.dy.wide.view(), e.dw.view(), halved, 1,
                               work.data());
  return e;
}

// Memory between guards.
template <class T>
class Guarded {
 public:
  explicit Guarded(const Shape& shape)
      : shape_(shape),
        bytes_(static_cast<size_t>(shape.elements()) * sizeof(T)),
        all_(guarded_bytes(bytes_)) {
    set_guards(all_.data(), bytes_);
  }
  View view() { return view_of(all_.data() + guard_bytes, shape_, dtype_of<T>()); }
  std::vector<T> values() {
    CHECK(guards_intact(all_.data(), bytes_));
    std::vector<T> values(bytes_ / sizeof(T));
    std::memcpy(values.data(), view().data, bytes_);
    return values;
  }

 private:
  Shape shape_;
  size_t bytes_;
  std::vector<std::byte> all_;
};

struct Results {
  std::vector<float> y, pooled, dw;
  std::vector<double> sums;
  std::vector<uint8_t> argmax;
};

Results run(Case& c, int threads) {
  ThreadPool pool(threads);
  Stream stream{&pool};
  Guarded<float> y(c.out()), pooled(c.out()), dw(c.w.wide.shape);
  Guarded<uint8_t> argmax(c.out());
  Guarded<double> sums({2, c.in()[3]});
  cpu::pool_skip(stream, c.z.loaded(), c.loaded_u(), c.w.narrow.view(),
                 c.with_bias ? c.bias.narrow.view() : View(), y.view(), pooled.view(),
                 argmax.view());
  cpu::pool_grad_sums(stream, c.dy.narrow.view(), pooled.view(), argmax.view(),
                      c.z.mean.narrow.view(), sums.view());
  const size_t bytes =
      cpu::skip_weight_grad_workspace(stream, c.loaded_u(), c.dy.narrow.view(), dw.view());
  Guarded<double> work({static_cast<int64_t>(bytes / sizeof(double))});
  cpu::skip_weight_grad(stream, c.loaded_u(), c.dy.narrow.view(), dw.view(), work.view().data);
  work.values();
  return {y.values(), pooled.values(), dw.values(), sums.values(), argmax.values()};
}

// Within 1e-6 of the norm; what isn't finite must be the same.
template <class T>
void check_close(const std::string& what, const std::vector<T>& values, const Reals& expected) {
  CAPTURE(what);
  REQUIRE(values.size() == expected.values.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < values.size(); i++) {
    const double value = static_cast<double>(values[i]), wanted = expected.values[i];
    if (std::isfinite(wanted)) {
      error += (value - wanted) * (value - wanted);
      norm += wanted * wanted;
    } else {
      CAPTURE(i);
      if (!(std::isnan(wanted) ? std::isnan(value) : value == wanted)) CHECK(value == wanted);
    }
  }
  CHECK(std::sqrt(error) <= 1e-6 * std::sqrt(norm));
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

void check(Case& c, bool gradients = true) {
  const std::string what = c.to_string();
  CAPTURE(what);
  const Expected e = expected_of(c);
  const Results one = run(c, 1);
  check_close("y", one.y, e.y);
  check_close("pooled", one.pooled, e.pooled);
  for (size_t i = 0; i < one.argmax.size(); i++) {
    if (std::abs(e.most.values[i]) < 1e-6) continue;  // rounding may decide on which side of 0
    if (one.argmax[i] == e.argmax.values[i]) continue;
    CAPTURE(i);
    CHECK(int{one.argmax[i]} == int{e.argmax.values[i]});
  }
  if (gradients) {
    check_close("sums", one.sums, e.sums);
    check_close("dw", one.dw, e.dw);
  }
  for (const int threads : {2, 3, 7}) {
    CAPTURE(threads);
    const Results several = run(c, threads);
    CHECK(same_bits(one.y, several.y));
    CHECK(same_bits(one.pooled, several.pooled));
    CHECK(same_bits(one.argmax, several.argmax));
    CHECK(same_bits(one.sums, several.sums));
    CHECK(same_bits(one.dw, several.dw));
  }
}

const std::array<int64_t, 2> sides[] = {{1, 1}, {1, 8}, {9, 1}, {2, 2},  {2, 1},
                                        {5, 4}, {6, 3}, {7, 9}, {8, 16}, {11, 14}};

}  // namespace

TEST_CASE("pool_skip: shapes") {
  for_each_instruction_set([] {
    for (const auto& side : sides)
      for (const int64_t images : {1, 3})
        for (const int64_t channels : {1, 3, 5, 8, 12, 16, 24, 40, 64}) {
          Case c({images, side[0], side[1], channels}, channels, images == 3);
          check(c);
        }
  });
}

TEST_CASE("pool_skip: other channels of u, and no bias") {
  for_each_instruction_set([] {
    for (const auto& channels : {std::array<int64_t, 2>{1, 8},
                                 {3, 16},
                                 {8, 3},
                                 {8, 16},
                                 {16, 8},
                                 {24, 8},
                                 {40, 24},
                                 {70, 33},
                                 {130, 20}})
      for (const bool plain : {false, true}) {
        Case c({2, 9, 10, channels[1]}, channels[0], plain);
        c.with_bias = plain;
        check(c);
      }
  });
}

TEST_CASE("pool_skip: many rows, long rows, and many pixels for one sum") {
  for_each_instruction_set([] {
    for (const Shape& shape :
         {Shape{1, 70, 36, 8}, Shape{2, 33, 300, 8}, Shape{1, 67, 130, 16}, Shape{3, 130, 34, 4}}) {
      Case c(shape, 8);
      check(c);
      // Sums of many terms of one sign.
      for (float& v : c.dy.narrow.values) v = std::abs(v);
      for (double& v : c.dy.wide.values) v = std::abs(v);
      check(c);
    }
  });
}

TEST_CASE("pool_skip: the first of equals wins") {
  for_each_instruction_set([] {
    for (const auto& side : sides)
      for (const int64_t channels : {3, 8, 16, 40})
        for (const double step : {0.0, 1.0}) {  // constant pictures, and few levels
          Case c({2, side[0], side[1], channels}, 8);
          for (double& v : c.z.x.wide.values) v = step == 0 ? 0.75 : std::round(v * 2) * step;
          // -0 and 0 are equal.
          for (size_t i = 0; i < c.z.x.wide.values.size(); i += 3)
            if (c.z.x.wide.values[i] == 0) c.z.x.wide.values[i] = -0.0;
          c.z.x = Numbers(c.z.x.wide);
          check(c);
        }
  });
}

TEST_CASE("pool_skip: scales that are negative or 0") {
  for_each_instruction_set([] {
    for (const int64_t channels : {3, 8, 16, 40})
      for (const double scale : {-1.0, 0.0, -0.0}) {
        Case c({2, 9, 12, channels}, 8);
        for (int64_t i = 0; i < channels; i++)
          if (i % 3 != 1) c.z.gamma.wide[i] = scale;
        c.z.gamma = Numbers(c.z.gamma.wide);
        check(c);
      }
  });
}

TEST_CASE("pool_skip: NaN and infinity of z and u pass") {
  for_each_instruction_set([] {
    for (const auto& side : sides)
      for (const int64_t channels : {3, 8, 16, 40}) {
        Case c({2, side[0], side[1], channels}, 8);
        c.z.gamma.wide[0] = 0;
        c.z.gamma = Numbers(c.z.gamma.wide);
        for (int64_t i = 0; i < c.in().elements(); i++) {
          const double pick = uniform_value(5, i, 0, 1);
          if (pick < 0.05) c.z.x.wide[i] = pick < 0.025 ? nan : -nan;
          if (pick > 0.9) c.z.x.wide[i] = pick < 0.93 ? infinity : -infinity;
        }
        c.z.x = Numbers(c.z.x.wide);
        check(c, false);  // the sums of the ops also see infinities that no window took
      }
    for (const double odd : {nan, infinity}) {
      Case c({1, 8, 8, 8}, 8, odd > 0);
      c.u.x.wide[16 * 8 + 3] = odd;
      c.u.x = Numbers(c.u.x.wide);
      check(c);
    }
  });
}

TEST_CASE("pool_skip: NaN and infinity of parameters pass") {
  for_each_instruction_set([] {
    for (const double odd : {nan, infinity, -infinity})
      for (const int64_t channels : {5, 8, 16})
        for (int parameter = 0; parameter < 4; parameter++) {
          Case c({1, 7, 8, channels}, 8);
          Normalised& z = c.z;
          Numbers& changed = parameter == 0   ? z.gamma
                             : parameter == 1 ? z.beta
                             : parameter == 2 ? z.mean
                                              : z.var;
          changed.wide[2] = odd;
          changed = Numbers(changed.wide);
          check(c, false);
        }
  });
}

TEST_CASE("pool_skip: an output larger than the caches has the bits of its images alone") {
  for_each_instruction_set([] {
    if (std::string(cpu_backend().isa()) != "AVX2" && std::string(cpu_backend().isa()) != "AVX-512")
      return;
    ThreadPool pool(2);
    Stream stream{&pool};
    for (const Shape& in :
         {Shape{4, 512, 2048, 8}, Shape{4, 512, 2050, 8}, Shape{4, 512, 1024, 16}}) {
      const int64_t channels = in[3];
      const Shape out{in[0], in[1] / 2, in[2] / 2, channels};
      Case parameters({1, 1, 1, channels}, 1);
      Array<float> z(in), u({in[0], in[1], in[2], 1}, {});
      for (int64_t i = 0; i < in.elements(); i++)
        z[i] = static_cast<float>((i * 40503 >> 3) % 4099) * 1e-3F - 2;
      u.values.assign(static_cast<size_t>(u.shape.elements()), 0.5F);
      struct Outputs {
        std::vector<float> y, pooled;
        std::vector<uint8_t> argmax;
        explicit Outputs(const Shape& s)
            : y(static_cast<size_t>(s.elements()) + 16), pooled(y.size()), argmax(y.size() + 64) {}
      } whole(out), alone(out);
      const auto aligned = [](auto& values) {
        const auto at = reinterpret_cast<uintptr_t>(values.data());
        return values.data() + (64 - at % 64) % 64 / sizeof(values[0]);
      };
      Loaded loaded = parameters.z.loaded();
      const auto images = [&](Outputs& to, int64_t first, int64_t count) {
        const Shape ins{count, in[1], in[2], channels}, outs{count, out[1], out[2], channels};
        const int64_t at = first * out[1] * out[2] * channels;
        loaded.x = view_of(z.values.data() + 4 * at, ins, DType::f32);
        cpu::pool_skip(stream, loaded,
                       Loaded{view_of(u.values.data() + first * in[1] * in[2],
                                      {count, in[1], in[2], 1}, DType::f32)},
                       parameters.w.narrow.view(), View(),
                       view_of(aligned(to.y) + at, outs, DType::f32),
                       view_of(aligned(to.pooled) + at, outs, DType::f32),
                       view_of(aligned(to.argmax) + at, outs, DType::u8));
      };
      images(whole, 0, in[0]);
      for (int64_t i = 0; i < in[0]; i++) images(alone, i, 1);
      const auto n = static_cast<size_t>(out.elements());
      CHECK(std::memcmp(aligned(whole.y), aligned(alone.y), n * sizeof(float)) == 0);
      CHECK(std::memcmp(aligned(whole.pooled), aligned(alone.pooled), n * sizeof(float)) == 0);
      CHECK(std::memcmp(aligned(whole.argmax), aligned(alone.argmax), n) == 0);
    }
  });
}

}  // namespace fulmar::test
