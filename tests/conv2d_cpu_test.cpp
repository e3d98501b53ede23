#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/ops.h"
#include "kernels/error.h"
#include "kernels/random.h"
#include "tests/support/guard.h"
#include "tests/support/instruction_sets.h"

// The CPU's dense convolution and its two gradients against plain loops in float64, with every
// instruction set that this machine has.

namespace fulmar::test {
namespace {

struct Conv {
  int64_t images, height, width, inputs, outputs;
  std::array<int64_t, 2> kernel{1, 1};
  Window window{};
  int64_t groups = 1;

  Shape x() const { return {images, height, width, inputs}; }
  Shape w() const { return {kernel[0], kernel[1], inputs / groups, outputs}; }
  Shape y() const { return {images, extent(0, height), extent(1, width), outputs}; }
  int64_t extent(int axis, int64_t in) const {
    return window_extent(in, kernel[axis], window.stride[axis], window.dilation[axis],
                         window.padding[2 * axis], window.padding[2 * axis + 1]);
  }
  std::string to_string() const {
    std::string text = "x " + x().to_string() + " w " + w().to_string() + " groups " +
                       std::to_string(groups) + " stride, dilation, padding";
    for (int64_t v : {window.stride[0], window.stride[1], window.dilation[0], window.dilation[1],
                      window.padding[0], window.padding[1], window.padding[2], window.padding[3]})
      text += " " + std::to_string(v);
    return text;
  }
};

std::vector<float> numbers(const Shape& shape, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); i++)
    values[i] = 2 * uniform(philox(seed, 0, i).word[0]) - 1;
  return values;
}

// Calls body(x element, w element, y element) for every product of the convolution.
template <class Body>
void for_products(const Conv& c, const Body& body) {
  const Shape y = c.y(), w = c.w();
  const int64_t per_group = c.outputs / c.groups;
  for (int64_t n = 0; n < c.images; n++)
    for (int64_t oy = 0; oy < y[1]; oy++)
      for (int64_t ox = 0; ox < y[2]; ox++)
        for (int64_t i = 0; i < w[0]; i++)
          for (int64_t j = 0; j < w[1]; j++) {
            const int64_t iy =
                oy * c.window.stride[0] + i * c.window.dilation[0] - c.window.padding[0];
            const int64_t ix =
                ox * c.window.stride[1] + j * c.window.dilation[1] - c.window.padding[2];
            if (iy < 0 || iy >= c.height || ix < 0 || ix >= c.width) continue;
            const int64_t x_at = ((n * c.height + iy) * c.width + ix) * c.inputs;
            const int64_t w_at = (i * w[1] + j) * w[2] * c.outputs;
            const int64_t y_at = ((n * y[1] + oy) * y[2] + ox) * c.outputs;
            for (int64_t k = 0; k < w[2]; k++)
              for (int64_t o = 0; o < c.outputs; o++)
                body(x_at + o / per_group * w[2] + k, w_at + k * c.outputs + o, y_at + o);
          }
}

// |values - expected| must be within what rounding explains: `scale` is the sum of the magnitudes
// of the terms of each sum.
void check_close(const std::string& what, const std::vector<float>& values,
                 const std::vector<double>& expected, const std::vector<double>& scale) {
  REQUIRE(values.size() == expected.size());
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < values.size(); i++) {
    const double error = std::abs(values[i] - expected[i]) / (scale[i] + 1e-30);
    if (!(error <= worst)) {
      worst = error;
      at = i;
    }
  }
  CAPTURE(what);
  CAPTURE(at);
  CHECK(worst < 2e-6);
}

// Memory between guards.
class Guarded {
 public:
  explicit Guarded(const Shape& shape) : shape_(shape), all_(guarded_bytes(bytes())) {
    set_guards(all_.data(), bytes());
  }
  View view() { return view_of(all_.data() + guard_bytes, shape_, DType::f32); }
  std::vector<float> values() const {
    std::vector<float> values(bytes() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), all_.data() + guard_bytes, bytes());
    return values;
  }
  void check_border() const { CHECK(guards_intact(all_.data(), bytes())); }

 private:
  size_t bytes() const { return static_cast<size_t>(shape_.elements()) * sizeof(float); }
  Shape shape_;
  std::vector<std::byte> all_;
};

struct Results {
  std::vector<float> y, dx, dw;
};

