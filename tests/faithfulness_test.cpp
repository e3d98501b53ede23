#include "model/explain/faithfulness.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/explained.h"

using namespace fulmar;
using namespace fulmar::model::explain;
using fulmar::test::error_of;
using fulmar::test::Explained;
using fulmar::test::small_network;

namespace {

constexpr int64_t side = 16;

// The score is the mean of the upper left quarter.
Network corner_network() {
  Network n;
  n.add("input", "input", {}, {{"channels", int64_t{1}}});
  n.add("cropping2d", "corner", {"input"}, {{"crop_bottom", side / 2}, {"crop_right", side / 2}});
  n.add("global_average_pooling2d", "mean", {"corner"});
  return n;
}

std::vector<float> corner_map() {
  std::vector<float> map(side * side, 0.0F);
  for (int64_t row = 0; row < side / 2; row++)
    for (int64_t column = 0; column < side / 2; column++)
      map[static_cast<size_t>(row * side + column)] = 1;
  return map;
}

const Target of_mean = class_logit(Shape{1, 1, 1, 1}, 0);
const std::vector<float> ones(side*side, 1.0F), zeros(side*side, 0.0F);

}  // namespace

TEST_CASE("faithfulness: deletion falls and insertion rises first with the map that is right") {
  Explained e("cpu", corner_network(), Shape{1, side, side, 1});
  Explainer& x = *e.explainer;
  const ScoreCurve deletion = curve(x, Order::deletion, corner_map(), ones, zeros, of_mean, 8);
  CHECK(deletion.share == std::vector<double>{0, .125, .25, .375, .5, .625, .75, .875, 1});
  CHECK(deletion.score[0] == doctest::Approx(1));
  CHECK(deletion.score[1] == doctest::Approx(.5));
  for (size_t i = 2; i < deletion.score.size(); i++) CHECK(deletion.score[i] == 0);
  CHECK(deletion.area() == doctest::Approx(.125));
  CHECK(curve(x, Order::insertion, corner_map(), ones, zeros, of_mean, 8).area() ==
        doctest::Approx(.875));
  std::vector<float> wrong = corner_map();
  for (float& value : wrong) value = 1 - value;
  CHECK(curve(x, Order::deletion, wrong, ones, zeros, of_mean, 8).area() == doctest::Approx(.875));
  const ScoreCurve random = random_curve(x, Order::deletion, ones, zeros, of_mean, 16, 20, 1, 3);
  CHECK(random.area() == doctest::Approx(.5).epsilon(0.05));
  CHECK(random.score.front() == doctest::Approx(1));
  CHECK(random.score.back() == 0);
}

TEST_CASE("faithfulness: a linear model's own map has no infidelity, and zeros have all") {
  Explained e("reference", corner_network(), Shape{1, side, side, 1});
  const std::vector<float> x = e.input(3, 0.5, 1);
  const Explanation right = e.explain("input-x-gradient", x, of_mean);
  const std::vector<float> map = per_pixel(right, e.shape);
  CHECK(infidelity(*e.explainer, map, x, zeros, of_mean, {.side = 3}) < 1e-10);
  CHECK(infidelity(*e.explainer, zeros, x, zeros, of_mean, {.side = 3}) == 1);
  const double random = infidelity(*e.explainer, e.input(9, -1, 1), x, zeros, of_mean, {.side = 3});
  CHECK(random > 0.5);
  CHECK(random <= 1);
}

TEST_CASE("faithfulness: the pointing game looks at the largest value alone") {
  std::vector<float> map = corner_map();
  map[5] = 2;
  CHECK(points_inside(map, corner_map()));
  map[100] = 3;
  CHECK_FALSE(points_inside(map, zeros));
  CHECK(error_of(ErrorKind::usage, [&] { points_inside(map, std::vector<float>(3)); }) ==
        "a mask of 3 pixels was given for a map of 256");
}

TEST_CASE("faithfulness: a linear model's gradient doesn't move, a smooth one's does a little") {
  Explained linear("cpu", corner_network(), Shape{1, side, side, 1});
  const std::vector<float> x = linear.input(3);
  CHECK(sensitivity(*linear.explainer, method("saliency"), x, of_mean, {}, 0.1, 5, 1) == 0);
  Explained smooth("cpu", small_network(2, "tanh", "average_pooling2d"), Shape{1, 12, 10, 2});
  const Target target = class_logit(Shape{1, 1, 1, 3}, 1);
  const std::vector<float> y = smooth.input(3, -2, 2);
  const double little =
      sensitivity(*smooth.explainer, method("saliency"), y, target, {}, 0.01, 5, 1);
  const double more = sensitivity(*smooth.explainer, method("saliency"), y, target, {}, 0.1, 5, 1);
  CHECK(little > 0);
  CHECK(more > 3 * little);
}

TEST_CASE("faithfulness: maps change when weights are drawn anew, from the head down") {
  Explained e("cpu", small_network(2, "relu", "max_pooling2d"), Shape{1, 12, 10, 2});
  const std::vector<float> x = e.input(3, -1, 1);
  const Target target = class_logit(Shape{1, 1, 1, 3}, 1);
  const auto before = e.model->read("conv/kernel");
  const auto correlations = randomisation(e.context, *e.device, e.info, *e.model, e.shape, {},
                                          method("saliency"), x, target, {}, 99);
  REQUIRE(correlations.size() == 3);
  CHECK(correlations[0].first == "logits");
  CHECK(correlations[1].first == "sep");
  CHECK(correlations[2].first == "conv");
  CHECK(correlations[0].second < 1);
  CHECK(std::abs(correlations[2].second) < 0.9);
  CHECK(e.model->read("conv/kernel") == before);
  // With the weights that it has, nothing changes.
  for (const auto& [layer, correlation] :
       randomisation(e.context, *e.device, e.info, *e.model, e.shape, {}, method("saliency"), x,
                     target, {}, 7))
    CHECK(correlation == doctest::Approx(1));
}

TEST_CASE("faithfulness: ranks are correlated as SciPy does") {
  const std::vector<float> a{1, 2, 2, 4, 0.5F}, b{3, 1, 4, 4, 9};
  CHECK(rank_correlation(a, b) == doctest::Approx(-0.2894736842105264).epsilon(1e-12));
  CHECK(rank_correlation(a, a) == doctest::Approx(1));
  CHECK(std::isnan(rank_correlation(a, std::vector<float>(5, 1.0F))));
}
