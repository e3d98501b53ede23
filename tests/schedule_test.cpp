#include "model/schedule.h"

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "tests/support/paths.h"

using fulmar::model::CosineRestarts;
using fulmar::model::OneCycle;
using fulmar::model::WarmupCosine;

namespace {

nlohmann::json goldens() {
  std::ifstream file(fulmar::test::golden("schedule_torch.json"));
  return nlohmann::json::parse(file);
}

doctest::Approx near(double value) { return doctest::Approx(value).epsilon(1e-12); }

}  // namespace

TEST_CASE("one-cycle rates are PyTorch's") {
  const nlohmann::json all = goldens();
  for (const auto& golden : all.at("one_cycle")) {
    const OneCycle schedule{golden.at("max_rate"), golden.at("steps"), golden.at("warmup_share"),
                            golden.at("start_divisor"), golden.at("end_divisor")};
    CAPTURE(schedule.steps);
    for (int64_t step = 0; step < schedule.steps; step++)
      CHECK(schedule.rate(step) == near(golden.at("rates").at(static_cast<size_t>(step))));
    CHECK(schedule.rate(schedule.steps + 5) == schedule.rate(schedule.steps - 1));
  }
}

TEST_CASE("a one-cycle schedule of very few steps has rates") {
  const OneCycle one{1, 1, 0.3, 25, 1e4}, two{1, 2, 0.5, 25, 1e4}, all_up{1, 3, 1, 25, 1e4};
  CHECK(one.rate(0) == near(1 / 25e4));
  CHECK(two.rate(0) == near(1));
  CHECK(two.rate(1) == near(1 / 25e4));
  CHECK(all_up.rate(0) == near(1.0 / 25));
  CHECK(all_up.rate(2) == near(1));
}

TEST_CASE("cosine rates are PyTorch's, after a linear warm-up") {
  const nlohmann::json all = goldens();
  for (const auto& golden : all.at("cosine")) {
    WarmupCosine schedule{golden.at("max_rate"), golden.at("steps"), 0, golden.at("end_rate")};
    for (int64_t step = 0; step < schedule.steps; step++)
      CHECK(schedule.rate(step) == near(golden.at("rates").at(static_cast<size_t>(step))));
    const int64_t steps = schedule.steps;
    schedule.warmup_steps = 4;
    schedule.steps += 4;
    for (int64_t step = 0; step < 4; step++)
      CHECK(schedule.rate(step) == near(schedule.max_rate * (static_cast<double>(step) + 1) / 4));
    for (int64_t step = 0; step < steps; step++)
      CHECK(schedule.rate(step + 4) == near(golden.at("rates").at(static_cast<size_t>(step))));
  }
  CHECK(WarmupCosine{1, 3, 3, 0}.rate(2) == near(1));
}

TEST_CASE("a cosine with restarts has PyTorch's rates") {
  const nlohmann::json all = goldens();
  for (const auto& golden : all.at("restarts")) {
    const CosineRestarts schedule{golden.at("max_rate"), golden.at("period"), golden.at("factor"),
                                  golden.at("end_rate")};
    for (size_t step = 0; step < golden.at("rates").size(); step++)
      CHECK(schedule.rate(static_cast<int64_t>(step)) == near(golden.at("rates").at(step)));
  }
}

TEST_CASE("schedules that make no sense are refused") {
  CHECK_THROWS_AS((CosineRestarts{1, 0, 1, 0}.rate(0)), fulmar::Error);
  CHECK_THROWS_AS((CosineRestarts{1, 5, 0, 0}.rate(0)), fulmar::Error);
  CHECK_THROWS_AS((OneCycle{1, 0, 0.3, 25, 1e4}.rate(0)), fulmar::Error);
  CHECK_THROWS_AS((OneCycle{1, 9, 1.5, 25, 1e4}.rate(0)), fulmar::Error);
  CHECK_THROWS_AS((WarmupCosine{1, 0, 0, 0}.rate(0)), fulmar::Error);
  CHECK_THROWS_AS((WarmupCosine{1, 3, 4, 0}.rate(0)), fulmar::Error);
}