// Scratch memory that a kernel finds full of NaN, and must not leave.
class Work {
 public:
  explicit Work(size_t bytes) : used_(bytes / sizeof(float)), all_(used_ + 64, NAN) {}
  ~Work() {
    CHECK(std::all_of(all_.begin() + static_cast<std::ptrdiff_t>(used_), all_.end(),
                      [](float value) { return std::isnan(value); }));
  }
  float* data() { return all_.data(); }

 private:
  size_t used_;
  std::vector<float> all_;
};

Results run(const Conv& c, int threads) {
  ThreadPool pool(threads);
  Stream stream{&pool};
  auto x = numbers(c.x(), 1), w = numbers(c.w(), 2), bias = numbers({c.outputs}, 3),
       dy = numbers(c.y(), 4);
  const View vx = view_of(x.data(), c.x(), DType::f32), vw = view_of(w.data(), c.w(), DType::f32),
             vb = view_of(bias.data(), {c.outputs}, DType::f32),
             vdy = view_of(dy.data(), c.y(), DType::f32);
  Guarded y(c.y()), dx(c.x()), dw(c.w());
  {
    Work work(cpu::conv2d_workspace(stream, vx, vw, vb, y.view(), c.window, c.groups));
    cpu::conv2d(stream, vx, vw, vb, y.view(), c.window, c.groups, work.data());
  }
  {
    Work work(cpu::conv2d_input_grad_workspace(stream, vdy, vw, dx.view(), c.window, c.groups));
    cpu::conv2d_input_grad(stream, vdy, vw, dx.view(), c.window, c.groups, work.data());
  }
  {
    Work work(cpu::conv2d_weight_grad_workspace(stream, vx, vdy, dw.view(), c.window, c.groups));
    cpu::conv2d_weight_grad(stream, vx, vdy, dw.view(), c.window, c.groups, work.data());
  }
  y.check_border(), dx.check_border(), dw.check_border();
  return {y.values(), dx.values(), dw.values()};
}

void check_against_loops(const Conv& c) {
  CAPTURE(c.to_string());
  const Results got = run(c, 1);
  const auto x = numbers(c.x(), 1), w = numbers(c.w(), 2), bias = numbers({c.outputs}, 3),
             dy = numbers(c.y(), 4);
  std::vector<double> y(got.y.size()), dx(got.dx.size()), dw(got.dw.size());
  std::vector<double> y_scale(y.size()), dx_scale(dx.size()), dw_scale(dw.size());
  for (size_t i = 0; i < y.size(); i++) {
    y[i] = bias[i % bias.size()];
    y_scale[i] = std::abs(y[i]);
  }
  for_products(c, [&](int64_t i, int64_t k, int64_t o) {
    const double xi = x[static_cast<size_t>(i)], wk = w[static_cast<size_t>(k)],
                 dyo = dy[static_cast<size_t>(o)];
    y[static_cast<size_t>(o)] += xi * wk;
    dx[static_cast<size_t>(i)] += dyo * wk;
    dw[static_cast<size_t>(k)] += xi * dyo;
    y_scale[static_cast<size_t>(o)] += std::abs(xi * wk);
    dx_scale[static_cast<size_t>(i)] += std::abs(dyo * wk);
    dw_scale[static_cast<size_t>(k)] += std::abs(xi * dyo);
  });
  check_close("y", got.y, y, y_scale);
  check_close("dx", got.dx, dx, dx_scale);
  check_close("dw", got.dw, dw, dw_scale);
}

Window window(std::array<int64_t, 2> stride, std::array<int64_t, 2> dilation,
              std::array<int64_t, 4> padding) {
  return {stride, dilation, padding};
}

