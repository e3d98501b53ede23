#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "bench/op_table/uniform.h"
#include "engine/context.h"
#include "kernels/bf16.h"
#include "kernels/cuda/emulated.h"
#include "tests/support/simt_orders.h"
#include "tests/support/slow_build.h"

// The CUDA kernels of the separable convolution on the emulator against the CPU's, in float on the
// same operands: all that a gradient may come through, whole runs of tiles, chunks of channels.
namespace fulmar::test {
namespace {

struct Tensor {
  Shape shape{};
  DType type = DType::f32;
  std::vector<float> floats;
  std::vector<bf16> halves;
  std::vector<double> doubles;
  std::vector<uint8_t> bytes;

  View view() {
    void* data = type == DType::f32    ? static_cast<void*>(floats.data())
                 : type == DType::bf16 ? static_cast<void*>(halves.data())
                 : type == DType::f64  ? static_cast<void*>(doubles.data())
                                       : static_cast<void*>(bytes.data());
    return shape.rank() == 0 ? View{} : view_of(data, shape, type);
  }
  double at(size_t i) const {
    return type == DType::f32    ? static_cast<double>(floats[i])
           : type == DType::bf16 ? static_cast<double>(to_float(halves[i]))
                                 : doubles[i];
  }
};

Tensor zeros(const Shape& shape, DType type) {
  Tensor t;
  t.shape = shape;
  t.type = type;
  const auto n = static_cast<size_t>(shape.elements());
  if (type == DType::f32) t.floats.resize(n);
  if (type == DType::bf16) t.halves.resize(n);
  if (type == DType::f64) t.doubles.resize(n);
  if (type == DType::u8) t.bytes.resize(n);
  return t;
}

struct Draw {
  DType activation;
  uint64_t seed = 1;

  double next(int64_t i, double low, double high) const {
    return op_table::uniform_value(seed, i, low, high);
  }
  // Activations are bf16's numbers, whatever holds them.
  Tensor activations(const Shape& shape, double low, double high) {
    Tensor t = zeros(shape, activation);
    seed++;
    for (int64_t i = 0; i < shape.elements(); i++) {
      const bf16 value = to_bf16(static_cast<float>(next(i, low, high)));
      if (activation == DType::bf16)
        t.halves[static_cast<size_t>(i)] = value;
      else
        t.floats[static_cast<size_t>(i)] = to_float(value);
    }
    return t;
  }
  Tensor weights(const Shape& shape, double low = -1, double high = 1) {
    Tensor t = zeros(shape, DType::f32);
    seed++;
    for (int64_t i = 0; i < shape.elements(); i++)
      t.floats[static_cast<size_t>(i)] = static_cast<float>(next(i, low, high));
    return t;
  }
  Tensor sums(int64_t rows, int64_t channels, int64_t pixels) {
    Tensor t = zeros({rows, channels}, DType::f64);
    seed++;
    for (int64_t i = 0; i < rows * channels; i++)
      t.doubles[static_cast<size_t>(i)] = i >= 2 * channels
                                              ? static_cast<double>(pixels)
                                              : next(i, -0.2, 0.2) * static_cast<double>(pixels);
    return t;
  }
  // Taps inside of the picture, or none.
  Tensor argmax(const Shape& z, const Shape& pooled) {
    Tensor t = zeros(pooled, DType::u8);
    seed++;
    for (int64_t i = 0; i < pooled.elements(); i++) {
      const int64_t pixel = i / pooled.channels();
      const int64_t column = pixel % pooled.width();
      const int64_t row = pixel / pooled.width() % pooled.height();
      const auto tap = static_cast<int64_t>(next(i, 0, 10));
      const int64_t h = 2 * row - z.height() % 2 + tap / 3,
                    w = 2 * column - z.width() % 2 + tap % 3;
      const bool inside = tap < 9 && h >= 0 && h < z.height() && w >= 0 && w < z.width();
      t.bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(inside ? tap : pool_off);
    }
    return t;
  }
};

struct Variant {
  bool x_normalised = true;
  bool normalised = true, pooled = true;  // of the gradient
  int64_t skip = 0;                       // channels
  bool weights = true;
};
struct Size {
  Shape x;
  int64_t outputs;
};

std::string text(const Size& s, const Variant& v) {
  return s.x.to_string() + " to " + std::to_string(s.outputs) +
         (v.x_normalised ? ", normalised x" : "") + (v.normalised ? ", through a norm" : "") +
         (v.pooled ? " and a pool" : "") + (v.skip > 0 ? ", a skip" : "") +
         (v.weights ? "" : ", no weights");
}

Context& context() {
  static Context shared;
  return shared;
}

// The operands of one call of each kernel, and its results.
struct Call {
  Variant v;
  Tensor x, gamma, beta, mean, var, depthwise, pointwise, bias, shift;
  Tensor dy, argmax, z, z_gamma, z_mean, z_var, sums, grad_sums, skip_dy, skip_w;
  Tensor y, y_sums, dx, dx_sums, ddepthwise, dpointwise;

