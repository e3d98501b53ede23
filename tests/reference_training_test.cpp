#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "kernels/backend.h"
#include "tests/support/array.h"

// The reference device's optimisers against their formulas with numbers.

namespace fulmar::test {
namespace {

const Backend& device = reference_backend();
Stream stream;
const double nan = std::numeric_limits<double>::quiet_NaN();

using Values = std::vector<double>;

void check_near(const Values& values, const Values& expected) {
  REQUIRE(values.size() == expected.size());
  for (size_t i = 0; i < values.size(); i++) {
    CAPTURE(i);
    CHECK(values[i] == doctest::Approx(expected[i]).epsilon(1e-12));
  }
}

}  // namespace

TEST_CASE("reference: accumulate adds micro-batches up and starts anew with the first") {
  Reals g({2}, {8, 12}), sum({2}, {nan, nan});
  StepState state;
  device.accumulate(stream, g.view(), sum.view(), &state);
  check_near(sum.values, {8, 12});
  state.micro_batch = 1;
  device.accumulate(stream, g.view(), sum.view(), &state);
  check_near(sum.values, {16, 24});
}

TEST_CASE("reference: adamw in its three forms, decay only where a segment says so") {
  const Segment segments[] = {{0, 1, 1}, {1, 2, 0}};
  StepState state;
  state.learning_rate = 0.1, state.step = 2;
  for (const bool keras : {true, false})
    for (const bool scaled : {true, false}) {
      Reals g({2}, {9, 9}), theta({2}, {5, 5}), m({2}, {2, 2}), v({2}, {4, 4});
      Reals weight({1}, {3});
      Array<int32_t> nonfinite({1}, {0});
      device.adamw(stream, g.view(), weight.view(), nonfinite.view(), theta.view(), m.view(),
                   v.view(), segments, 2, &state, {0.5, 0.75, 0.25, 0.01, scaled, keras});
      const double first = 0.5 * 2 + 0.5 * 3, second = 0.75 * 4 + 0.25 * 9;
      const double c1 = 1 - 0.25, c2 = 1 - 0.5625;
      const double update = keras ? 0.1 * std::sqrt(c2) / c1 * first / (std::sqrt(second) + 0.25)
                                  : 0.1 * (first / c1) / (std::sqrt(second / c2) + 0.25);
      const double decayed = 5 - (scaled ? 0.001 : 0.01) * 5;
      check_near(theta.values, {decayed - update, 5 - update});
      check_near(m.values, {first, first});
      check_near(v.values, {second, second});
    }
}

// The formulas with numbers, one element for each segment: |x| is its norm.
TEST_CASE("reference: sgd and lars decay and adapt where a segment says so") {
  const Segment segments[] = {{0, 1, 1}, {1, 2, 0}};
  StepState state;
  state.learning_rate = 0.5;
  Reals g({2}, {12, 12}), weight({1}, {4});  // 3 each
  Array<int32_t> nonfinite({1}, {0});
  for (const bool nesterov : {false, true}) {
    Reals theta({2}, {5, 5}), v({2}, {2, 2});
    device.sgd(stream, g.view(), weight.view(), nonfinite.view(), theta.view(), v.view(), segments,
               2, &state, {0.25, 0.1, nesterov});
    const double d[] = {3 + 0.1 * 5, 3};
    for (int64_t i = 0; i < 2; i++) {
      CHECK(v[i] == doctest::Approx(0.25 * 2 + d[i]));
      const double by = nesterov ? d[i] + 0.25 * (0.5 + d[i]) : 0.5 + d[i];
      CHECK(theta[i] == doctest::Approx(5 - 0.5 * by));
    }
  }
  Reals theta({2}, {-5, 5}), v({2}, {2, 2});
  device.lars(stream, g.view(), weight.view(), nonfinite.view(), theta.view(), v.view(), segments,
              2, &state, {0.25, 0.1, 0.01, 0.5});
  const double local = 0.01 * 5 / (3 + 0.1 * 5 + 0.5);
  check_near(v.values, {0.25 * 2 + 0.5 * local * (3 - 0.1 * 5), 0.25 * 2 + 0.5 * 3});
  check_near(theta.values, {-5 - v[0], 5 - v[1]});

  // Without a norm the local rate is 1.
  Reals none({2}, {0, 0}), fresh({2}, {0, 0});
  device.lars(stream, g.view(), weight.view(), nonfinite.view(), none.view(), fresh.view(),
              segments, 2, &state, {0.25, 0.1, 0.01, 0});
  check_near(fresh.values, {1.5, 1.5});
}

TEST_CASE("reference: a weight of 0 counts no gradient, and NaN somewhere stops every optimiser") {
  const Segment segments[] = {{0, 2, 1}};
  StepState state;
  state.learning_rate = 0.5;
  for (const double sum : {0.0, 4.0})
    for (const int32_t bad : {0, 1, std::numeric_limits<int32_t>::max()}) {
      Reals g({2}, {8, -8}), weight({1}, {sum});
      Array<int32_t> nonfinite({1}, {bad});
      const auto changes = [&](const auto& update) {
        Reals theta({2}, {1, 2}), m({2}, {0, 0}), v({2}, {0, 0});
        update(theta.view(), m.view(), v.view());
        return theta.values != Values{1, 2} || m.values != Values{0, 0} || v.values != Values{0, 0};
      };
      const bool expected = sum > 0 && bad == 0;
      CHECK(changes([&](const View& theta, const View& m, const View& v) {
              device.adamw(stream, g.view(), weight.view(), nonfinite.view(), theta, m, v, segments,
                           1, &state, {});
            }) == expected);
      CHECK(changes([&](const View& theta, const View& m, const View&) {
              device.sgd(stream, g.view(), weight.view(), nonfinite.view(), theta, m, segments, 1,
                         &state, {});
            }) == expected);
      CHECK(changes([&](const View& theta, const View& m, const View&) {
              device.lars(stream, g.view(), weight.view(), nonfinite.view(), theta, m, segments, 1,
                          &state, {});
            }) == expected);
    }
}

}  // namespace fulmar::test