const Conv named_cases[] = {
    // pointwise, at the network's widths and odd ones
    {2, 9, 7, 8, 8},
    {2, 5, 7, 8, 16},
    {1, 9, 9, 16, 16},
    {1, 8, 8, 16, 32},
    {1, 6, 6, 64, 64},
    {1, 3, 5, 7, 5},
    {1, 4, 4, 3, 33},
    {1, 4, 4, 31, 17},
    {2, 3, 3, 130, 49},
    {1, 2, 3, 400, 70},
    {1, 2, 2, 1000, 40},
    // the stem, and one like it on odd sizes
    {2, 16, 16, 3, 8, {3, 3}, window({2, 2}, {1, 1}, {0, 1, 0, 1})},
    {1, 17, 13, 3, 8, {3, 3}, window({2, 2}, {1, 1}, {1, 1, 1, 1})},
    // skips: 1x1 stride 2
    {2, 8, 8, 8, 16, {1, 1}, window({2, 2}, {1, 1}, {0, 0, 0, 0})},
    {1, 7, 5, 16, 32, {1, 1}, window({2, 2}, {1, 1}, {0, 0, 0, 0})},
    // 'same' 3x3 and larger
    {2, 11, 9, 16, 24, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1})},
    {1, 12, 10, 6, 12, {5, 5}, window({1, 1}, {1, 1}, {2, 2, 2, 2})},
    {1, 12, 10, 4, 6, {7, 1}, window({1, 1}, {1, 1}, {3, 3, 0, 0})},
    {1, 10, 12, 4, 6, {1, 7}, window({1, 1}, {1, 1}, {0, 0, 3, 3})},
    {1, 6, 6, 70, 20, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1})},
    // strides larger than the kernel, unlike per axis
    {2, 11, 13, 5, 9, {2, 2}, window({3, 4}, {1, 1}, {0, 0, 0, 0})},
    {1, 13, 11, 8, 8, {3, 2}, window({1, 3}, {1, 1}, {0, 1, 2, 0})},
    {1, 20, 20, 8, 4, {1, 1}, window({5, 3}, {1, 1}, {0, 0, 0, 0})},
    // dilation, with stride too
    {1, 12, 14, 6, 10, {3, 3}, window({1, 1}, {2, 2}, {2, 2, 2, 2})},
    {2, 13, 11, 6, 10, {3, 3}, window({2, 2}, {2, 3}, {2, 1, 3, 0})},
    {1, 14, 14, 3, 5, {3, 2}, window({3, 2}, {2, 4}, {1, 4, 0, 3})},
    {1, 9, 9, 4, 4, {2, 2}, window({2, 2}, {2, 2}, {0, 0, 0, 0})},
    // few channels in long rows, whose pixels become lanes; phases of strides that meet no tap
    {1, 7, 150, 3, 5, {3, 2}, window({3, 2}, {2, 4}, {1, 4, 0, 3})},
    {2, 5, 131, 4, 9, {2, 3}, window({1, 3}, {1, 2}, {0, 1, 3, 2})},
    {1, 9, 200, 1, 3, {2, 2}, window({3, 4}, {1, 1}, {0, 0, 0, 0})},
    {2, 6, 70, 2, 2, {5, 5}, window({1, 1}, {1, 1}, {2, 2, 2, 2})},
    // patches that are read out of lines
    {2, 9, 45, 20, 40, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1})},
    {1, 7, 50, 24, 16, {3, 3}, window({1, 1}, {1, 1}, {0, 2, 2, 0})},
    {2, 5, 37, 9, 7, {5, 3}, window({1, 1}, {1, 1}, {4, 1, 0, 3})},
    {1, 4, 70, 33, 5, {1, 4}, window({1, 1}, {1, 1}, {0, 0, 3, 1})},
    {1, 5, 66, 6, 20, {3, 5}, window({1, 1}, {2, 1}, {2, 2, 4, 4})},
    {2, 3, 75, 24, 40, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1})},
    {1, 2, 150, 40, 20, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1})},
    {1, 1, 33, 12, 34, {2, 2}, window({1, 1}, {1, 1}, {3, 3, 2, 2})},
    // groups
    {2, 9, 7, 12, 18, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1}), 3},
    {1, 8, 8, 16, 8, {3, 3}, window({2, 2}, {1, 1}, {0, 1, 0, 1}), 2},
    {1, 6, 6, 8, 8, {1, 1}, window({2, 1}, {1, 1}, {0, 0, 0, 0}), 4},
    {1, 6, 5, 6, 12, {3, 3}, window({1, 2}, {1, 1}, {1, 1, 1, 1}), 6},
    {1, 5, 5, 64, 64, {1, 1}, {}, 2},
    // one pixel; a kernel larger than the picture; rows and columns of padding only
    {1, 1, 1, 3, 2},
    {1, 1, 1, 5, 4, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1})},
    {1, 2, 3, 4, 6, {5, 5}, window({1, 1}, {1, 1}, {2, 2, 2, 2})},
    {1, 2, 2, 3, 3, {2, 2}, window({1, 1}, {1, 1}, {3, 4, 5, 2})},
    {1, 3, 3, 2, 3, {2, 3}, window({2, 2}, {1, 1}, {4, 0, 0, 6})},
    // outputs that don't exist: the window doesn't fit, or there is no image
    {1, 2, 2, 3, 4, {3, 3}, {}},
    {0, 4, 4, 3, 4, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1})},
};

}  // namespace

