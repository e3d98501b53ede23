#include "model/callbacks.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/error.h"
#include "tests/support/paths.h"

using fulmar::model::BestEpoch;
using fulmar::model::EarlyStopping;
using fulmar::model::Goal;
using fulmar::model::ReduceOnPlateau;

namespace {

nlohmann::json cases() {
  std::ifstream file(fulmar::test::golden("callbacks_keras.json"));
  return nlohmann::json::parse(file).at("cases");
}

std::vector<double> series_of(const nlohmann::json& golden) {
  std::vector<double> series;
  for (const auto& value : golden.at("series"))
    series.push_back(value.is_null() ? NAN : value.get<double>());
  return series;
}

Goal goal_of(const nlohmann::json& options) {
  return options.at("mode") == "min" ? Goal::lowest : Goal::highest;
}

}  // namespace

TEST_CASE("the learning rate is reduced where Keras does, with an interruption at any epoch") {
  for (const auto& golden : cases())
    for (const auto& how : golden.at("reduce")) {
      CAPTURE(golden.at("name").get<std::string>());
      CAPTURE(how.dump());
      const std::vector<double> series = series_of(golden);
      const ReduceOnPlateau::Options options{how.at("factor"),    how.at("patience"),
                                             how.at("min_delta"), how.at("cooldown"),
                                             how.at("min_lr"),    goal_of(how)};
      ReduceOnPlateau plain(how.at("rate"), options), resumed(how.at("rate"), options);
      for (size_t epoch = 0; epoch < series.size(); epoch++) {
        const double before = plain.rate();
        const bool reduced = plain.epoch_ended(series[epoch]);
        CHECK(plain.rate() == how.at("rates").at(epoch).get<double>());
        CHECK(reduced == (plain.rate() != before));
        ReduceOnPlateau next(7.0, options);
        next.restore(resumed.state());
        next.epoch_ended(series[epoch]);
        resumed = next;
        CHECK(resumed.state() == plain.state());
      }
    }
}

TEST_CASE("training stops where Keras stops it, with an interruption at any epoch") {
  for (const auto& golden : cases())
    for (const auto& how : golden.at("stop")) {
      CAPTURE(golden.at("name").get<std::string>());
      CAPTURE(how.dump());
      const EarlyStopping::Options options{how.at("patience"), how.at("min_delta"), goal_of(how)};
      EarlyStopping plain(options), resumed(options);
      size_t stopped_after = 0;
      const std::vector<double> series = series_of(golden);
      for (size_t epoch = 0; epoch < series.size() && stopped_after == 0; epoch++) {
        const bool stop = plain.epoch_ended(series[epoch]);
        EarlyStopping next(options);
        next.restore(resumed.state());
        CHECK(next.epoch_ended(series[epoch]) == stop);
        resumed = next;
        if (stop) stopped_after = epoch + 1;
      }
      CHECK(stopped_after == how.at("stopped_after").get<size_t>());
    }
}

TEST_CASE("the best epoch is the one that Keras would have saved last") {
  for (const auto& golden : cases())
    for (const auto& how : golden.at("best")) {
      CAPTURE(golden.at("name").get<std::string>());
      BestEpoch best(goal_of(how));
      std::vector<int64_t> saved;
      const std::vector<double> series = series_of(golden);
      for (size_t i = 0; i < series.size(); i++) {
        const auto epoch = static_cast<int64_t>(i + 1);
        BestEpoch next(goal_of(how));
        next.restore(best.state());
        best = next;
        if (best.epoch_ended(epoch, series[i])) saved.push_back(epoch);
      }
      CHECK(saved == how.at("saved").get<std::vector<int64_t>>());
      CHECK(best.epoch() == saved.back());
      CHECK(best.best() == series[static_cast<size_t>(saved.back() - 1)]);
    }
}

TEST_CASE("without a number the first epoch is the best, until there is one") {
  BestEpoch best(Goal::highest);
  CHECK(best.epoch() == 0);
  CHECK(best.epoch_ended(1, NAN));
  CHECK_FALSE(best.epoch_ended(2, NAN));
  CHECK(best.epoch_ended(3, 0.0));
  CHECK_FALSE(best.epoch_ended(4, 0.0));
  CHECK_FALSE(best.epoch_ended(5, NAN));
  CHECK(best.epoch() == 3);
}

TEST_CASE("states and options that make no sense are refused, and leave what was") {
  ReduceOnPlateau reduce(1.0, {});
  const std::string before = reduce.state();
  for (const char* state :
       {"", "{}", "[1]", R"({"rate":1,"best":2,"waited":0,"cooldown_left":0})"}) {
    CHECK_THROWS_AS(reduce.restore(state), fulmar::Error);
    CHECK_THROWS_AS(EarlyStopping({}).restore(state), fulmar::Error);
    CHECK_THROWS_AS(BestEpoch(Goal::lowest).restore(state), fulmar::Error);
  }
  CHECK(reduce.state() == before);
  for (const double factor : {0.0, 1.0, -0.5, double(NAN)}) {
    ReduceOnPlateau::Options options;
    options.factor = factor;
    CHECK_THROWS_AS(ReduceOnPlateau(1.0, options), fulmar::Error);
  }
}
