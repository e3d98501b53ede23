#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/patches.h"
#include "kernels/random.h"
#include "kernels/thread_pool.h"
#include "tests/support/instruction_sets.h"

// A product whose packing normalizes and rectifies the left side and whose epilogue adds another
// tensor and rectifies: relu(conv(relu(x scale + shift)) + other), against plain loops in float64.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/product_functors_test.cpp"
#include "hwy/foreach_target.h"
// Must come after foreach_target.h.
#include "kernels/cpu/conv2d_product-inl.h"

#ifndef FULMAR_TESTS_PRODUCT_FUNCTORS
#define FULMAR_TESTS_PRODUCT_FUNCTORS
namespace fulmar::cpu {
struct Fused {
  View x, y;
  int64_t kernel;
  Window window;
  const float *scale, *shift;  // of each column of the patches, and a vector more
  const float* panels;
  const float* other;  // as y, and a vector more
};
}  // namespace fulmar::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

struct NormalizeRelu {
  static constexpr bool keeps = false;
  const float *scale, *shift;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V value, int64_t c) const {
    return hn::Max(hn::MulAdd(value, hn::LoadU(d, scale + c), hn::LoadU(d, shift + c)),
                   hn::Zero(d));
  }
};

struct AddRelu {
  const float* other;
  int64_t columns;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V sum, int64_t m, int64_t c) const {
    return hn::Max(hn::Add(sum, hn::LoadU(d, other + m * columns + c)), hn::Zero(d));
  }
};

void fused_target(ThreadPool& pool, const Fused& f, const float* weights, float* panels) {
  const int64_t inputs = f.x.shape.channels(), outputs = f.y.shape.channels();
  const int64_t depth = f.kernel * f.kernel * inputs, panel = panel_width(outputs);
  for (int64_t c = 0; c < outputs; c += panel)
    pack_panel(weights, outputs, depth, outputs, c, panels + c * depth);
  const int64_t row = f.y.shape.width() * outputs;
  run_products<AddRelu, NormalizeRelu>(
      pool, {{forward_patches(f.x, f.y, f.kernel, f.kernel, inputs, f.window, 0),
              {panels, depth, outputs},
              {f.y.as<float>(), row * f.y.shape.height(), row, outputs},
              {f.other, outputs},
              false,
              {f.scale, f.shift}}});
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {
HWY_EXPORT(fused_target);
}

namespace fulmar::test {
namespace {

constexpr size_t vector = 16;  // floats of the widest one

std::vector<float> numbers(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); i++)
    values[i] = 2 * uniform(philox(seed, 0, i).word[0]) - 1;
  return values;
}

void check(const Shape& in, int64_t outputs, int64_t kernel, int64_t stride, int64_t dilation,
           int64_t padding) {
  const Window window{{stride, stride}, {dilation, dilation}, {padding, padding, padding, padding}};
  const auto extent = [&](int64_t n) {
    return window_extent(n, kernel, stride, dilation, padding, padding);
  };
  const Shape out{in.images(), extent(in.height()), extent(in.width()), outputs};
  const int64_t inputs = in.channels(), taps = kernel * kernel;
  std::vector<float> x = numbers(in.elements(), 1), w = numbers(taps * inputs * outputs, 2);
  const std::vector<float> scale = numbers(inputs, 3), shift = numbers(inputs, 4);
  std::vector<float> other = numbers(out.elements() + static_cast<int64_t>(vector), 5);
  std::vector<float> scales, shifts;
  for (int64_t t = 0; t < taps; t++) {
    scales.insert(scales.end(), scale.begin(), scale.end());
    shifts.insert(shifts.end(), shift.begin(), shift.end());
  }
  scales.resize(scales.size() + vector);
  shifts.resize(shifts.size() + vector);
  std::vector<float> y(static_cast<size_t>(out.elements()), NAN);
  std::vector<float> panels(static_cast<size_t>(taps * inputs * (outputs + 32)));
  ThreadPool pool(2);
  const cpu::Fused fused{view_of(x.data(), in, DType::f32),
                         view_of(y.data(), out, DType::f32),
                         kernel,
                         window,
                         scales.data(),
                         shifts.data(),
                         panels.data(),
                         other.data()};
  using namespace cpu;  // the dispatch table's
  HWY_DYNAMIC_DISPATCH(fused_target)(pool, fused, w.data(), panels.data());

  double worst = 0;
  for (int64_t n = 0; n < out[0]; n++)
    for (int64_t oy = 0; oy < out[1]; oy++)
      for (int64_t ox = 0; ox < out[2]; ox++)
        for (int64_t o = 0; o < outputs; o++) {
          double sum = 0, magnitude = 0;
          for (int64_t t = 0; t < taps; t++) {
            const int64_t iy = oy * stride + t / kernel * dilation - padding;
            const int64_t ix = ox * stride + t % kernel * dilation - padding;
            if (iy < 0 || iy >= in[1] || ix < 0 || ix >= in[2]) continue;
            for (int64_t k = 0; k < inputs; k++) {
              const double value =
                  x[static_cast<size_t>(((n * in[1] + iy) * in[2] + ix) * inputs + k)];
              const double term = std::max(0.0, value * scale[static_cast<size_t>(k)] +
                                                    shift[static_cast<size_t>(k)]) *
                                  w[static_cast<size_t>((t * inputs + k) * outputs + o)];
              sum += term;
              magnitude += std::abs(term);
            }
          }
          const size_t at = static_cast<size_t>(((n * out[1] + oy) * out[2] + ox) * outputs + o);
          const double expected = std::max(0.0, sum + other[at]);
          const double error = std::abs(y[at] - expected) / (magnitude + std::abs(other[at]));
          worst = error <= worst ? worst : error;  // a NaN is worst
        }
  CHECK(worst < 2e-6);
}

}  // namespace

TEST_CASE("a product's packing and epilogue take functors") {
  for_each_instruction_set([] {
    check({2, 9, 7, 64}, 64, 1, 1, 1, 0);    // a matrix: would be read where it lies
    check({1, 40, 30, 24}, 70, 1, 1, 1, 0);  // several blocks of rows, a narrow last panel
    check({2, 9, 7, 5}, 7, 3, 1, 1, 1);      // padding is zero, not relu(shift)
    check({1, 11, 8, 3}, 33, 3, 2, 2, 2);    // stride, dilation
    check({1, 6, 6, 50}, 20, 3, 1, 1, 1);    // two parts of the depth
    check({1, 1, 1, 1}, 1, 1, 1, 1, 0);
  });
}

}  // namespace fulmar::test
#endif