TEST_CASE("conv2d and its gradients equal plain loops") {
  for_each_instruction_set([] {
    for (const Conv& c : named_cases) check_against_loops(c);
  });
}

TEST_CASE("conv2d and its gradients equal plain loops on random shapes") {
  for_each_instruction_set([] {
    for (uint64_t i = 0; i < 150; i++) {
      int64_t draw = 0;
      const auto pick = [&](int64_t low, int64_t high) {
        const uint32_t word = philox(77, i, static_cast<uint64_t>(draw++)).word[0];
        return low + static_cast<int64_t>(word % static_cast<uint32_t>(high - low + 1));
      };
      Conv c{pick(1, 3), pick(1, 14), pick(1, 14), 0, 0};
      c.groups = pick(0, 3) == 0 ? pick(2, 3) : 1;
      c.inputs = c.groups * pick(1, 40);
      c.outputs = c.groups * pick(1, 40);
      c.kernel = {pick(1, 4), pick(1, 4)};
      c.window = {{pick(1, 4), pick(1, 3)},
                  {pick(1, 3), pick(1, 3)},
                  {pick(0, 3), pick(0, 3), pick(0, 3), pick(0, 3)}};
      check_against_loops(c);
    }
  });
}

// Wide rows of few channels, which are multiplied without patches.
TEST_CASE("conv2d and its gradients equal plain loops on random rows of few channels") {
  for_each_instruction_set([] {
    for (uint64_t i = 0; i < 150; i++) {
      int64_t draw = 0;
      const auto pick = [&](int64_t low, int64_t high) {
        const uint32_t word = philox(78, i, static_cast<uint64_t>(draw++)).word[0];
        return low + static_cast<int64_t>(word % static_cast<uint32_t>(high - low + 1));
      };
      Conv c{pick(1, 3), pick(1, 9), pick(1, 150), pick(1, 4),
             pick(0, 2) ? pick(1, 9) : pick(1, 33)};
      c.kernel = {pick(1, 5), pick(1, 5)};
      c.window = {{pick(1, 3), pick(1, 3)},
                  {pick(1, 3), pick(1, 3)},
                  {pick(0, 4), pick(0, 4), pick(0, 4), pick(0, 4)}};
      check_against_loops(c);
    }
  });
}

TEST_CASE("conv2d is a dense layer on rank 2") {
  // [N,K] is one row of N pixels; w [K,M] a 1x1 kernel.
  for (int64_t batch : {1, 16, 100}) check_against_loops({1, 1, batch, 1024, 2});
  ThreadPool pool(2);
  Stream stream{&pool};
  std::vector<float> x{1, 2, 3, 4, 5, 6}, w{1, 10, 100, 1000, 10000, 100000}, y(4);
  const View vw = view_of(w.data(), {3, 2}, DType::f32), vy = view_of(y.data(), {2, 2}, DType::f32);
  Work work(cpu::conv2d_workspace(stream, {}, vw, {}, vy, {}, 1));
  cpu::conv2d(stream, view_of(x.data(), {2, 3}, DType::f32), vw, View{}, vy, Window{}, 1,
              work.data());
  CHECK(y == std::vector<float>{1 + 200 + 30000, 10 + 2000 + 300000, 4 + 500 + 60000,
                                40 + 5000 + 600000});
}

TEST_CASE("conv2d keeps its bits with any number of threads") {
  const Conv cases[] = {
      {2, 70, 60, 8, 8},
      {1, 40, 90, 16, 64},
      {1, 24, 24, 96, 288},
      {1, 90, 70, 3, 8, {3, 3}, window({2, 2}, {1, 1}, {0, 1, 0, 1})},
      {2, 200, 90, 2, 5, {3, 3}, window({1, 1}, {1, 2}, {1, 1, 0, 1})},
      {2, 60, 60, 8, 16, {1, 1}, window({2, 2}, {1, 1}, {0, 0, 0, 0})},
      {1, 30, 30, 20, 30, {3, 3}, window({1, 1}, {2, 1}, {1, 1, 1, 1}), 2},
      {2, 23, 75, 20, 40, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1})},
  };
  for_each_instruction_set([&] {
    for (const Conv& c : cases) {
      CAPTURE(c.to_string());
      const Results one = run(c, 1);
      for (int threads : {2, 3, 5}) {
        const Results more = run(c, threads);
        CHECK(std::memcmp(one.y.data(), more.y.data(), one.y.size() * sizeof(float)) == 0);
        CHECK(std::memcmp(one.dx.data(), more.dx.data(), one.dx.size() * sizeof(float)) == 0);
        CHECK(std::memcmp(one.dw.data(), more.dw.data(), one.dw.size() * sizeof(float)) == 0);
      }
    }
  });
}