  Call(const Size& s, const Variant& variant, DType type) : v(variant) {
    Draw draw{type};
    const Shape& x_shape = s.x;
    const int64_t in = x_shape.channels(), out = s.outputs, n = x_shape.pixels();
    const Shape z_shape{x_shape[0], x_shape[1], x_shape[2], out};
    const Shape half{x_shape[0], (x_shape[1] + 1) / 2, (x_shape[2] + 1) / 2, out};
    x = draw.activations(x_shape, -2, 3);
    if (v.x_normalised) {
      gamma = draw.weights({in}, 0.5, 1.5);
      beta = draw.weights({in});
      mean = draw.weights({in});
      var = draw.weights({in}, 0.5, 1.5);
    }
    depthwise = draw.weights({3, 3, in});
    pointwise = draw.weights({1, 1, in, out});
    // Both round weights of products to bf16, so that float's products are the same.
    for (float& w : pointwise.floats) w = to_float(to_bf16(w));
    bias = draw.weights({out});
    shift = draw.weights({out});
    dy = draw.activations(v.pooled ? half : z_shape, -1, 1);
    if (v.pooled) argmax = draw.argmax(z_shape, half);
    if (v.normalised) {
      z = draw.activations(z_shape, -2, 2);
      z_gamma = draw.weights({out}, 0.5, 1.5);
      z_mean = draw.weights({out});
      z_var = draw.weights({out}, 0.5, 1.5);
      sums = draw.sums(3, out, n);
      grad_sums = draw.sums(2, out, n);
    }
    if (v.skip > 0) {
      skip_dy = draw.activations({half[0], half[1], half[2], v.skip}, -1, 1);
      skip_w = draw.weights({1, 1, in, v.skip});
      for (float& w : skip_w.floats) w = to_float(to_bf16(w));
    }
    y = zeros(z_shape, type);
    y_sums = zeros({3, out}, DType::f64);
    dx = zeros(x_shape, type);
    if (v.x_normalised) dx_sums = zeros({2, in}, DType::f64);
    if (v.weights) {
      ddepthwise = zeros({3, 3, in}, DType::f32);
      dpointwise = zeros({1, 1, in, out}, DType::f32);
    }
  }

  Loaded loaded() {
    Loaded l{x.view()};
    if (!v.x_normalised) return l;
    l.gamma = gamma.view();
    l.beta = beta.view();
    l.mean = mean.view();
    l.var = var.view();
    l.epsilon = 1e-3;
    return l;
  }
  Cotangent cotangent() {
    Cotangent c{dy.view()};
    if (v.pooled) c.argmax = argmax.view();
    if (!v.normalised) return c;
    c.z = z.view();
    c.gamma = z_gamma.view();
    c.mean = z_mean.view();
    c.var = z_var.view();
    c.sums = sums.view();
    c.grad_sums = grad_sums.view();
    c.epsilon = 1e-3;
    return c;
  }

