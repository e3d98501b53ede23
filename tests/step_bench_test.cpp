#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "bench/step/floor.h"
#include "bench/step/step_work.h"
#include "engine/context.h"
#include "engine/ops.h"
#include "kernels/error.h"

// The benchmark of the training step: the floor that it prints, and that its work is a step.

using namespace fulmar;
using namespace fulmar::bench;

namespace {

// The loss is the same fused and unfused, and steps make it smaller.
void check_step(Context& context, Device& device, StepOptions options) {
  options.fuse = true;
  StepWork fused(context, device, options);
  options.fuse = false;
  StepWork unfused(context, device, options);
  const double first = fused.run();
  CHECK(unfused.run() == doctest::Approx(first).epsilon(1e-4));
  CHECK(run_round(fused, 5).loss < first);
}

}  // namespace

TEST_CASE("floor: bytes by the copy of that size or operations, whichever takes longer") {
  Context context;
  Device& device = context.device("cpu");
  Tape tape;
  const Val x = ops::input(tape, "x", {{1, 8, 8, 4}});  // 1024 bytes
  const Val w = ops::parameter(tape, "w", {1, 1, 4, 8}, {}, true);
  Val twice, y;
  {
    const auto scope = tape.scope("block 3");
    twice = ops::add(tape, x, x);
    y = ops::conv2d(tape, twice, w, Val{}, {});
  }
  const Plan plan = make_plan(tape, std::array{y}, device);
  REQUIRE(plan.steps.size() == 2);
  const Need sum = need_of(tape, plan, 0, device), product = need_of(tape, plan, 1, device);
  CHECK(sum.bytes == 1024 + 1024);  // x once
  CHECK(sum.flops == 0);
  CHECK(product.bytes == 1024 + 128 + 2048);
  CHECK(product.flops == 2 * 64 * 4 * 8);

  // 2048 bytes lie between 1024 and 4096 by the logarithm: 2 GB/s.
  const CopyCurve copies{{{1024, 1}, {4096, 3}}};
  CHECK(copies.gbytes(100) == 1);
  CHECK(copies.gbytes(1e9) == 3);
  CHECK(copies.gbytes(2048) == doctest::Approx(2));
  CHECK(floor_seconds(sum, copies, 2) == doctest::Approx(1024e-9));
  CHECK(floor_seconds(product, copies, 2) == doctest::Approx(2048e-9));  // arithmetic
  const double copied = 3200 / (1 + std::log2(3200.0 / 1024)) * 1e-9;
  CHECK(floor_seconds(product, copies, 100) == doctest::Approx(copied));

  const std::vector<TimedStep> steps = timed_steps(tape, plan, device, {4e-6, 5e-6}, copies, 2);
  CHECK(floor_seconds(steps) == doctest::Approx(3072e-9));
  const std::vector<Stage> blocks = by_block(steps);
  REQUIRE(blocks.size() == 1);
  CHECK(blocks[0].name == "block 3");
  CHECK(blocks[0].steps == 2);
  CHECK(blocks[0].seconds == doctest::Approx(9e-6));
  CHECK(blocks[0].floor == doctest::Approx(3072e-9));
  CHECK(by_op(steps)[0].name == "conv2d");  // the longest
  const std::vector<Stage> above = furthest_above_floor(steps, 1);
  REQUIRE(above.size() == 1);
  CHECK(above[0].name == "add, block 3");  // 2.98 us above; the convolution 2.95
}

TEST_CASE("floor: of a picture only the part that is cut out counts, nothing that runs once") {
  Context context;
  Device& device = context.device("cpu");
  StepOptions options;
  options.noise = {2, 96, 64};
  options.inference = true;
  StepWork work(context, device, options);
  work.run();
  const Session& session = work.session();
  const std::vector<TimedStep> steps =
      timed_steps(session.tape(), session.plan(), device,
                  std::vector<double>(session.plan().steps.size(), 1e-6), {{{1, 1}, {2, 1}}}, 1);
  CHECK(steps.size() == session.plan().steps.size() - static_cast<size_t>(session.plan().once));
  for (const TimedStep& step : steps)
    if (step.op == "warp")
      CHECK(step.need.bytes == 2 * 64 * 64 * 3 * (1 + 4) + 2 * sizeof(WarpSample));
}

TEST_CASE("step: formula weights give the same loss fused and unfused, and it falls") {
  Context context;
  Device& device = context.device("cpu");
  StepOptions options;
  options.noise = {2, 96, 64};
  options.widths = {4, 8, 8};
  options.check = true;
  StepWork fused(context, device, options);
  options.fuse = false;
  StepWork unfused(context, device, options);
  const double first = fused.run();
  CHECK(unfused.run() == doctest::Approx(first).epsilon(1e-4));
  const Round round = run_round(fused, 5);
  CHECK(round.seconds.size() == 5);
  CHECK(round.loss < first);
}

TEST_CASE("step: a residual network's loss is the same fused and unfused, and it falls") {
  Context context;
  Device& device = context.device("cpu");
  StepOptions options;
  options.noise = {4, 64, 64};
  options.network = "resnet-50";
  options.widths = {4, 6, 8, 12};
  options.check = true;
  check_step(context, device, options);
  options.network = "resnet-51";
  CHECK_THROWS_AS(StepWork(context, device, options), Error);
}

TEST_CASE("step: a network of pixels gives the same loss and logits fused and unfused") {
  Context context;
  Device& device = context.device("cpu");
  StepOptions options;
  options.noise = {2, 64, 64, 5};
  options.network = "unet";
  options.widths = {4, 6};
  options.check = true;
  check_step(context, device, options);

  options.inference = true;
  options.noise = {1, 128, 128, 5};
  options.fuse = false;
  StepWork plain(context, device, options);
  options.fuse = true;
  StepWork folded(context, device, options);
  plain.run();
  folded.run();
  const std::vector<double> logits = folded.logits(), expected = plain.logits();
  REQUIRE(logits.size() == 4 * (12 + 7 + 8));  // of four pixels
  for (size_t i = 0; i < logits.size(); i++)
    CHECK(logits[i] == doctest::Approx(expected[i]).epsilon(1e-4));
}

TEST_CASE("step: a crop larger than the pictures is an error") {
  Context context;
  StepOptions options;
  options.noise = {1, 64, 96};
  CHECK_THROWS_AS(StepWork(context, context.device("cpu"), options), Error);
}