TEST_CASE("large sums over many pixels stay accurate") {
  // dw sums 2 * 150 * 150 products; chunks and blocks keep the error far below a plain loop's.
  check_against_loops({2, 150, 150, 8, 8});
  check_against_loops({1, 130, 130, 3, 8, {3, 3}, window({2, 2}, {1, 1}, {0, 1, 0, 1})});
  // So many rows that sums in float are emptied into sums in double on the way.
  check_against_loops({1, 17000, 40, 1, 2, {3, 3}, window({1, 1}, {1, 1}, {1, 1, 1, 1})});
}

// From 32 MiB on, aligned outputs are written past the caches.
TEST_CASE("conv2d writes every element of a large aligned output") {
  ThreadPool pool(2);
  Stream stream{&pool};
  for_each_instruction_set([&] {
    // Two taps of so few channels are multiplied without patches; the second has weight 0.
    const std::array<int64_t, 2> kernels[] = {{1, 16}, {1, 20}, {1, 48}, {2, 16}, {2, 20}};
    for (const auto& each : kernels) {
      const int64_t taps = each[0], outputs = each[1];
      const Shape wide{1, 512, 1024, outputs}, thin{1, 512, 1023 + taps, 1},
          kernel{1, taps, 1, outputs};
      std::vector<float> x(static_cast<size_t>(thin.elements())),
          w(static_cast<size_t>(taps * outputs)), bias(static_cast<size_t>(outputs));
      for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i % 251);
      for (size_t o = 0; o < bias.size(); o++) {
        w[o] = static_cast<float>(o + 1);
        bias[o] = static_cast<float>(o) + 0.5f;
      }
      View y = view_of(nullptr, wide, DType::f32);
      y.data = cpu::allocate(stream, y.bytes());
      cpu::fill(stream, y, -1);
      Work work(
          cpu::conv2d_workspace(stream, {}, view_of(nullptr, kernel, DType::f32), {}, y, {}, 1));
      cpu::conv2d(stream, view_of(x.data(), thin, DType::f32),
                  view_of(w.data(), kernel, DType::f32),
                  view_of(bias.data(), {outputs}, DType::f32), y, Window{}, 1, work.data());
      int64_t wrong = 0;
      const float* at = y.as<float>();
      for (size_t i = 0; i < x.size(); i++)
        if (static_cast<int64_t>(i) % thin[2] < wide[2])
          for (size_t o = 0; o < bias.size(); o++) wrong += *at++ != x[i] * w[o] + bias[o];
      CAPTURE(taps);
      CAPTURE(outputs);
      CHECK(wrong == 0);
      cpu::release(stream, y.data, y.bytes());
    }
  });
}

TEST_CASE("conv2d names shapes that don't fit") {
  ThreadPool pool(1);
  Stream stream{&pool};
  std::vector<float> memory(4096), work(4096);
  const auto view = [&](const Shape& shape) { return view_of(memory.data(), shape, DType::f32); };
  const auto message = [&](const View& x, const View& w, const View& y, const Window& window,
                           int64_t groups) -> std::string {
    try {
      cpu::conv2d(stream, x, w, View{}, y, window, groups, work.data());
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      return error.what();
    }
    return "";
  };
  const View x = view({1, 4, 4, 6}), w = view({3, 3, 6, 8}), y = view({1, 2, 2, 8});
  CHECK(message(x, w, y, {}, 1) == "");
  CHECK(message(x, w, view({1, 4, 4, 8}), {}, 1).find("y should be [1,2,2,8]") !=
        std::string::npos);
  CHECK(message(x, view({3, 3, 5, 8}), y, {}, 1).find("[3,3,5,8]") != std::string::npos);
  CHECK(message(x, w, y, {}, 2) != "");
  CHECK(message(x, w, y, window({0, 1}, {1, 1}, {}), 1).find("stride") != std::string::npos);
  View wide = x;
  wide.stride[2] = 12;
  CHECK(message(wide, w, y, {}, 1).find("contiguous") != std::string::npos);
  View doubles = x;
  doubles.type = DType::f64;
  CHECK(message(doubles, w, y, {}, 1).find("f64") != std::string::npos);
}

}  // namespace fulmar::test