  void run(const Backend& backend, Stream stream) {
    const FusedKernels& k = *backend.fused;
    const Loaded l = loaded();
    const Cotangent c = cotangent();
    const SkipGrad skip{skip_dy.view(), skip_w.view()};
    const SeparableGrad d{dx.view(), dx_sums.view(), ddepthwise.view(), dpointwise.view()};
    const View dw = depthwise.view(), pw = pointwise.view(), b = bias.view(), s = shift.view();
    std::vector<double> work(
        k.separable_workspace(stream, l, dw, pw, b, s, y.view(), y_sums.view()) / 8 + 1, NAN);
    k.separable(stream, l, dw, pw, b, s, y.view(), y_sums.view(), work.data());
    work.assign(k.separable_grad_workspace(stream, c, l, dw, pw, skip, d) / 8 + 1, NAN);
    k.separable_grad(stream, c, l, dw, pw, skip, d, work.data());
    backend.synchronize(stream);
  }
};

// The results of `found` against those of the CPU in float.
void compare(const Call& found, const Call& expected, double bound) {
  const auto check = [&](const char* name, const Tensor& a, const Tensor& b) {
    double apart = 0, norm = 0;
    for (size_t i = 0; i < static_cast<size_t>(b.shape.elements()); i++) {
      apart += (a.at(i) - b.at(i)) * (a.at(i) - b.at(i));
      norm += b.at(i) * b.at(i);
    }
    INFO(name, " is off by ", std::sqrt(apart), ", its norm is ", std::sqrt(norm));
    CHECK(std::sqrt(apart) <= bound * std::sqrt(norm));
  };
  check("y", found.y, expected.y);
  check("sums", found.y_sums, expected.y_sums);
  check("dx", found.dx, expected.dx);
  if (found.v.x_normalised) check("grad sums", found.dx_sums, expected.dx_sums);
  if (!found.v.weights) return;
  check("ddepthwise", found.ddepthwise, expected.ddepthwise);
  check("dpointwise", found.dpointwise, expected.dpointwise);
}

void check_call(const Size& s, const Variant& v) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    CAPTURE(text(s, v));
    const bool half = precision == Precision::bf16;
    CAPTURE(half);
    const simt::StreamOwner owner;
    Call expected(s, v, DType::f32), found(s, v, half ? DType::bf16 : DType::f32);
    expected.run(cpu_backend(), context().device("cpu").stream());
    found.run(simt_backend(precision), owner.stream());
    // bf16 is rounded before each product and behind it: 2^-9 at most, each of some few.
    compare(found, expected, half ? 0x1p-7 : 2e-6);
  }
}

// Tiles cut by both edges, channels that fill no vector, chunks of inputs and of outputs.
const Size sizes[] = {{{2, 12, 16, 8}, 8},   {{1, 5, 7, 1}, 3},     {{1, 19, 21, 12}, 12},
                      {{1, 9, 70, 8}, 16},   {{2, 17, 34, 16}, 32}, {{1, 9, 18, 32}, 64},
                      {{1, 10, 9, 64}, 64},  {{1, 1, 9, 5}, 24},    {{1, 9, 1, 40}, 72},
                      {{2, 3, 2, 130}, 100}, {{1, 11, 13, 24}, 20}};

}  // namespace

TEST_CASE("simt separable: all that a gradient may come through") {
  for (const Size& s : sizes)
    for (const bool pooled : {false, true})
      for (const bool x_normalised : {false, true})
        for (const bool skip : {false, true})
          check_call(s, {x_normalised, pooled || x_normalised, pooled, skip ? s.outputs : 0,
                         x_normalised || !skip});
}

TEST_CASE("simt separable: a skip of other channels than the gradient's") {
  for (const int64_t channels : {1, 8, 24, 72}) {
    check_call({{1, 7, 9, 8}, 16}, {.skip = channels});
    check_call({{1, 7, 9, 40}, 8}, {.skip = channels});
  }
}

TEST_CASE("simt separable: runs of several tiles, with one chunk of outputs and with several") {
  if (sanitized) return;
  check_call({{1, 8 * 1100, 3, 3}, 3}, {});
  check_call({{3, 16, 24, 80}, 900}, {});  // whole tiles, several in a row
}

}  // namespace fulmar::test
