#include "engine/recompute.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/fuse/fuse.h"
#include "engine/network.h"
#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/plan.h"
#include "engine/session.h"
#include "kernels/step_state.h"
#include "model/polar_low.h"
#include "tests/support/array.h"
#include "tests/support/count_ops.h"
#include "tests/support/random_tape.h"

namespace fulmar::test {
namespace {

// A training step of a polar-low network.
struct Step {
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  Val loss, gradients;
  std::vector<Val> outputs;

  Step(Device& device, bool fuses) {
    const Val input = ops::input(*tape, "x", {{2, 160, 144, 3}});
    const Val labels = ops::input(*tape, "label", {{2, 1, 1, 1}, Role::index, DType::i32});
    model::PolarLowOptions network;
    network.widths = {8, 12, 16};
    const Val logits = record(model::polar_low(network), *tape, input, {Mode::train});
    loss = ops::softmax_cross_entropy(*tape, logits, labels).mean;
    if (fuses) {
      const Rewritten fused = fuse(*tape, device, std::array{input, labels, loss});
      tape = fused.tape;
      loss = fused.now(loss);
    }
    const Model model(device, *tape, 1);
    gradients = joined_gradients(*tape, model, loss);
    record_update(*tape, model, AdamW{}, gradients);
    outputs = {loss, gradients};
  }
  void recompute(Device& device) {
    const Rewritten after = fulmar::recompute(*tape, outputs, device);
    tape = after.tape;
    for (Val* v : {&outputs[0], &outputs[1]}) *v = after.now(*v);
  }
};

// Loss and gradient of each of three steps, and the weights behind them.
std::vector<std::vector<double>> trained(Context& context, Device& device, const Step& step) {
  Model model(device, *step.tape, 1);
  Session session(context, device, step.tape, step.outputs, &model);
  const Val x = step.tape->find("x");
  session.set(x, std::span<const double>(random_reals(step.tape->shape(x), 7).values));
  session.set(step.tape->find("label"), std::array<int32_t, 2>{1, 0});
  std::vector<std::vector<double>> all;
  for (uint64_t s = 1; s <= 3; s++) {
    StepState state;
    state.step = static_cast<int64_t>(s);
    state.draw = s;  // of dropout's mask
    state.learning_rate = 1e-2;
    model.set_step_state(state);
    session.run();
    for (const Val y : step.outputs) all.push_back(session.read(y));
  }
  for (const Model::Parameter& p : model.parameters()) all.push_back(model.read(p.name));
  return all;
}

// How often each op runs at most, by a tape of which each node is one run.
int most_runs(const Tape& before, const Tape& after) {
  std::map<const Op*, int> runs, once;
  for (int n = 0; n < before.size(); n++) once[before.node(n).op.get()]++;
  for (int n = 0; n < after.size(); n++) runs[after.node(n).op.get()]++;
  int most = 0;
  for (const auto& [op, count] : runs) most = std::max(most, (count - 1) / once.at(op) + 1);
  return most;
}

double arena_of(const Tape& tape, std::span<const Val> outputs, Device& device) {
  return static_cast<double>(make_plan(tape, outputs, device).arena_bytes);
}

TEST_CASE("a step that recomputes gives the same bits in less memory") {
  Context context;
  for (const std::string name : {"cpu", "reference"})
    for (const bool fuses : {false, true}) {
      CAPTURE(name);
      CAPTURE(fuses);
      Device& device = context.device(name);
      const Step kept(device, fuses);
      Step again = kept;
      again.recompute(device);
      CHECK(most_runs(*kept.tape, *again.tape) == 2);
      // Fused ops leave little to drop: the first block's gradient needs nearly as much by itself.
      const bool fused = fuses && name == "cpu";
      CHECK(arena_of(*again.tape, again.outputs, device) <
            (fused ? 0.96 : 0.7) * arena_of(*kept.tape, kept.outputs, device));
      CHECK(trained(context, device, again) == trained(context, device, kept));
    }
}

TEST_CASE("random tapes: what is recomputed has the bits of what was kept") {
  Context context;
  Device& device = context.device("reference");
  double before = 0, after = 0;
  int changed = 0;
  for (uint64_t seed = 0; seed < 500; seed++) {
    CAPTURE(seed);
    const RandomTape r(seed);
    const Rewritten again = recompute(*r.tape, r.outputs, device);
    std::vector<Val> outputs;
    for (const Val y : r.outputs) outputs.push_back(again.now(y));
    const auto results = [&](const std::shared_ptr<Tape>& tape, const std::vector<Val>& asked,
                             const auto& now) {
      Model model(device, *tape, std::nullopt);
      for (const RandomTape::Input& input : r.inputs)
        if (!input.key.empty()) model.write(input.key, input.values);
      Session session(context, device, tape, asked, &model);
      const std::vector<int>& leaves = session.plan().leaves;
      StepState state;
      state.seed = 5, state.draw = 3, state.micro_batch = 1;
      for (const RandomTape::Input& input : r.inputs) {
        const Val val = now(input.val);
        if (!input.key.empty() || std::find(leaves.begin(), leaves.end(), val.node) == leaves.end())
          continue;
        if (input.is_step_state)
          session.set_bytes(val, &state, sizeof state);
        else
          session.set(val, std::span<const double>(input.values));
      }
      session.run();
      std::vector<std::vector<double>> all;
      for (const Val y : asked) all.push_back(session.read(y));
      for (const RandomTape::Input& input : r.inputs)
        if (input.updated && std::count(leaves.begin(), leaves.end(), now(input.val).node) > 0)
          all.push_back(session.read(now(input.val)));
      return all;
    };
    const auto kept = results(r.tape, r.outputs, [](Val v) { return v; });
    const auto recomputed = results(again.tape, outputs, [&](Val v) { return again.now(v); });
    REQUIRE(recomputed.size() == kept.size());
    for (size_t i = 0; i < kept.size(); i++) {
      REQUIRE(recomputed[i].size() == kept[i].size());
      CHECK(std::memcmp(recomputed[i].data(), kept[i].data(), 8 * kept[i].size()) == 0);
    }
    const Plan as_was = make_plan(*r.tape, r.outputs, device);
    const Plan as_is = make_plan(*again.tape, outputs, device);
    CHECK(as_is.arena_bytes <= as_was.arena_bytes);
    changed += as_is.steps.size() > as_was.steps.size();
    before += static_cast<double>(as_was.arena_bytes);
    after += static_cast<double>(as_is.arena_bytes);
  }
  CHECK(changed > 50);
  CHECK(after < 0.97 * before);
}

// A value that lies idle while others need most memory.
struct Idle {
  Tape tape;
  Val early, sum;

