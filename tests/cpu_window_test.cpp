#include "kernels/error.h"
#include "tests/support/parity.h"

// Kernels that slide a window or resample, on the CPU against the reference device.

namespace fulmar::test {
namespace {

struct Sliding {
  int64_t height, width;
  std::array<int64_t, 2> kernel;
  Window window;
  Shape output(int64_t channels) const {
    return {2,
            window_extent(height, kernel[0], window.stride[0], window.dilation[0],
                          window.padding[0], window.padding[1]),
            window_extent(width, kernel[1], window.stride[1], window.dilation[1], window.padding[2],
                          window.padding[3]),
            channels};
  }
};

const Sliding slidings[] = {
    {1, 1, {1, 1}, {}},
    {6, 19, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {7, 1, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {7, 10, {3, 3}, {{2, 2}, {1, 1}, {0, 1, 0, 1}}},
    {9, 8, {2, 2}, {{3, 4}, {1, 1}, {0, 0, 0, 0}}},    // stride larger than the kernel
    {11, 23, {5, 4}, {{1, 1}, {2, 3}, {3, 0, 4, 5}}},  // 20 taps, dilated, uneven padding
    {11, 10, {5, 2}, {{3, 2}, {2, 3}, {3, 0, 1, 2}}},
    {2, 3, {1, 1}, {{1, 1}, {1, 1}, {2, 1, 3, 2}}},  // windows wholly in padding
    {2, 3, {4, 3}, {}},                              // does not fit: an empty output
};
const int64_t channel_counts[] = {1, 3, 8, 12, 16, 33, 48};

// body(case, input shape, output shape) over all of them.
template <class Body>
void for_each_case(const Body& body) {
  for (const Sliding& s : slidings)
    for (const int64_t channels : channel_counts) {
      CAPTURE(s.height);
      CAPTURE(s.kernel[0]);
      CAPTURE(channels);
      body(s, Shape{2, s.height, s.width, channels}, s.output(channels));
    }
}

}  // namespace

TEST_CASE("cpu: depthwise_conv2d and its input gradient") {
  for_each_case([](const Sliding& s, const Shape& in, const Shape& out) {
    Parity p;
    const int x = p.in(in), w = p.in({s.kernel[0], s.kernel[1], in.channels()}), y = p.out(out);
    const int dy = p.in(out), dx = p.out(in);
    p.check([&](const Backend& device) {
      device.depthwise_conv2d(p.stream(), p[x], p[w], p[y], s.window);
      device.depthwise_conv2d_input_grad(p.stream(), p[dy], p[w], p[dx], s.window);
    });
  });
}

TEST_CASE("cpu: depthwise_conv2d_weight_grad") {
  for_each_case([](const Sliding& s, const Shape& in, const Shape& out) {
    Parity p;
    const int x = p.in(in), dy = p.in(out), dw = p.out({s.kernel[0], s.kernel[1], in.channels()});
    p.check([&](const Backend& device) {
      const size_t bytes =
          device.depthwise_conv2d_weight_grad_workspace(p.stream(), p[x], p[dy], p[dw], s.window);
      std::vector<double> work(bytes / sizeof(double));
      device.depthwise_conv2d_weight_grad(p.stream(), p[x], p[dy], p[dw], s.window, work.data());
    });
  });
}

TEST_CASE("cpu: depthwise_conv2d_weight_grad over many rows and long ones") {
  for (const int64_t channels : {8, 24}) {
    Parity p;
    const int x = p.in({2, 90, 700, channels}, 0.5, 1), dy = p.in({2, 90, 700, channels}, 0.5, 1);
    const int dw = p.out({3, 3, channels});
    const Window window{{1, 1}, {1, 1}, {1, 1, 1, 1}};
    p.check(
        [&](const Backend& device) {
          std::vector<double> work(device.depthwise_conv2d_weight_grad_workspace(
                                       p.stream(), p[x], p[dy], p[dw], window) /
                                   sizeof(double));
          device.depthwise_conv2d_weight_grad(p.stream(), p[x], p[dy], p[dw], window, work.data());
        },
        2e-7);
  }
}

TEST_CASE("cpu: max_pool and its gradient") {
  for_each_case([](const Sliding& s, const Shape& in, const Shape& out) {
    Parity p;
    std::vector<double> coarse = random_reals(in, 7, -3, 3).values;
    for (double& v : coarse) v = std::round(v);  // many equals
    const int x = p.in(in, coarse), y = p.out(out), argmax = p.raw(out, DType::u8);
    const int dy = p.in(out), dx = p.out(in);
    p.check([&](const Backend& device) {
      device.max_pool(p.stream(), p[x], p[y], p[argmax], s.kernel, s.window);
      device.max_pool_grad(p.stream(), p[dy], p[argmax], p[dx], s.kernel, s.window);
    });
  });
}

TEST_CASE("cpu: max_pool lets NaN win and refuses more taps than argmax can name") {
  Parity p;
  const double nan = NAN, inf = INFINITY;
  const int x =
      p.in({1, 1, 7, 2}, {1, nan, nan, 2, 3, nan, -inf, -inf, -inf, -inf, -inf, nan, 5, -inf});
  const int y = p.out({1, 1, 3, 2}), argmax = p.raw({1, 1, 3, 2}, DType::u8);
  p.check([&](const Backend& device) {
    device.max_pool(p.stream(), p[x], p[y], p[argmax], {1, 3}, {{1, 2}, {1, 1}, {}});
  });
  CHECK_THROWS_AS(cpu_backend().max_pool(p.stream(), p[x], p[y], p[argmax], {1, 257}, {}), Error);
}

TEST_CASE("cpu: average_pool and its gradient") {
  for_each_case([](const Sliding& s, const Shape& in, const Shape& out) {
    Parity p;
    const int x = p.in(in), y = p.out(out), dy = p.in(out), dx = p.out(in);
    p.check([&](const Backend& device) {
      device.average_pool(p.stream(), p[x], p[y], s.kernel, s.window);
      device.average_pool_grad(p.stream(), p[dy], p[dx], s.kernel, s.window);
    });
  });
}

TEST_CASE("cpu: resize and its gradient") {
  const std::array<int64_t, 4> sizes[] = {
      {5, 7, 9, 3}, {4, 6, 8, 12}, {1, 1, 3, 2}, {6, 9, 1, 1}, {3, 3, 3, 3}};
  for (const auto& [h, w, to_h, to_w] : sizes)
    for (const int64_t channels : {1, 3, 16, 20})
      for (const bool align_corners : {false, true})
        for (const Interpolation how : {Interpolation::nearest, Interpolation::bilinear}) {
          Parity p;
          const Shape in{2, h, w, channels}, out{2, to_h, to_w, channels};
          const int x = p.in(in), y = p.out(out), dy = p.in(out), dx = p.out(in);
          p.check([&](const Backend& device) {
            device.resize(p.stream(), p[x], p[y], {how, align_corners});
            device.resize_grad(p.stream(), p[dy], p[dx], {how, align_corners});
          });
        }
}

}  // namespace fulmar::test
