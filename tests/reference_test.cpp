#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/backend.h"
#include "kernels/error.h"
#include "kernels/pointwise.h"
#include "kernels/random.h"
#include "tests/support/array.h"

// The reference device against numbers worked out by hand, and its gradients against its forward
// kernels: a linear kernel and its gradient are adjoint, <f(x), dy> = <x, f'(dy)>.

namespace fulmar::test {
namespace {

const Backend& device = reference_backend();
Stream stream;
const double infinity = std::numeric_limits<double>::infinity();
const double nan = std::numeric_limits<double>::quiet_NaN();

using Values = std::vector<double>;
using Bytes = Array<uint8_t>;

void check_near(const Values& values, const Values& expected) {
  REQUIRE(values.size() == expected.size());
  for (size_t i = 0; i < values.size(); i++) {
    CAPTURE(i);
    CHECK(values[i] == doctest::Approx(expected[i]).epsilon(1e-12));
  }
}

// Windows that a convolution or a pooling may meet: each axis with its own numbers.
struct Sliding {
  int64_t height, width;
  std::array<int64_t, 2> kernel;
  Window window;
  int64_t out_height() const {
    return window_extent(height, kernel[0], window.stride[0], window.dilation[0], window.padding[0],
                         window.padding[1]);
  }
  int64_t out_width() const {
    return window_extent(width, kernel[1], window.stride[1], window.dilation[1], window.padding[2],
                         window.padding[3]);
  }
};
const Sliding slidings[] = {
    {5, 4, {1, 1}, {}},
    {5, 7, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {6, 8, {3, 3}, {{2, 2}, {1, 1}, {0, 1, 0, 1}}},
    {1, 1, {3, 3}, {{2, 2}, {1, 1}, {1, 1, 1, 1}}},
    {9, 8, {2, 2}, {{3, 4}, {1, 1}, {0, 0, 0, 0}}},
    {11, 10, {5, 2}, {{3, 2}, {2, 3}, {3, 0, 1, 2}}},
    {2, 3, {4, 3}, {}},  // does not fit: an empty output
};

}  // namespace

TEST_CASE("reference: conv2d by hand: stride, padding on one side, bias") {
  Reals x({1, 1, 5, 1}, {1, 2, 3, 4, 5}), w({1, 3, 1, 1}, {1, 10, 100}), bias({1}, {1000});
  Reals y({1, 1, 2, 1});
  device.conv2d(stream, x.view(), w.view(), bias.view(), y.view(), {{1, 2}, {1, 1}, {0, 0, 1, 0}},
                1, nullptr);
  check_near(y.values, {1210, 1432});
}

TEST_CASE("reference: conv2d by hand: dilation along columns, two groups, no bias") {
  // Pixels of two channels; group 0 reads the first channel, group 1 the second.
  Reals x({1, 1, 4, 2}, {1, 5, 2, 6, 3, 7, 4, 8});
  Reals w({1, 2, 1, 4}, {1, 2, 3, 4, 10, 20, 30, 40});  // [Kh,Kw,Ci/groups,Co]
  Reals y({1, 1, 2, 4});
  device.conv2d(stream, x.view(), w.view(), View{}, y.view(), {{1, 1}, {1, 2}, {}}, 2, nullptr);
  check_near(y.values, {1 + 30, 2 + 60, 3 * 5 + 30 * 7, 4 * 5 + 40 * 7,  //
                        2 + 40, 4 + 80, 3 * 6 + 30 * 8, 4 * 6 + 40 * 8});
}

TEST_CASE("reference: the gradients of conv2d are adjoint to it") {
  for (const Sliding& s : slidings)
    for (int64_t groups : {1, 2}) {
      CAPTURE(s.height);
      CAPTURE(s.kernel[0]);
      CAPTURE(groups);
      const int64_t inputs = 4, outputs = 6;
      Reals x = random_reals({2, s.height, s.width, inputs}, 1);
      Reals w = random_reals({s.kernel[0], s.kernel[1], inputs / groups, outputs}, 2);
      Reals y({2, s.out_height(), s.out_width(), outputs}), dx(x.shape), dw(w.shape);
      Reals dy = random_reals(y.shape, 3);
      device.conv2d(stream, x.view(), w.view(), View{}, y.view(), s.window, groups, nullptr);
      device.conv2d_input_grad(stream, dy.view(), w.view(), dx.view(), s.window, groups, nullptr);
      device.conv2d_weight_grad(stream, x.view(), dy.view(), dw.view(), s.window, groups, nullptr);
      CHECK(dot(x, dx) == doctest::Approx(dot(y, dy)).epsilon(1e-12));
      CHECK(dot(w, dw) == doctest::Approx(dot(y, dy)).epsilon(1e-12));
    }
}

TEST_CASE("reference: depthwise_conv2d is conv2d with a group per channel, its gradients adjoint") {
  for (const Sliding& s : slidings) {
    CAPTURE(s.height);
    CAPTURE(s.kernel[0]);
    const int64_t channels = 3;
    Reals x = random_reals({2, s.height, s.width, channels}, 1);
    Reals w = random_reals({s.kernel[0], s.kernel[1], channels}, 2);
    Reals y({2, s.out_height(), s.out_width(), channels}), by_groups(y.shape);
    Reals dx(x.shape), dw(w.shape), dy = random_reals(y.shape, 3);
    Reals grouped({s.kernel[0], s.kernel[1], 1, channels}, w.values);
    device.depthwise_conv2d(stream, x.view(), w.view(), y.view(), s.window);
    device.conv2d(stream, x.view(), grouped.view(), View{}, by_groups.view(), s.window, channels,
                  nullptr);
    check_near(y.values, by_groups.values);
    device.depthwise_conv2d_input_grad(stream, dy.view(), w.view(), dx.view(), s.window);
    device.depthwise_conv2d_weight_grad(stream, x.view(), dy.view(), dw.view(), s.window, nullptr);
    CHECK(dot(x, dx) == doctest::Approx(dot(y, dy)).epsilon(1e-12));
    CHECK(dot(w, dw) == doctest::Approx(dot(y, dy)).epsilon(1e-12));
  }
}

TEST_CASE("reference: max_pool takes the first of equals, no padding, and any NaN") {
  Reals x({1, 1, 6, 1}, {-3, -3, -5, nan, 2, nan}), y({1, 1, 3, 1});
  Bytes argmax({1, 1, 3, 1});
  const Window window{{1, 2}, {1, 1}, {0, 0, 1, 0}};
  device.max_pool(stream, x.view(), y.view(), argmax.view(), {1, 3}, window);
  CHECK(y[0] == -3);
  CHECK(argmax[0] == 1);
  CHECK(std::isnan(y[1]));
  CHECK(argmax[1] == 2);
  CHECK(std::isnan(y[2]));
  CHECK(argmax[2] == 0);
  Reals dy({1, 1, 3, 1}, {1, 10, 100}), dx(x.shape);
  device.max_pool_grad(stream, dy.view(), argmax.view(), dx.view(), {1, 3}, window);
  check_near(dx.values, {1, 0, 0, 110, 0, 0});
}

TEST_CASE("reference: the gradient of max_pool is adjoint to the gather that its argmax names") {
  for (const Sliding& s : slidings) {
    CAPTURE(s.height);
    CAPTURE(s.kernel[0]);
    Reals x = random_reals({2, s.height, s.width, 3}, 1), dx(x.shape);
    Reals y({2, s.out_height(), s.out_width(), 3}), dy = random_reals(y.shape, 2);
    Bytes argmax(y.shape);
    device.max_pool(stream, x.view(), y.view(), argmax.view(), s.kernel, s.window);
    device.max_pool_grad(stream, dy.view(), argmax.view(), dx.view(), s.kernel, s.window);
    CHECK(dot(x, dx) == doctest::Approx(dot(y, dy)).epsilon(1e-12));
  }
}

TEST_CASE("reference: a window wholly in padding has no maximum, an average of 0 and no gradient") {
  Reals x({1, 1, 1, 1}, {7}), y({1, 1, 3, 1}), dy({1, 1, 3, 1}, {1, 10, 100}), dx({1, 1, 1, 1});
  Bytes argmax(y.shape);
  const Window window{{1, 1}, {1, 1}, {0, 0, 1, 1}};
  device.max_pool(stream, x.view(), y.view(), argmax.view(), {1, 1}, window);
  CHECK(y.values == Values{-infinity, 7, -infinity});
  device.max_pool_grad(stream, dy.view(), argmax.view(), dx.view(), {1, 1}, window);
  CHECK(dx[0] == 10);
  device.average_pool(stream, x.view(), y.view(), {1, 1}, window);
  CHECK(y.values == Values{0, 7, 0});
}

TEST_CASE("reference: average_pool counts what is inside; its gradient is adjoint") {
  Reals ones({1, 2, 3, 1}, Values(6, 1)), mean({1, 1, 2, 1});
  device.average_pool(stream, ones.view(), mean.view(), {3, 3}, {{2, 2}, {1, 1}, {1, 0, 1, 1}});
  check_near(mean.values, {1, 1});
  for (const Sliding& s : slidings) {
    CAPTURE(s.height);
    CAPTURE(s.kernel[0]);
    Reals x = random_reals({2, s.height, s.width, 3}, 1), dx(x.shape);
    Reals y({2, s.out_height(), s.out_width(), 3}), dy = random_reals(y.shape, 2);
    device.average_pool(stream, x.view(), y.view(), s.kernel, s.window);
    device.average_pool_grad(stream, dy.view(), dx.view(), s.kernel, s.window);
    CHECK(dot(x, dx) == doctest::Approx(dot(y, dy)).epsilon(1e-12));
  }
}

TEST_CASE("reference: batch normalisation by hand") {
  // Two channels, four pixels: {1, 2, 3, 6} and {5, 5, 5, 5}.
  Reals x({2, 1, 2, 2}, {1, 5, 2, 5, 3, 5, 6, 5}), shift({2}, {2, 4}), sums({3, 2});
  device.channel_sums(stream, x.view(), shift.view(), sums.view());
  check_near(sums.values, {4, 4, 1 + 0 + 1 + 16, 4, 4, 4});
  Reals mean({2}), var({2});
  device.moments(stream, sums.view(), shift.view(), mean.view(), var.view());
  check_near(mean.values, {3, 5});
  check_near(var.values, {3.5, 0});

  Reals running_mean({2}, {1, 1}), running_var({2}, {1, 1});
  device.update_running(stream, mean.view(), var.view(), sums.view(), running_mean.view(),
                        running_var.view(), 0.75, false);
  check_near(running_mean.values, {1.5, 2});
  check_near(running_var.values, {0.75 + 0.25 * 3.5, 0.75});
  running_var.values = {1, 1};
  device.update_running(stream, mean.view(), var.view(), sums.view(), running_mean.view(),
                        running_var.view(), 0.75, true);
  check_near(running_var.values, {0.75 + 0.25 * 3.5 * 4 / 3, 0.75});
  sums.values = {0, 0, 0, 0, 1, 1};  // a single element: n - 1 is not divided by
  device.update_running(stream, mean.view(), Reals({2}, {0, 0}).view(), sums.view(),
                        running_mean.view(), running_var.view(), 0, true);
  check_near(running_var.values, {0, 0});

  Reals gamma({2}, {2, 3}), beta({2}, {10, 20}), y(x.shape);
  device.batch_norm(stream, x.view(), gamma.view(), beta.view(), mean.view(), var.view(), y.view(),
                    0.5);
  check_near(y.values, {8, 20, 9, 20, 10, 20, 13, 20});
}

TEST_CASE("reference: the gradient of batch normalisation is its slope") {
  Reals x = random_reals({2, 3, 2, 2}, 1), gamma({2}, {2, -3}), beta({2}, {1, 2});
  Reals dy = random_reals(x.shape, 2), y(x.shape), shift({2}, {0.1, -0.2}), sums({3, 2}), mean({2}),
        var({2});
  const auto loss = [&] {
    device.channel_sums(stream, x.view(), shift.view(), sums.view());
    device.moments(stream, sums.view(), shift.view(), mean.view(), var.view());
    device.batch_norm(stream, x.view(), gamma.view(), beta.view(), mean.view(), var.view(),
                      y.view(), 1e-3);
    return dot(y, dy);
  };
  const auto slope = [&](double& value) {
    const double kept = value, h = 1e-5;
    value = kept + h;
    const double above = loss();
    value = kept - h;
    const double below = loss();
    value = kept;
    return (above - below) / (2 * h);
  };
  loss();
  Reals grad_sums({2, 2}), dx(x.shape), dgamma({2}), dbeta({2});
  device.batch_norm_grad_sums(stream, dy.view(), x.view(), mean.view(), grad_sums.view());
  device.batch_norm_grad(stream, dy.view(), x.view(), gamma.view(), mean.view(), var.view(),
                         sums.view(), grad_sums.view(), dx.view(), 1e-3);
  device.batch_norm_param_grad(stream, grad_sums.view(), var.view(), dgamma.view(), dbeta.view(),
                               1e-3);
  for (int64_t i = 0; i < x.shape.elements(); i++)
    CHECK(dx[i] == doctest::Approx(slope(x[i])).epsilon(1e-7));
  for (int64_t c = 0; c < 2; c++) {
    CHECK(dgamma[c] == doctest::Approx(slope(gamma[c])).epsilon(1e-8));
    CHECK(dbeta[c] == doctest::Approx(slope(beta[c])).epsilon(1e-8));
  }
}

TEST_CASE("reference: resize by hand in both conventions; its gradient is adjoint") {
  Reals x({1, 1, 2, 1}, {0, 4});
  const auto resized = [&](Interpolation interpolation, bool corners, int64_t width) {
    Reals y({1, 1, width, 1});
    device.resize(stream, x.view(), y.view(), {interpolation, corners});
    return y.values;
  };
  check_near(resized(Interpolation::bilinear, false, 4), {0, 1, 3, 4});
  check_near(resized(Interpolation::bilinear, true, 3), {0, 2, 4});
  check_near(resized(Interpolation::bilinear, true, 1), {0});
  check_near(resized(Interpolation::nearest, false, 3), {0, 4, 4});
  check_near(resized(Interpolation::nearest, true, 4), {0, 0, 4, 4});
  for (const bool corners : {false, true})
    for (const Interpolation interpolation : {Interpolation::nearest, Interpolation::bilinear})
      for (const auto& sizes : {std::array<int64_t, 4>{4, 5, 9, 8},
                                {9, 8, 4, 5},
                                {1, 1, 3, 2},
                                {5, 4, 1, 1},
                                {7, 3, 3, 7}}) {
        CAPTURE(sizes[0]);
        CAPTURE(sizes[2]);
        CAPTURE(corners);
        Reals in = random_reals({2, sizes[0], sizes[1], 3}, 1), dx(in.shape);
        Reals out({2, sizes[2], sizes[3], 3}), dy = random_reals(out.shape, 2);
        device.resize(stream, in.view(), out.view(), {interpolation, corners});
        device.resize_grad(stream, dy.view(), dx.view(), {interpolation, corners});
        CHECK(dot(in, dx) == doctest::Approx(dot(out, dy)).epsilon(1e-12));
      }
}

TEST_CASE("reference: softmax cross-entropy by hand") {
  const double z = std::log(3.0);  // softmax 1/4, 3/4
  const double quarter = -std::log(0.25), most = -std::log(0.75);
  Reals logits({4, 2}, {0, z, 800, 800 + z, 5, 5, 0, 0}), p(logits.shape);
  device.softmax(stream, logits.view(), p.view());
  check_near(p.values, {0.25, 0.75, 0.25, 0.75, 0.5, 0.5, 0.5, 0.5});

  Array<int32_t> index({4, 1}, {0, 1, 255, 2});
  Reals class_weight({2}, {2, 3}), pixel_weight({4, 1}, {1, 10, 1, 1});
  Reals loss({4, 1}), weight({4, 1}), dloss({4, 1}, {1, 1, 1, 1}), dlogits(logits.shape);
  const CrossEntropy options{0, 255};
  device.softmax_cross_entropy(stream, logits.view(), index.view(), class_weight.view(),
                               pixel_weight.view(), loss.view(), weight.view(), options);
  CHECK(loss[0] == doctest::Approx(2 * quarter));
  CHECK(loss[1] == doctest::Approx(10 * 3 * most));
  CHECK(loss[2] == 0);
  CHECK(std::isnan(loss[3]));
  CHECK(weight[0] == 2);
  CHECK(weight[1] == 30);
  CHECK(weight[2] == 0);
  device.softmax_cross_entropy_grad(stream, logits.view(), index.view(), class_weight.view(),
                                    pixel_weight.view(), dloss.view(), dlogits.view(), options);
  check_near({dlogits.values.begin(), dlogits.values.begin() + 6}, {-1.5, 1.5, 7.5, -7.5, 0, 0});
  CHECK(std::isnan(dlogits[6]));

  Reals soft({4, 2}, {0.5, 0.5, 1, 0, 0, 1, 0, 1});
  device.softmax_cross_entropy(stream, logits.view(), soft.view(), View{}, View{}, loss.view(),
                               weight.view(), {0.2, -1});
  CHECK(loss[0] == doctest::Approx(0.5 * quarter + 0.5 * most));
  CHECK(loss[1] == doctest::Approx(0.9 * quarter + 0.1 * most));
  check_near(weight.values, {1, 1, 1, 1});
}

TEST_CASE("reference: dropout keeps by counter and scales what it keeps") {
  Reals x({10}, Values(10, 3)), y({10});
  StepState state;
  state.seed = 5, state.draw = 6;
  device.dropout(stream, x.view(), y.view(), &state, 0.25, 7);
  int kept = 0;
  for (int64_t i = 0; i < 10; i++) {
    const RandomBits bits = philox(5, 6, (uint64_t{7} << 40) + static_cast<uint64_t>(i / 4));
    const bool keep = uniform(bits.word[i % 4]) >= 0.25f;
    CHECK(y[i] == (keep ? 4 : 0));
    kept += keep;
  }
  CHECK(kept > 3);
  CHECK(kept < 10);
}

TEST_CASE("reference: operands of pointwise functions repeat, by hand") {
  Reals a({2, 1, 1, 2}, {1, 2, 3, 4}), b({1, 3, 1}, {10, 20, 30}), y({2, 1, 3, 2});
  const View both[] = {b.view(), a.view()};
  device.pointwise(stream, functor_Sub, {both, 2}, y.view(), 0, 0);
  check_near(y.values, {9, 8, 19, 18, 29, 28, 7, 6, 17, 16, 27, 26});
}

TEST_CASE("reference: copies, sums and broadcasts along any axes") {
  Reals x = random_reals({2, 3, 4, 5}, 1), crop({2, 2, 2, 5});
  View every_second = x.view();
  every_second.shape = crop.shape;
  every_second.stride[1] *= 2;
  every_second.stride[2] *= 2;
  device.copy(stream, every_second, crop.view());
  CHECK(*crop.view().at<double>(1, 1, 1) == *x.view().at<double>(1, 2, 2));
  device.fill(stream, every_second, 7);
  CHECK(*x.view().at<double>(1, 2, 2) == 7);
  CHECK(*x.view().at<double>(1, 2, 1) != 7);

  for (const Shape& small : {Shape{5}, Shape{2, 1, 1, 5}, Shape{2, 3, 4, 1}, Shape{1, 3, 1, 1},
                             Shape{}, Shape{2, 3, 4, 5}}) {
    CAPTURE(small.to_string());
    Reals s = random_reals(small, 2), wide(x.shape), sum(small);
    device.broadcast(stream, s.view(), wide.view());
    device.reduce_sum(stream, x.view(), sum.view());
    CHECK(dot(s, sum) == doctest::Approx(dot(wide, x)).epsilon(1e-12));
  }
  x[3] = nan, x[4] = -infinity;
  Array<int32_t> count({1}, {7});
  const std::vector<View> twice{x.view(), x.view()};
  device.count_nonfinite(stream, twice, count.view());
  CHECK(count[0] == 4);
  Array<int32_t> many({1}, {std::numeric_limits<int32_t>::max() - 1});
  const std::vector<View> more{x.view(), many.view()};
  device.count_nonfinite(stream, more, count.view());
  CHECK(count[0] == std::numeric_limits<int32_t>::max());
}

TEST_CASE("reference: pointwise functions hide no NaN and refuse what they can't do") {
  Reals x({4}, {-2, 0, 3, nan}), y({4}), dy({4}, {1, 1, 1, 1}), other({4}, {1, 2, 3, 4});
  const std::vector<View> one{x.view()}, two{other.view(), x.view()};
  device.pointwise(stream, functor_Relu, one, y.view(), 0, 0);
  check_near({y[0], y[1], y[2]}, {0, 0, 3});
  CHECK(std::isnan(y[3]));
  device.pointwise_grad(stream, functor_Relu, y.view(), dy.view(), dy.view(), 0, 0);
  check_near(dy.values, {0, 0, 1, 1});
  device.pointwise(stream, functor_DivNoNan, two, y.view(), 0, 0);
  check_near({y[0], y[1], y[2]}, {0, 0, 1});
  CHECK(std::isnan(y[3]));
  device.pointwise(stream, functor_Affine, one, y.view(), 2, 1);
  check_near({y[0], y[1], y[2]}, {-3, 1, 7});
  CHECK_THROWS_AS(device.pointwise(stream, functor_Add, one, y.view(), 0, 0), Error);
  CHECK_THROWS_AS(device.pointwise(stream, 99, one, y.view(), 0, 0), Error);
  CHECK_THROWS_AS(device.pointwise_grad(stream, functor_Add, x.view(), dy.view(), dy.view(), 0, 0),
                  Error);
  CHECK_THROWS_AS(device.softmax(stream, view_of(x.values.data(), {4}, DType::f32), y.view()),
                  Error);
}

namespace {

WarpOptions plain_options() {
  WarpOptions options;
  options.scale.fill(1);
  return options;
}

WarpSample whole(int64_t height, int64_t width) {
  WarpSample sample;
  sample.source_height = height, sample.source_width = width;
  return sample;
}

Values warped(const View& source, const WarpSample& sample, const Shape& out,
              const WarpOptions& options) {
  Reals y(out);
  device.warp(stream, source, &sample, y.view(), options);
  return y.values;
}

}  // namespace

TEST_CASE("reference: warp reads every source type and scales it") {
  WarpOptions options = plain_options();
  options.scale = {0.5f, 2}, options.offset = {1, -1};
  WarpSample sample = whole(1, 2);
  sample.gain = 3;
  const Values expected{6, 9, 9, 21};
  const Shape shape{1, 1, 2, 2};
  Array<uint8_t> u8(shape, {2, 2, 4, 4});
  Array<uint16_t> u16(shape, {2, 2, 4, 4});
  Array<float> f32(shape, {2, 2, 4, 4});
  Reals f64(shape, {2, 2, 4, 4});
  for (const View& source : {u8.view(), u16.view(), f32.view(), f64.view()}) {
    CAPTURE(name_of(source.type));
    check_near(warped(source, sample, shape, options), expected);
  }
  Array<int32_t> i32(shape);
  CHECK_THROWS_AS(warped(i32.view(), sample, shape, options), Error);
}

TEST_CASE("reference: warp interpolates; outside is fill or the border") {
  Array<float> source({1, 1, 4, 1}, {10, 20, 30, 99});
  WarpSample sample = whole(1, 3);  // the slot's last column is not part of the picture
  sample.map.a = {1, 0, -1.25, 0, 1, 0};
  WarpOptions options = plain_options();
  options.fill = {2};
  const Shape out{1, 1, 6, 1};  // reads -1.25, -.25, .75, 1.75, 2.75, 3.75
  check_near(warped(source.view(), sample, out, options), {2, 8, 17.5, 27.5, 9, 2});
  options.border = Border::clamp;
  check_near(warped(source.view(), sample, out, options), {10, 10, 17.5, 27.5, 30, 30});
  options.interpolation = Interpolation::nearest;
  check_near(warped(source.view(), sample, out, options), {10, 10, 20, 30, 30, 30});
  options.border = Border::fill;
  check_near(warped(source.view(), sample, out, options), {2, 10, 20, 30, 2, 2});
  sample.map.a = {1e300, 0, 0, 0, 1, 0};
  check_near(warped(source.view(), sample, out, options), {10, 2, 2, 2, 2, 2});
  check_near(warped(source.view(), WarpSample{}, out, options), Values(6, 2));  // nothing there
  options.border = Border::clamp;
  check_near(warped(source.view(), WarpSample{}, out, options), Values(6, 2));
}

TEST_CASE("reference: warp keeps NaN, infinity and nodata away, tap by tap") {
  const float bad = std::numeric_limits<float>::quiet_NaN();
  Array<float> source({1, 1, 4, 1}, {bad, 10, -9999, -std::numeric_limits<float>::infinity()});
  WarpOptions options = plain_options();
  options.has_nodata = true, options.nodata = -9999;
  options.fill = {6};
  WarpSample sample = whole(1, 4);
  check_near(warped(source.view(), sample, {1, 1, 4, 1}, options), {6, 10, 6, 6});
  sample.map.a[2] = 0.5;
  check_near(warped(source.view(), sample, {1, 1, 4, 1}, options), {8, 8, 6, 6});
}

TEST_CASE("reference: warp cuts at the frame of each operation in between") {
  Array<float> source({1, 2, 4, 1}, {1, 2, 3, 4, 5, 6, 7, 8});
  WarpSample sample = whole(2, 4);
  sample.frames = 1;
  sample.to_frame[0].a = {1, 0, -1.5, 0, 1, 0};  // column 1 lies half a pixel out, 2 half inside
  sample.frame_width[0] = 2, sample.frame_height[0] = 1;
  check_near(warped(source.view(), sample, {1, 2, 4, 1}, plain_options()),
             {0, 0, 3, 0, 0, 0, 0, 0});
}

TEST_CASE("reference: warp's speckle follows its counter, standardisation comes last") {
  Array<float> source({1, 2, 2, 1}, {1, 2, 3, 6});
  WarpSample sample = whole(2, 2);
  sample.speckle = 1.5, sample.seed = 8;  // at least one factor is cut at 0
  const Values noisy = warped(source.view(), sample, {1, 2, 2, 1}, plain_options());
  for (uint64_t i = 0; i < 4; i++) {
    const RandomBits bits = philox(8, 0, i);
    const double radius = std::sqrt(-2 * std::log(1 - double{uniform(bits.word[0])}));
    const double n = radius * std::cos(2 * M_PI * double{uniform(bits.word[1])});
    CHECK(noisy[i] == doctest::Approx(source.values[i] * std::max(0.0, 1 + 1.5 * n)));
  }
  CHECK(std::count(noisy.begin(), noisy.end(), 0.0) > 0);
  sample.speckle = 0;
  WarpOptions options = plain_options();
  options.standardize = true;
  const double deviation = std::sqrt(3.5);
  check_near(warped(source.view(), sample, {1, 2, 2, 1}, options),
             {-2 / deviation, -1 / deviation, 0, 3 / deviation});
  options.scale = {0};  // a flat picture is divided by 1/sqrt(n), not by 0
  check_near(warped(source.view(), sample, {1, 2, 2, 1}, options), {0, 0, 0, 0});
}

TEST_CASE("reference: warp_labels by hand") {
  Bytes source({1, 1, 4, 1}, {1, 2, 3, 99});
  WarpSample sample = whole(1, 3);  // the slot's last column is not part of the picture
  sample.map.a = {0.5, 0, -1, 0, 1, 0};
  sample.gain = 7, sample.speckle = 1;
  Bytes y({1, 1, 10, 1});  // reads -1, -.5, 0, .5, 1, 1.5, 2, 2.5, 3, 3.5
  device.warp_labels(stream, source.view(), &sample, y.view(), 200);
  CHECK(y.values == std::vector<uint8_t>{200, 1, 1, 2, 2, 3, 3, 200, 200, 200});
  sample.frames = 1;
  sample.to_frame[0].a = {1, 0, -2, 0, 1, 0};
  sample.frame_width[0] = 3, sample.frame_height[0] = 1;
  device.warp_labels(stream, source.view(), &sample, y.view(), 0);
  CHECK(y.values == std::vector<uint8_t>{0, 0, 1, 2, 2, 0, 0, 0, 0, 0});
}

TEST_CASE("reference: confusion by hand, truth before prediction") {
  Bytes predicted({1, 2, 4, 1}, {0, 1, 1, 2, 3, 0, 1, 255});
  Array<int32_t> labels({1, 2, 4, 1}, {0, 0, 0, 2, 1, -1, 255, 2});
  Reals counts({3, 3});
  device.confusion(stream, predicted.view(), labels.view(), {}, counts.view());
  CHECK(counts.values == Values{1, 2, 0, 0, 0, 0, 0, 0, 1});
  Reals weights({1, 2, 4, 1}, {1, 0, 0.5, -1, 1, 1, 1, 1});
  device.confusion(stream, predicted.view(), labels.view(), weights.view(), counts.view());
  CHECK(counts.values == Values{1, 1, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("reference: memory is aligned") {
  void* memory = device.allocate(stream, 100);
  CHECK(reinterpret_cast<uintptr_t>(memory) % 64 == 0);
  device.release(stream, memory, 100);
}

}  // namespace fulmar::test
