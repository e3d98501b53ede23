#pragma once

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "model/metrics.h"
#include "tests/support/paths.h"

namespace fulmar::test {

using Json = nlohmann::json;

// Predictions, and what scikit-learn makes of them.
inline Json sklearn_cases() {
  std::ifstream file(golden("metrics_sklearn.json"));
  return Json::parse(file).at("cases");
}

inline model::Predictions predictions_of(const Json& golden) {
  model::Predictions predictions(golden.at("classes"));
  const auto probabilities = golden.at("probabilities").get<std::vector<float>>();
  const auto labels = golden.at("labels").get<std::vector<int64_t>>();
  const size_t classes = static_cast<size_t>(predictions.classes);
  for (size_t i = 0; i < labels.size(); i++)
    predictions.add(labels[i], std::span(probabilities).subspan(i * classes, classes), 0.25);
  return predictions;
}

inline doctest::Approx near(const Json& value) {
  return doctest::Approx(value.get<double>()).epsilon(1e-12);
}

}  // namespace fulmar::test
