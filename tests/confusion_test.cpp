#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "model/confusion.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"

// Metrics of pixels from counts, against scikit-learn's from the pixels themselves.

using namespace fulmar;
using fulmar::model::Confusion;
using Json = nlohmann::json;

namespace {

Confusion of(const Json& golden) {
  return {golden.at("classes").get<size_t>(), golden.at("confusion").get<std::vector<double>>()};
}

}  // namespace

TEST_CASE("metrics of pixels equal scikit-learn's") {
  std::ifstream file(test::golden("pixels_sklearn.json"));
  const Json all = Json::parse(file);
  for (const Json& golden : all.at("cases")) {
    const Confusion c = of(golden);
    const auto equal = [&](double value, const Json& expected) {
      CHECK(std::abs(value - expected.get<double>()) <= 1e-12);
    };
    equal(c.accuracy(), golden["accuracy"]);
    equal(c.macro_f1(), golden["macro_f1"]);
    equal(c.weighted_f1(), golden["weighted_f1"]);
    equal(c.mean_iou(), golden["miou"]);
    equal(c.r2(), golden["r2"]);
    equal(c.rmse(), golden["rmse"]);
    for (size_t i = 0; i < golden["present"].size(); i++)
      equal(c.iou(golden["present"][i].get<size_t>()), golden["iou"][i]);
  }
}

TEST_CASE("counts add up, and what no pixel defines is NaN") {
  Confusion c(3);
  CHECK(c.pixels() == 0);
  for (const auto& [name, value] : c.metrics()) CHECK(std::isnan(value));
  CHECK(std::isnan(c.r2()));
  CHECK(std::isnan(c.rmse()));
  // Beyond what a float counts.
  const double many = 1e15;
  c.add(Confusion(3, {many, 1, 0, 0, many, 0, 0, 0, 0}));
  c.add(Confusion(3, {1, 0, 0, 0, 0, 0, 0, 0, 0}));
  CHECK(c.at(0, 0) == 1'000'000'000'000'001);
  CHECK(c.labelled(0) == 1'000'000'000'000'002);
  CHECK(c.called(1) == 1'000'000'000'000'001);
  CHECK(std::isnan(c.iou(2)));
  CHECK(std::isnan(c.recall(2)));
}

TEST_CASE("a constant mean has an R2 of 0, a perfect call 1") {
  // Labels 0 and 2, called 1 throughout.
  CHECK(Confusion(3, {0, 5, 0, 0, 0, 0, 0, 5, 0}).r2() == 0);
  CHECK(Confusion(3, {5, 0, 0, 0, 0, 0, 0, 0, 5}).r2() == 1);
  CHECK(Confusion(3, {5, 0, 0, 0, 0, 0, 0, 0, 5}).rmse() == 0);
}

TEST_CASE("what are no counts is refused") {
  using test::error_of;
  CHECK(error_of(ErrorKind::usage, [] {
          Confusion(2, {1, 2, 3});
        }) == "3 counts of pixels for 2 classes");
  CHECK(error_of(ErrorKind::usage, [] { Confusion(1, {0.5}); }) ==
        "a count of pixels is no whole number");
  CHECK(error_of(ErrorKind::usage, [] { Confusion(1, {-1}); }) ==
        "a count of pixels is no whole number");
  CHECK(error_of(ErrorKind::usage, [] { Confusion(1).add(Confusion(2)); }) ==
        "counts of pixels of other classes can't be added");
}