  // Its operand, `leaf`, may be changed meanwhile, by its own name or another.
  explicit Idle(const std::string& leaf, const std::string& changed = {}) {
    const ValueInfo info{{1024}, Role::statistic};
    const Val x = ops::input(tape, "x", info);
    const Val state = leaf == "w" ? ops::parameter(tape, leaf, info.shape, {}, true)
                                  : ops::buffer(tape, leaf, info);
    const Val written = changed == leaf ? state : Val{};
    early = ops::sub(tape, ops::as_role(tape, state, Role::statistic), x);
    tape.name(early, "early");
    const Val first = ops::sum_all(tape, early);
    const Val wide = ops::exp(tape, ops::broadcast(tape, x, {2, 1024}));
    sum = ops::add(tape, first, ops::sum_all(tape, wide));
    if (!changed.empty())
      ops::store(tape, ops::input(tape, "new", info),
                 written ? written : ops::buffer(tape, changed, info));
    sum = ops::add(tape, sum, ops::sum_all(tape, ops::square(tape, early)));
  }
};

TEST_CASE("an idle value is computed again, but not behind an update of what it reads") {
  Context context;
  Device& device = context.device("reference");
  const Idle idle("w"), of_buffer("/a", "/a"), of_all("w", "/parameters"), beside("/a", "/b");
  const Rewritten again = recompute(idle.tape, std::array{idle.sum}, device);
  CHECK(count_ops(*again.tape, "sub") == 2);
  CHECK(again.tape->find("early") == again.now(idle.early));
  for (const Idle* changed : {&of_buffer, &of_all})
    CHECK(count_ops(*recompute(changed->tape, std::array{changed->sum}, device).tape, "sub") == 1);
  CHECK(count_ops(*recompute(beside.tape, std::array{beside.sum}, device).tape, "sub") == 2);
}

TEST_CASE("where nothing is gained the tape stays as it was") {
  Context context;
  Device& device = context.device("reference");
  Tape inputs;
  const Val x = ops::input(inputs, "x", {{3}});
  CHECK(recompute(inputs, std::array{x}, device).tape->size() == 1);
}

TEST_CASE("an output is kept") {
  Context context;
  Device& device = context.device("reference");
  const Idle idle("/a");
  const Rewritten again = recompute(idle.tape, std::array{idle.sum, idle.early}, device);
  CHECK(again.tape->size() == idle.tape.size());
}

}  // namespace
}  // namespace fulmar::test
