#include <bit>

#include "kernels/error.h"
#include "kernels/pointwise.h"
#include "tests/support/functors.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/parity.h"

// Copies, sums and pointwise functions on the CPU against the reference device.

namespace fulmar::test {
namespace {

const double infinity = INFINITY, nan = NAN;

View strided(const View& whole, const Shape& shape, int64_t first, int64_t row, int64_t column) {
  View view = whole;
  view.shape = shape;
  view.data = static_cast<char*>(whole.data) + first * static_cast<int64_t>(size_of(whole.type));
  view.stride[1] *= row;
  view.stride[2] *= column;
  return view;
}

}  // namespace

TEST_CASE("cpu: copy and fill between strided views") {
  for (const int64_t channels : {1, 2, 5, 8, 16, 33})
    for (const DType type : {DType::f64, DType::u8}) {
      CAPTURE(channels);
      Parity p;
      const Shape whole{2, 7, 9, channels}, every_other{2, 4, 5, channels};
      const std::vector<double> values = random_reals(whole, 1, 0, 255).values;
      const int x = type == DType::u8 ? p.raw(whole, type, values) : p.in(whole, values);
      const int y = type == DType::u8 ? p.raw(whole, type) : p.out(whole);
      const int dense = type == DType::u8 ? p.raw(every_other, type) : p.out(every_other);
      const int wide =
          type == DType::u8 ? p.raw({2, 4, 5, channels + 3}, type) : p.out({2, 4, 5, channels + 3});
      p.check([&](const Backend& device) {
        device.copy(p.stream(), p[x], p[y]);
        device.copy(p.stream(), strided(p[x], every_other, 0, 2, 2), p[dense]);
        device.copy(p.stream(), p[dense], strided(p[wide], every_other, 3, 1, 1));
        device.fill(p.stream(), strided(p[y], {2, 3, 2, channels}, 0, 1, 3), 7);
        device.fill(p.stream(), p[dense], 3);
      });
    }
}

TEST_CASE("cpu: broadcast and reduce_sum along any axes") {
  const Shape large[] = {{3, 5, 7, 1}, {2, 1, 9, 8}, {2, 4, 3, 17}, {1, 6, 1, 33}};
  for (const Shape& shape : large)
    for (int axes = 0; axes < 16; axes++) {
      CAPTURE(axes);
      Shape small = shape;
      for (int axis = 0; axis < 4; axis++)
        if (axes >> axis & 1) small[axis] = 1;
      Parity p;
      const int x = p.in(shape), y = p.out(small), from = p.in(small), to = p.out(shape);
      p.check([&](const Backend& device) {
        device.reduce_sum(p.stream(), p[x], p[y]);
        device.broadcast(p.stream(), p[from], p[to]);
      });
    }
}

TEST_CASE("cpu: long sums keep what float would lose") {
  const Shape shapes[] = {{1000003}, {300001, 3}, {41, 61, 67, 8}, {70000, 2, 1, 3}};
  for (const Shape& shape : shapes) {
    Parity p;
    Shape channel{shape.channels()}, images{shape.images(), 1, 1, shape.channels()};
    const int x = p.in(shape, 0.9, 1), all = p.out(Shape{}), sums = p.out(channel);
    const int kept = p.out(images);
    p.check(
        [&](const Backend& device) {
          device.reduce_sum(p.stream(), p[x], p[all]);
          device.reduce_sum(p.stream(), p[x], p[sums]);
          device.reduce_sum(p.stream(), p[x], p[kept]);
        },
        1.2e-7);
  }
}

TEST_CASE("cpu: count_nonfinite finds every NaN and infinity") {
  for_each_instruction_set([] {
    ThreadPool pool(2);
    Stream stream{&pool, nullptr};
    const auto count = [&](const std::vector<View>& operands) {
      int32_t found = -1;
      cpu_backend().count_nonfinite(stream, operands, view_of(&found, {1}, DType::i32));
      return found;
    };
    Array<float> x({200003}, std::vector<float>(200003, 0.0f));
    CHECK(count({x.view()}) == 0);
    x[0] = static_cast<float>(nan);
    x[100000] = static_cast<float>(-infinity);
    x[200002] = static_cast<float>(infinity);
    x[17] = std::numeric_limits<float>::max();
    CHECK(count({x.view()}) == 3);
    Reals sums(Shape{3}, {1, nan, infinity});
    CHECK(count({sums.view()}) == 2);
    Array<int32_t> before({1}, {7});
    CHECK(count({x.view(), before.view(), sums.view()}) == 12);
    CHECK(count({before.view()}) == 7);
    CHECK(count({}) == 0);
  });
}

TEST_CASE("cpu: pointwise functions and their gradients") {
  const Shape shape{3, 7, 5, 11};
  for (size_t functor = 0; functor < functor_traits().size(); functor++) {
    const FunctorTraits& f = functor_traits()[functor];
    const std::string name = f.name;
    CAPTURE(name);
    const auto number = static_cast<int>(functor);
    const bool positive = number == functor_Log || number == functor_Sqrt;
    Parity p;
    const int x = p.in(shape, positive ? 0.01 : -9, 9), z = p.in(shape, 0.5, 2);
    const int y = p.out(shape), dy = p.in(shape), dx = p.out(shape);
    p.check([&](const Backend& device) {
      const View both[] = {p[x], p[z]};
      device.pointwise(p.stream(), number, {both, static_cast<size_t>(f.arity)}, p[y], 0.25, -0.5);
      if (f.arity != 1) return;
      const View& saved = f.saved == pointwise::Saved::output ? p[y] : p[x];
      device.pointwise_grad(p.stream(), number, saved, p[dy], p[dx], 0.25, -0.5);
    });
  }
}

TEST_CASE("cpu: operands of pointwise functions repeat along any axes") {
  const Shape results[] = {
      {3, 5, 7, 1}, {2, 1, 9, 8}, {2, 4, 3, 17}, {1, 6, 1, 33}, {2, 3, 2, 520}};
  for (const Shape& shape : results)
    for (int axes = 0; axes < 256; axes++) {
      if (axes >> 4 & axes & 15) continue;  // an extent that neither has
      CAPTURE(shape.to_string());
      CAPTURE(axes);
      Shape small[2] = {shape, shape};
      for (int i = 0; i < 8; i++)
        if (axes >> i & 1) small[i / 4][i % 4] = 1;
      Parity p;
      const int a = p.in(small[0]), b = p.in(small[1]), y = p.out(shape);
      p.check([&](const Backend& device) {
        const View both[] = {p[a], p[b]};
        device.pointwise(p.stream(), functor_Sub, {both, 2}, p[y], 0, 0);
      });
    }
}

TEST_CASE("cpu: a pointwise function writes over the operand that doesn't repeat") {
  const Shape whole{2, 3, 700, 5};
  for (const Shape& small : {Shape{5}, Shape{1}, Shape{2, 3, 700, 1}, Shape{2, 1, 1, 5}})
    for (const bool first : {false, true}) {
      Parity p;
      const int a = p.in(whole), b = p.in(small);
      p.check([&](const Backend& device) {
        const View both[] = {p[first ? a : b], p[first ? b : a]};
        device.pointwise(p.stream(), functor_Sub, {both, 2}, p[a], 0, 0);
      });
    }
}

TEST_CASE("cpu: pointwise in place") {
  Parity p;
  const int x = p.in({1000}), dy = p.in({1000});
  p.check([&](const Backend& device) {
    device.pointwise(p.stream(), functor_Relu, {&p[x], 1}, p[x], 0, 0);
    device.pointwise_grad(p.stream(), functor_Relu, p[x], p[dy], p[dy], 0, 0);
  });
}

TEST_CASE("cpu: functions saturate, and let NaN through") {
  const std::vector<double> values = {nan,   infinity, -infinity, 0,     -0.0, 3e38,  -3e38, 89,
                                      104.5, -87,      -104,      1e-40, 1e-9, -1e-9, 1000,  -1000};
  const Shape shape{static_cast<int64_t>(values.size())};
  for (size_t number = 0; number < functor_traits().size(); number++) {
    const auto functor = static_cast<int>(number);
    if (functor_traits()[number].arity != 1) continue;
    CAPTURE(functor_traits()[number].name);
    Array<float> x(shape), y(shape);
    Reals wide(shape), expected(shape);
    for (size_t i = 0; i < values.size(); i++) {
      x.values[i] = static_cast<float>(values[i]);
      wide.values[i] = static_cast<double>(x.values[i]);
    }
    Stream none;
    const View in = wide.view();
    reference_backend().pointwise(none, functor, {&in, 1}, expected.view(), 0.25, -0.5);
    for_each_instruction_set([&] {
      ThreadPool pool(1);
      Stream stream{&pool, nullptr};
      const View narrow = x.view();
      cpu_backend().pointwise(stream, functor, {&narrow, 1}, y.view(), 0.25, -0.5);
      for (size_t i = 0; i < values.size(); i++) {
        CAPTURE(values[i]);
        const float want = static_cast<float>(expected.values[i]), got = y.values[i];
        if (std::isnan(want))
          CHECK(std::isnan(got));
        else if (std::isinf(want))
          CHECK(got == want);
        else
          CHECK(std::abs(got - want) <= 4e-7f * std::abs(want) + 1e-37f);
      }
    });
  }
}

namespace {

// Floats of both signs from 0 to infinity, more of them where erf is neither x nor 1.
std::vector<float> floats_of_erf() {
  std::vector<float> values{-INFINITY, INFINITY};
  const auto add = [&](uint32_t begin, uint32_t end, uint32_t step) {
    for (uint32_t bits = begin; bits < end; bits += step) {
      values.push_back(std::bit_cast<float>(bits));
      values.push_back(-values.back());
    }
  };
  add(0, 0x7f800000u, 100003);
  add(0x3e000000u, 0x41200000u, 211);  // 1/8 to 10
  add(0x3f7ff000u, 0x3f801000u, 1);    // about 1, where two formulas meet
  add(0x407aff00u, 0x407b0100u, 1);    // about 3.92
  return values;
}

}  // namespace

TEST_CASE("cpu: erf is within 1.5 units in the last place, over all floats") {
  const std::vector<float> values = floats_of_erf();
  const Shape shape{static_cast<int64_t>(values.size())};
  Array<float> x(shape, values), y(shape);
  for_each_instruction_set([&] {
    ThreadPool pool(1);
    Stream stream{&pool, nullptr};
    const View in = x.view();
    cpu_backend().pointwise(stream, functor_Erf, {&in, 1}, y.view(), 0, 0);
    double worst = 0;
    int64_t wrong = 0;
    for (size_t i = 0; i < values.size(); i++) {
      const float got = y.values[i];
      wrong += !(std::abs(got) <= 1) || std::signbit(got) != std::signbit(values[i]);
      const double exact = std::abs(std::erf(static_cast<double>(values[i])));
      const auto nearest = static_cast<float>(exact);
      if (nearest < std::numeric_limits<float>::min()) continue;  // fewer digits
      const double unit = static_cast<double>(nearest - std::nextafter(nearest, 0.0f));
      worst = std::max(worst, std::abs(static_cast<double>(std::abs(got)) - exact) / unit);
    }
    CHECK(worst <= 1.5);
    CHECK(wrong == 0);
  });
}

TEST_CASE("cpu: gelu keeps its digits, over all floats") {
  const std::vector<float> values = floats_of_erf();
  const Shape shape{static_cast<int64_t>(values.size())};
  Array<float> x(shape, values), y(shape);
  for_each_instruction_set([&] {
    ThreadPool pool(1);
    Stream stream{&pool, nullptr};
    const View in = x.view();
    cpu_backend().pointwise(stream, functor_Gelu, {&in, 1}, y.view(), 0, 0);
    int64_t wrong = 0;
    double worst = 0;  // of what is allowed
    for (size_t i = 0; i < values.size(); i++) {
      const auto v = static_cast<double>(values[i]), got = static_cast<double>(y.values[i]);
      const double exact = 0.5 * v * std::erfc(-v / std::sqrt(2.0));
      // -infinity times 0
      if (std::isnan(exact) || std::isinf(exact)) {
        wrong += std::isnan(exact) ? !std::isnan(got) : got != exact;
        continue;
      }
      // erfc: 4e-7 + 6e-8 x^2. Its argument, rounded twice: 1.2e-7 x^2. Two products: 1.2e-7.
      const double square = v < 0 ? std::min(v * v, 200.0) : 0;
      const double allowed = (5.2e-7 + 1.8e-7 * square) * std::abs(exact) + 1e-37;
      worst = std::max(worst, std::abs(got - exact) / allowed);
    }
    CHECK(worst <= 1);
    CHECK(wrong == 0);
  });
}

TEST_CASE("cpu: the gradient of a function of two arguments is refused") {
  ThreadPool pool(1);
  Stream stream{&pool, nullptr};
  Array<float> x(Shape{4});
  CHECK_THROWS_AS(
      cpu_backend().pointwise_grad(stream, functor_Mul, x.view(), x.view(), x.view(), 0, 0), Error);
}

TEST_CASE("cpu: memory is aligned, and asking for too much says so") {
  Stream stream;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{5} << 20}) {
    void* memory = cpu_backend().allocate(stream, bytes);
    CHECK(reinterpret_cast<uintptr_t>(memory) % 64 == 0);
    cpu_backend().release(stream, memory, bytes);
  }
  CHECK_THROWS_AS(cpu_backend().allocate(stream, ~size_t{0}), Error);
  CHECK_THROWS_AS(cpu_backend().allocate(stream, size_t{1} << 60), Error);
}

}  // namespace fulmar::test
