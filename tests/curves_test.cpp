#include "model/curves.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/error.h"
#include "model/calibration.h"
#include "tests/support/sklearn_cases.h"

using namespace fulmar::model;
using namespace fulmar::test;

TEST_CASE("points of curves are those of scikit-learn's") {
  for (const Json& golden : sklearn_cases()) {
    CAPTURE(golden.at("name").get<std::string>());
    if (!golden.contains("curves")) continue;
    const Predictions p = predictions_of(golden);
    const Curve roc = roc_curve(p.scores_of(1), p.truth_of(1));
    const Curve pr = precision_recall_curve(p.scores_of(1), p.truth_of(1));
    const Json& curves = golden.at("curves");
    const size_t count = curves.at("thresholds").size();
    REQUIRE(roc.size() == count + 1);
    size_t at = 0;
    double recall = 0;
    for (size_t i = 0; i < count; i++) {
      const double hits = curves.at("tpr").at(i);
      CHECK(roc[i + 1].x == near(curves.at("fpr").at(i)));
      CHECK(roc[i + 1].y == near(hits));
      // A step: to the precision of this recall, then along it.
      const std::vector<double> along =
          hits > recall ? std::vector<double>{recall, hits} : std::vector<double>{recall};
      for (const double x : along) {
        REQUIRE(at < pr.size());
        CHECK(pr[at].x == near(x));
        CHECK(pr[at++].y == near(curves.at("precision").at(i)));
      }
      recall = hits;
    }
    CHECK(at == pr.size());
  }
}

TEST_CASE("areas under the curves that are drawn are the metrics") {
  for (const Json& golden : sklearn_cases()) {
    CAPTURE(golden.at("name").get<std::string>());
    const Predictions p = predictions_of(golden);
    const Scores scores = score(p, p.classes == 2 ? 1 : -1);
    std::vector<Curve> roc, pr;
    for (int64_t k = p.classes == 2 ? 1 : 0; k < p.classes; k++) {
      roc.push_back(roc_curve(p.scores_of(k), p.truth_of(k)));
      pr.push_back(precision_recall_curve(p.scores_of(k), p.truth_of(k)));
      const ClassScores& own = scores.classes[static_cast<size_t>(k)];
      CHECK(roc.back().empty() == std::isnan(own.roc_auc));
      if (roc.back().empty()) continue;
      CHECK(area_under(roc.back()) == doctest::Approx(own.roc_auc).epsilon(1e-12));
      CHECK(area_under(pr.back()) == doctest::Approx(own.pr_auc).epsilon(1e-12));
    }
    for (const auto& [curves, area] :
         {std::pair(&roc, scores.roc_auc), std::pair(&pr, scores.pr_auc)}) {
      const Curve mean = mean_curve(*curves);
      CHECK(area_under(mean) == doctest::Approx(area).epsilon(1e-12));
      CHECK(mean.front().x == 0);
      CHECK(mean.back().x == 1);
      for (size_t i = 1; i < mean.size(); i++) CHECK(mean[i].x >= mean[i - 1].x);
    }
  }
}

TEST_CASE("curves by hand") {
  const float scores[] = {0.9f, 0.8f, 0.8f, 0.1f};
  const uint8_t truth[] = {1, 0, 1, 0};
  const Curve roc = roc_curve(scores, truth), pr = precision_recall_curve(scores, truth);
  const auto is = [](const Curve& curve, std::vector<std::pair<double, double>> expected) {
    REQUIRE(curve.size() == expected.size());
    for (size_t i = 0; i < curve.size(); i++) {
      CHECK(curve[i].x == doctest::Approx(expected[i].first));
      CHECK(curve[i].y == doctest::Approx(expected[i].second));
    }
  };
  is(roc, {{0, 0}, {0, 0.5}, {0.5, 1}, {1, 1}});
  is(pr, {{0, 1}, {0.5, 1}, {0.5, 2.0 / 3}, {1, 2.0 / 3}, {1, 0.5}});
  const float falling[] = {0.9f, 0.8f, 0.7f, 0.6f};
  const uint8_t mixed[] = {0, 1, 0, 1};
  is(precision_recall_curve(falling, mixed),
     {{0, 0}, {0, 0.5}, {0.5, 0.5}, {0.5, 1.0 / 3}, {0.5, 0.5}, {1, 0.5}});
  const std::vector<Curve> both{{{0, 0}, {0, 1}, {1, 1}}, {{0, 0}, {1, 1}}, {}};
  is(mean_curve(both), {{0, 0}, {0, 0.5}, {1, 1}});
}

TEST_CASE("curves of what is undefined are empty") {
  const uint8_t none[] = {0, 0}, all[] = {1, 1}, one[] = {0, 1};
  const float scores[] = {0.1f, 0.9f}, bad[] = {0.1f, NAN};
  CHECK(roc_curve(scores, none).empty());
  CHECK(roc_curve(scores, all).empty());
  CHECK(roc_curve(bad, one).empty());
  CHECK(precision_recall_curve(scores, none).empty());
  CHECK(area_under(precision_recall_curve(scores, all)) == 1);
  CHECK(precision_recall_curve(bad, one).empty());
  CHECK(mean_curve({}).empty());
  CHECK(area_under({}) == 0);
}

TEST_CASE("calibration is scikit-learn's") {
  for (const Json& golden : sklearn_cases()) {
    CAPTURE(golden.at("name").get<std::string>());
    const Predictions p = predictions_of(golden);
    const Calibration c = calibration(p, p.classes == 2 ? 1 : -1);
    const Json& expected = golden.at("calibration");
    REQUIRE(c.bins.size() == 10);
    size_t used = 0;
    for (size_t b = 0; b < 10; b++) {
      CHECK(c.bins[b].count == expected.at("counts").at(b).get<int64_t>());
      CHECK(c.bins[b].low == doctest::Approx(0.1 * static_cast<double>(b)));
      CHECK(c.bins[b].high == doctest::Approx(0.1 * static_cast<double>(b + 1)));
      CHECK(std::isnan(c.bins[b].probability) == (c.bins[b].count == 0));
      CHECK(std::isnan(c.bins[b].frequency) == (c.bins[b].count == 0));
      if (c.bins[b].count == 0) continue;
      CHECK(c.bins[b].probability == near(expected.at("probability").at(used)));
      CHECK(c.bins[b].frequency == near(expected.at("frequency").at(used)));
      used++;
    }
    CHECK(used == expected.at("used").size());
    CHECK(c.ece == near(expected.at("ece")));
    CHECK(c.brier == near(expected.at("brier")));
    if (p.classes == 2) CHECK(c.brier == near(golden.at("brier_score_loss")));
  }
}

TEST_CASE("calibration of nothing, of NaN, and of wrong use") {
  CHECK(std::isnan(calibration(Predictions(2), 1).ece));
  CHECK(std::isnan(calibration(Predictions(2), 1).brier));
  CHECK(calibration(Predictions(2), 1).bins.size() == 10);
  Predictions bad(2);
  const float p[] = {NAN, NAN};
  bad.add(0, p, 0);
  CHECK(calibration(bad, 1).bins.empty());
  CHECK(std::isnan(calibration(bad, 1).ece));
  CHECK_THROWS_AS(calibration(Predictions(2), -1), fulmar::Error);
  CHECK_THROWS_AS(calibration(Predictions(3), 3), fulmar::Error);
  CHECK_THROWS_AS(calibration(Predictions(3), -1, 0), fulmar::Error);
}
