#include "engine/plan.h"

#include <doctest/doctest.h>

#include "engine/context.h"
#include "engine/model.h"
#include "engine/network.h"
#include "engine/ops.h"
#include "engine/optimizer.h"
#include "model/polar_low.h"

using namespace fulmar;

namespace {

struct Recorded {
  Tape tape;
  Val loss;
  Val gradients;
};

// The whole training step of the polar-low network.
void record_step(Recorded& r, Device& device, const Shape& shape) {
  const Val x = ops::input(r.tape, "x", {shape});
  const Val labels =
      ops::input(r.tape, "label", {{shape.images(), 1, 1, 1}, Role::index, DType::i32});
  const Val logits = record(model::polar_low(), r.tape, x, {Mode::train});
  r.loss = ops::softmax_cross_entropy(r.tape, logits, labels).mean;
  Model model(device, r.tape, 1);
  r.gradients = joined_gradients(r.tape, model, r.loss);
  record_update(r.tape, model, AdamW{}, r.gradients);
}

int step_of(const Plan& plan, int node) {
  for (size_t s = 0; s < plan.steps.size(); s++)
    if (plan.steps[s].node == node) return static_cast<int>(s);
  return -1;
}

}  // namespace

TEST_CASE("live values of a training step never overlap") {
  Context context;
  Recorded r;
  record_step(r, context.device("reference"), {2, 64, 64, 3});
  const Plan p = make_plan(r.tape, std::array{r.loss}, context.device("reference"));
  CHECK(overlap_in(p) == "");
  const Plan apart =
      make_plan(r.tape, std::array{r.loss}, context.device("reference"), {.reuse = false});
  CHECK(p.arena_bytes < apart.arena_bytes / 2);
}

// The first cache of Zen processors takes addresses a multiple of 2^28 bytes apart for one.
TEST_CASE("large values of one shape don't lie a multiple of 2^28 bytes apart") {
  Context context;
  Recorded r;
  record_step(r, context.device("reference"), {16, 1024, 1024, 3});
  const Plan p = make_plan(r.tape, std::array{r.loss}, context.device("cpu"));
  constexpr size_t alike = size_t{1} << 28, page = 4096;
  int met = 0;
  for (const Buffer& a : p.buffers)
    for (const Buffer& b : p.buffers) {
      const bool together = a.first <= b.last && b.first <= a.last;
      if (a.bytes < alike / 4 || a.bytes != b.bytes || a.offset >= b.offset || !together) continue;
      met++;
      CHECK((b.offset - a.offset) % alike >= page);
    }
  CHECK(met > 10);
}

TEST_CASE("the overlap check sees an overlap") {
  Plan p;
  p.buffers = {{64, 0, 0, 3}, {64, 0, 4, 5}};
  CHECK(overlap_in(p) == "");
  p.buffers[1].first = 3;
  CHECK(overlap_in(p) == "buffers 0 and 1 overlap");
}

TEST_CASE("gradients are written straight into the joined buffer") {
  Context context;
  Recorded r;
  record_step(r, context.device("reference"), {2, 64, 64, 3});
  const Plan p = make_plan(r.tape, std::array{r.loss}, context.device("reference"));
  const int whole = p.allocation(r.gradients).buffer;
  for (Val part : r.tape.node(r.gradients.node).inputs) CHECK(p.allocation(part).buffer == whole);
}

TEST_CASE("what nothing needs is not run, and state updates are") {
  Context context;
  Tape tape;
  const Val x = ops::input(tape, "x", {{1, 4, 4, 2}});
  const Val dead = ops::square(tape, x);
  const Val y = ops::relu(tape, x);
  const Val g = ops::parameter(tape, "gamma", {2}, {}, false),
            b = ops::parameter(tape, "beta", {2}, {}, false);
  const ops::RunningStatistics running{ops::statistic(tape, "mean", {2}, 0),
                                       ops::statistic(tape, "var", {2}, 1)};
  const Val normed = ops::batch_norm_train(tape, x, g, b, running, 1e-3);
  const Plan p = make_plan(tape, std::array{y}, context.device("reference"));
  CHECK(step_of(p, dead.node) == -1);
  CHECK(step_of(p, normed.node) == -1);
  CHECK(step_of(p, y.node) >= 0);
  CHECK(step_of(p, tape.size() - 1) >= 0);  // update_running
}

TEST_CASE("a pointwise op runs in place where its input dies, and only there") {
  Context context;
  Tape tape;
  const Val x = ops::input(tape, "x", {{1, 4, 4, 2}});
  const Val a = ops::square(tape, x), b = ops::exp(tape, a), c = ops::tanh(tape, b);
  const Plan p = make_plan(tape, std::array{c}, context.device("reference"));
  CHECK(p.allocation(a).buffer == p.allocation(c).buffer);
  CHECK(p.allocation(x).buffer == -1);  // an input is never overwritten
  const Plan kept = make_plan(tape, std::array{b, c}, context.device("reference"));
  CHECK(kept.allocation(b).buffer != kept.allocation(c).buffer);
}

TEST_CASE("what depends on weights and constants alone runs once, and its values are kept") {
  Context context;
  Device& device = context.device("reference");
  Tape tape;
  const Val x = ops::input(tape, "x", {{1, 1, 1, 8}});
  const Val w = ops::parameter(tape, "w", {1, 1, 1, 8}, {}, true);
  const Val y = ops::add(tape, ops::square(tape, x), x);
  const Val between = ops::exp(tape, w), folded = ops::tanh(tape, between);
  const Val result = ops::mul(tape, y, ops::as_role(tape, folded, Role::activation));
  const Plan p = make_plan(tape, std::array{result, between}, device);
  CHECK(p.once == 3);
  CHECK(step_of(p, between.node) == 0);
  CHECK(step_of(p, y.node) >= p.once);
  const auto kept = [&](const Plan& plan, Val v) {
    return plan.buffers[static_cast<size_t>(plan.allocation(v).buffer)].kept;
  };
  CHECK(kept(p, between));  // an output
  CHECK(!kept(p, folded));  // read within the first steps only
  CHECK(!kept(p, y));
  CHECK(p.kept_bytes == 2 * 64);

  // Joined with what each run computes, a kept value stays out of the arena.
  const Val flat = ops::join(tape, std::array{folded, y}, std::array<int64_t, 2>{0, 8}, 16);
  const Plan joined = make_plan(tape, std::array{flat}, device);
  CHECK(joined.once == 2);
  CHECK(kept(joined, folded));
  CHECK(!kept(joined, flat));

  // A tape that updates state may change its weights while it runs.
  ops::store(tape, x, ops::buffer(tape, "/copy", tape.info(x)));
  CHECK(make_plan(tape, std::array{result}, device).once == 0);
}

TEST_CASE("an operand that repeats is not overwritten, one of as many elements is") {
  Context context;
  Tape tape;
  const Val x = ops::input(tape, "x", {{3}}), s = ops::input(tape, "s", {{1}});
  // Both take 64 bytes of the arena.
  const Val one = ops::square(tape, s), y = ops::mul(tape, x, one);
  const Val three = ops::square(tape, x), z = ops::mul(tape, s, three);
  const Plan p = make_plan(tape, std::array{y, z}, context.device("reference"));
  CHECK(p.allocation(one).buffer != p.allocation(y).buffer);
  CHECK(p.allocation(three).buffer == p.allocation(z).buffer);
}
