#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "kernels/backend.h"
#include "kernels/pointwise.h"
#include "tests/support/array.h"

// Large outputs are written past the caches: the same bits as image by image, which is small.

namespace fulmar::test {
namespace {

const Backend& device = cpu_backend();
const Shape shape{2, 516, 512, 16};  // 32.25 MiB, an image 16.1

struct Memory {
  Stream& stream;
  View view;
  explicit Memory(Stream& s, const Shape& of, DType type = DType::f32) : stream(s) {
    const size_t bytes = static_cast<size_t>(of.elements()) * size_of(type);
    view = view_of(device.allocate(s, bytes), of, type);
    std::memset(view.data, 0, bytes);
  }
  ~Memory() { device.release(stream, view.data, view.bytes()); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
};

View image(const View& batch, int64_t n) {
  Shape one = batch.shape;
  one[0] = 1;
  const int64_t offset = n * one.elements() * static_cast<int64_t>(size_of(batch.type));
  return view_of(batch.as<char>() + offset, one, batch.type);
}

// call(x, y) on the batch and on each image.
template <class Call>
void check_equal(Stream& stream, const View& x, const Shape& out, const Call& call) {
  Memory whole(stream, out), parts(stream, out);
  call(x, whole.view);
  for (int64_t n = 0; n < x.shape.images(); n++) call(image(x, n), image(parts.view, n));
  CHECK(std::memcmp(whole.view.data, parts.view.data, whole.view.bytes()) == 0);
  const float* values = whole.view.as<float>();
  CHECK(std::any_of(values, values + out.elements(), [](float v) { return v != 0; }));
}

}  // namespace

TEST_CASE("cpu: large outputs have the bits of small ones") {
  ThreadPool pool(2);
  Stream stream{&pool, nullptr};
  Memory x(stream, shape), half(stream, {2, 258, 256, 16}),
      argmax(stream, half.view.shape, DType::u8);
  for (int64_t i = 0; i < shape.elements(); i++)
    x.view.as<float>()[i] = static_cast<float>(uniform_value(1, i, 0.5, 2));
  for (int64_t i = 0; i < half.view.shape.elements(); i++) {
    half.view.as<float>()[i] = static_cast<float>(uniform_value(2, i, 0.5, 2));
    argmax.view.as<uint8_t>()[i] = static_cast<uint8_t>(i % 9);
  }
  Array<float> each({16}, std::vector<float>(16, 0.5f)),
      w({3, 3, 16}, std::vector<float>(144, 0.3f));
  const Window same{{1, 1}, {1, 1}, {1, 1, 1, 1}}, pool3{{2, 2}, {1, 1}, {0, 1, 0, 1}};

  SUBCASE("copy") {
    check_equal(stream, x.view, shape,
                [&](const View& in, const View& y) { device.copy(stream, in, y); });
  }
  SUBCASE("fill") {
    check_equal(stream, x.view, shape,
                [&](const View&, const View& y) { device.fill(stream, y, 3); });
  }
  SUBCASE("pointwise") {
    check_equal(stream, x.view, shape, [&](const View& in, const View& y) {
      device.pointwise(stream, functor_Exp, {&in, 1}, y, 0, 0);
    });
  }
  SUBCASE("pointwise, an operand repeats") {
    Memory pixels(stream, {1, 516, 512, 1});
    std::copy_n(x.view.as<float>(), pixels.view.shape.elements(), pixels.view.as<float>());
    for (const View& small : {each.view(), pixels.view})
      check_equal(stream, x.view, shape, [&](const View& in, const View& y) {
        const View both[] = {in, small};
        device.pointwise(stream, functor_Mul, {both, 2}, y, 0, 0);
      });
  }
  SUBCASE("pointwise, an operand repeats, and images end within vectors") {
    const Shape odd{2, 1451, 967, 3};
    Memory in_odd(stream, odd), numbers(stream, {2, 1, 1, 3});
    std::copy_n(x.view.as<float>(), odd.elements(), in_odd.view.as<float>());
    std::copy_n(x.view.as<float>() + 7, 6, numbers.view.as<float>());
    check_equal(stream, in_odd.view, odd, [&](const View& in, const View& y) {
      const bool one = in.shape.images() == 1, second = in.data != in_odd.view.data;
      const View both[] = {in, one ? image(numbers.view, second) : numbers.view};
      device.pointwise(stream, functor_Mul, {both, 2}, y, 0, 0);
    });
  }
  SUBCASE("pointwise_grad") {
    check_equal(stream, x.view, shape, [&](const View& in, const View& y) {
      device.pointwise_grad(stream, functor_Relu, in, in, y, 0, 0);
    });
  }
  SUBCASE("batch_norm") {
    const View e = each.view();
    check_equal(stream, x.view, shape, [&](const View& in, const View& y) {
      device.batch_norm(stream, in, e, e, e, e, y, 1e-3);
    });
  }
  SUBCASE("depthwise_conv2d") {
    check_equal(stream, x.view, shape, [&](const View& in, const View& y) {
      device.depthwise_conv2d(stream, in, w.view(), y, same);
    });
  }
  SUBCASE("separable, and its sums") {
    const View images = view_of(x.view.data, {8, 129, 512, 16}, DType::f32);
    Array<float> pointwise({1, 1, 16, 16}, std::vector<float>(256));
    for (size_t i = 0; i < 256; i++)
      pointwise.values[i] = static_cast<float>(uniform_value(3, static_cast<int64_t>(i), -1, 1));
    const View e = each.view(), kernel = w.view(), products = pointwise.view();
    Memory all(stream, {3, 16}, DType::f64), one(stream, {3, 16}, DType::f64);
    std::vector<double> sums(48, 0.0);
    check_equal(stream, images, images.shape, [&](const View& in, const View& y) {
      const bool whole = in.shape.images() > 1;
      const Loaded loaded{in, e, e, e, e, 1e-3};
      const View& to = whole ? all.view : one.view;
      const FusedKernels& fused = *device.fused;
      std::vector<char> work(
          fused.separable_workspace(stream, loaded, kernel, products, e, e, y, to));
      fused.separable(stream, loaded, kernel, products, e, e, y, to, work.data());
      for (size_t i = 0; i < 48 && !whole; i++) sums[i] += to.as<double>()[i];
    });
    // In another order.
    for (size_t i = 0; i < 48; i++)
      CHECK(all.view.as<double>()[i] == doctest::Approx(sums[i]).epsilon(1e-6));
  }
  SUBCASE("resize") {
    check_equal(stream, half.view, shape,
                [&](const View& in, const View& y) { device.resize(stream, in, y, {}); });
  }
  SUBCASE("max_pool_grad") {
    check_equal(stream, half.view, shape, [&](const View& dy, const View& dx) {
      const bool one = dy.shape.images() == 1, second = dy.data != half.view.data;
      const View winners = one ? image(argmax.view, second) : argmax.view;
      device.max_pool_grad(stream, dy, winners, dx, {3, 3}, pool3);
    });
  }
}

}  // namespace fulmar::test
