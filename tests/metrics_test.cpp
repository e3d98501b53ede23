#include "model/metrics.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/error.h"
#include "tests/support/sklearn_cases.h"

using namespace fulmar::model;
using namespace fulmar::test;

namespace {

void check_averages(const Averages& averages, const Json& golden) {
  CHECK(averages.precision == near(golden.at(0)));
  CHECK(averages.recall == near(golden.at(1)));
  CHECK(averages.f1 == near(golden.at(2)));
}

double f1_at(std::span<const float> scores, std::span<const uint8_t> positive, double threshold) {
  int hits = 0, called = 0, positives = 0;
  for (size_t i = 0; i < scores.size(); i++) {
    const bool is_called = scores[i] >= threshold;
    hits += is_called && positive[i];
    called += is_called;
    positives += positive[i];
  }
  return 2.0 * hits / (called + positives);
}

}  // namespace

TEST_CASE("all metrics are scikit-learn's") {
  for (const Json& golden : sklearn_cases()) {
    CAPTURE(golden.at("name").get<std::string>());
    const Predictions predictions = predictions_of(golden);
    const bool binary = predictions.classes == 2;
    const Scores scores = score(predictions, binary ? 1 : -1, golden.at("threshold"));
    CHECK(scores.samples == predictions.size());
    CHECK(scores.loss == doctest::Approx(0.25));
    CHECK(scores.accuracy == near(golden.at("accuracy")));
    CHECK(scores.confusion == golden.at("confusion").get<std::vector<int64_t>>());
    for (size_t k = 0; k < scores.classes.size(); k++) {
      CHECK(scores.classes[k].precision == near(golden.at("precision").at(k)));
      CHECK(scores.classes[k].recall == near(golden.at("recall").at(k)));
      CHECK(scores.classes[k].f1 == near(golden.at("f1").at(k)));
      CHECK(scores.classes[k].support == golden.at("support").at(k).get<int64_t>());
      if (binary) continue;
      const Json& areas = golden.at("areas").at(k);
      CHECK(std::isnan(scores.classes[k].roc_auc) == areas.at(0).is_null());
      if (areas.at(0).is_null()) continue;
      CHECK(scores.classes[k].roc_auc == near(areas.at(0)));
      CHECK(scores.classes[k].pr_auc == near(areas.at(1)));
    }
    check_averages(scores.macro, golden.at("macro"));
    check_averages(scores.weighted, golden.at("weighted"));
    CHECK(scores.roc_auc == near(golden.at("roc_auc")));
    CHECK(scores.pr_auc == near(golden.at("pr_auc")));
    if (binary) {
      CHECK(scores.f1 == scores.classes[1].f1);
      CHECK(scores.roc_auc == scores.classes[1].roc_auc);
      CHECK(scores.pr_auc == scores.classes[1].pr_auc);
      CHECK(scores.false_positives == scores.confusion[1]);
      CHECK(scores.false_negatives == scores.confusion[2]);
      const std::vector<float> own = predictions.scores_of(1);
      const std::vector<uint8_t> truth = predictions.truth_of(1);
      const BestThreshold best = best_f1_threshold(own, truth);
      CHECK(best.f1 == near(golden.at("best_f1")));
      CHECK(f1_at(own, truth, best.threshold) == near(golden.at("best_f1")));
    } else {
      CHECK(std::isnan(scores.f1));
    }
  }
}

TEST_CASE("either class of two can be the positive one") {
  Predictions predictions(2);
  const float sure_first[] = {0.9f, 0.1f}, sure_second[] = {0.2f, 0.8f};
  predictions.add(0, sure_first, 0);
  predictions.add(0, sure_first, 0);
  predictions.add(0, sure_second, 0);
  predictions.add(1, sure_second, 0);
  const Scores first = score(predictions, 0), second = score(predictions, 1);
  CHECK(first.confusion == second.confusion);
  CHECK(first.f1 == doctest::Approx(0.8));
  CHECK(second.f1 == doctest::Approx(2.0 / 3));
  CHECK(first.false_negatives == 1);
  CHECK(first.false_positives == 0);
  CHECK(second.false_positives == 1);
  CHECK(first.roc_auc == doctest::Approx(second.roc_auc));
  CHECK(score(predictions, 1, 0.81).false_positives == 0);
  CHECK(score(predictions, 1, 0.81).false_negatives == 1);
}

TEST_CASE("decisions: at the threshold positive; the first of equals") {
  const float even[] = {0.5f, 0.5f}, three[] = {0.2f, 0.4f, 0.4f};
  CHECK(decide(even, 1, 0.5) == 1);
  CHECK(decide(even, 0, 0.5) == 0);
  CHECK(decide(even, 1, 0.6) == 0);
  CHECK(decide(three, -1, 0.5) == 1);
}

TEST_CASE("areas by hand, with ties") {
  const uint8_t truth[] = {1, 0, 1, 0};
  const float tied[] = {0.5f, 0.5f, 0.5f, 0.5f}, sorted[] = {0.9f, 0.8f, 0.7f, 0.6f};
  CHECK(roc_auc(tied, truth) == 0.5);
  CHECK(average_precision(tied, truth) == 0.5);
  CHECK(roc_auc(sorted, truth) == 0.75);
  CHECK(average_precision(sorted, truth) == doctest::Approx((1 + 2.0 / 3) / 2));
}

TEST_CASE("what is undefined is NaN") {
  const uint8_t none[] = {0, 0}, all[] = {1, 1}, one[] = {0, 1};
  const float scores[] = {0.1f, 0.9f}, bad[] = {0.1f, NAN};
  CHECK(std::isnan(roc_auc(scores, none)));
  CHECK(std::isnan(roc_auc(scores, all)));
  CHECK(std::isnan(roc_auc(bad, one)));
  CHECK(std::isnan(average_precision(scores, none)));
  CHECK(average_precision(scores, all) == 1);
  CHECK(std::isnan(average_precision(bad, one)));
  CHECK(std::isnan(best_f1_threshold(scores, none).f1));
  CHECK(best_f1_threshold(scores, none).threshold == 0.5);
  CHECK(best_f1_threshold(bad, one).threshold == 0.5);
  const Scores empty = score(Predictions(2), 1);
  CHECK(std::isnan(empty.loss));
  CHECK(std::isnan(empty.accuracy));
  CHECK(std::isnan(empty.roc_auc));
  CHECK(empty.f1 == 0);
}

TEST_CASE("the best threshold lies halfway to the next score, nearest to 0.5 among equals") {
  const auto best = [](std::vector<float> scores, std::vector<uint8_t> truth) {
    return best_f1_threshold(scores, truth);
  };
  CHECK(best({0.75f, 0.25f}, {1, 0}).threshold == 0.5);
  CHECK(best({0.75f, 0.25f}, {1, 0}).f1 == 1);
  CHECK(best({0.25f, 0.75f}, {1, 1}).threshold == 0.125);
  // F1 is 2/3 for the first alone and 4/6 for all four: (0.875 + 0.75)/2 is farther than 0.125.
  const BestThreshold tie = best({0.875f, 0.75f, 0.5f, 0.25f}, {1, 0, 0, 1});
  CHECK(tie.f1 == doctest::Approx(2.0 / 3));
  CHECK(tie.threshold == 0.8125);
  // Here it is nearer to call all four positive.
  CHECK(best({1.0f, 0.9375f, 0.875f, 0.5f}, {1, 0, 0, 1}).threshold == 0.25);
  // Of 0.75 and 0.25 the higher.
  const BestThreshold even = best({0.875f, 0.625f, 0.5f, 0.5f, 0.375f, 0.125f}, {1, 0, 0, 0, 1, 0});
  CHECK(even.f1 == doctest::Approx(2.0 / 3));
  CHECK(even.threshold == 0.75);
}

TEST_CASE("the loss is the weighted mean") {
  Predictions predictions(2);
  const float p[] = {0.5f, 0.5f};
  predictions.add(0, p, 1.0, 3);
  predictions.add(1, p, 2.0, 1);
  CHECK(score(predictions, 1).loss == 1.25);
}

TEST_CASE("predictions whose arrays don't fit are refused") {
  Predictions predictions = predictions_of(sklearn_cases().at(0));
  CHECK_NOTHROW(predictions.check());
  predictions.labels.push_back(0);
  CHECK_THROWS_AS(predictions.check(), fulmar::Error);
  Predictions strange(2);
  strange.labels = {2};
  strange.probabilities = {0.5f, 0.5f};
  CHECK_THROWS_AS(strange.check(), fulmar::Error);
}

TEST_CASE("wrong use is refused") {
  Predictions predictions(2);
  const float p[] = {0.5f, 0.3f, 0.2f};
  CHECK_THROWS_AS(predictions.add(0, p, 0), fulmar::Error);
  CHECK_THROWS_AS(predictions.add(2, std::span(p).first(2), 0), fulmar::Error);
  CHECK_THROWS_AS(predictions.add(-1, std::span(p).first(2), 0), fulmar::Error);
  CHECK_THROWS_AS(score(predictions, -1), fulmar::Error);
  CHECK_THROWS_AS(score(predictions, 2), fulmar::Error);
  CHECK_THROWS_AS(score(Predictions(3), 3), fulmar::Error);
  const uint8_t truth[] = {1, 0};
  CHECK_THROWS_AS(roc_auc(p, truth), fulmar::Error);
}
