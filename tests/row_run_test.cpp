#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/fuse/fuse.h"
#include "engine/fuse/row_run.h"
#include "engine/model.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "tests/support/count_ops.h"
#include "tests/support/inference_network.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/slow_build.h"

// Inference fused: batch normalisation in weights, layers in bands of rows; beside the same tape on
// the float64 reference.

namespace fulmar::test {
namespace {

using Kind = RowLayer::Kind;
using ops::RowRun;

// How many runs of so many layers there are.
int runs_of(const Tape& tape, size_t layers) {
  int found = 0;
  for (int n = 0; n < tape.size(); n++)
    if (const auto* run = as<RowRun>(tape.node(n))) found += run->layers.size() == layers;
  return found;
}

struct NamedNetwork {
  std::string name;
  Network network;
  Val output;
  size_t layers;  // of the longest run
};

std::vector<NamedNetwork> networks() {
  std::vector<NamedNetwork> all;
  const auto add = [&](const std::string& name, size_t layers, const auto& build) {
    NamedNetwork n{name, {}, {}, layers};
    n.output = build(n.network);
    all.push_back(std::move(n));
  };
  struct Size {
    Shape x;
    int64_t outputs;
  };
  // A separable convolution alone, and a block: channels that fill no vector, one row, one column,
  // odd extents, several images, few pixels of many channels.
  const Size sizes[] = {
      {{2, 12, 16, 8}, 8},   {{1, 5, 7, 1}, 3},     {{2, 7, 5, 5}, 12},    {{1, 1, 9, 8}, 16},
      {{1, 9, 1, 16}, 8},    {{3, 2, 2, 3}, 5},     {{1, 41, 37, 8}, 8},   {{1, 67, 6, 16}, 24},
      {{2, 33, 34, 24}, 40}, {{1, 6, 140, 8}, 16},  {{2, 4, 4, 40}, 64},   {{2, 8, 8, 130}, 20},
      {{1, 19, 21, 12}, 12}, {{2, 16, 16, 64}, 64}, {{1, 3, 150, 4}, 2},   {{1, 4, 4, 96}, 320},
      {{1, 70, 64, 8}, 8},   {{1, 66, 128, 8}, 16}, {{2, 65, 64, 5}, 7},   {{1, 68, 64, 16}, 8},
      {{1, 130, 66, 3}, 40}, {{1, 64, 192, 4}, 4},  {{1, 96, 65, 20}, 33}, {{1, 4, 4, 40}, 72},
      {{1, 2, 3, 100}, 100}, {{1, 2, 64, 8}, 64},   {{1, 1, 4, 24}, 300}};
  for (const Size& s : sizes) {
    const std::string what = s.x.to_string() + " to " + std::to_string(s.outputs);
    add("separable " + what, 1,
        [&](Network& n) { return n.normalised(n.separable(n.input(s.x), s.outputs)); });
    add("plain separable " + what, 1,
        [&](Network& n) { return n.separable(n.input(s.x), s.outputs); });
    add("block " + what, s.x.height() >= 64 ? 3 : 1,
        [&](Network& n) { return n.block(n.input(s.x), s.outputs); });
    add("block of a sum " + what, s.x.height() >= 64 ? 3 : 1, [&](Network& n) {
      // The skip reads what another run gives.
      const Val u = n.normalised(n.separable(n.input(s.x), s.outputs));
      const Val z = n.normalised(n.separable(n.input(s.x), s.outputs));
      return n.pool_skip(z, u);
    });
  }
  for (const int64_t side : {128, 149, 150, 257})
    for (const bool whole : {true, false})
      for (const int64_t outputs : {8, 5, 20})
        add("stem and block " + std::to_string(side) + " to " + std::to_string(outputs), 5,
            [&](Network& n) {
              const Val x = n.picture({2, 160, 170, 3}, side, whole);
              return n.block(n.stem(x, outputs), outputs);
            });
  // Crops that run over the picture's edge, so that only some rows lie in it; and no zeros around.
  for (const double down : {-3, 20, 31})
    for (const float offset : {0.0F, -0.5F})
      add("stem and block, shifted by " + std::to_string(down) + ", " + std::to_string(offset), 5,
          [&](Network& n) {
            return n.block(n.stem(n.picture({2, 160, 170, 3}, 150, true, down, offset), 8), 8);
          });
  // Two blocks in one run where the first one's output has many rows; a third begins another.
  for (const Shape& x : {Shape{1, 515, 128, 8}, Shape{1, 511, 37, 4}, Shape{2, 516, 64, 16}})
    add("blocks of " + x.to_string(), 6,
        [&](Network& n) { return n.block(n.block(n.block(n.input(x), 8), 12), 5); });
  add("blocks of few rows", 3, [](Network& n) {
    return n.block(n.block(n.input({1, 510, 16, 4}), 4), 4);
  });
  add("a pooled sum of zipped and plain rows", 3, [](Network& n) {
    const Val z = n.normalised(n.separable(n.input({1, 64, 64, 8}), 8));
    return n.pool_skip(z, n.normalised(n.separable(n.input({1, 64, 64, 16}), 16)));
  });
  // A conv takes its rows itself: of one picture, and alone in a run.
  add("a picture for a conv and a skip", 2, [](Network& n) {
    const Val x = n.picture({1, 160, 170, 3}, 128, true);
    Window same;
    same.padding = {1, 1, 1, 1};
    return n.pool_skip(n.normalised(n.conv(x, 8, {3, 3}, same)), x);
  });
  add("a conv of what a conv gives", 2, [](Network& n) {
    Window same;
    same.padding = {1, 1, 1, 1};
    const Val x = n.normalised(n.conv(n.input({1, 66, 64, 3}), 4, {3, 3}, same));
    return n.pool_skip(n.normalised(n.conv(x, 8, {3, 3}, same)), x);
  });
  add("two convs of one tensor", 2, [](Network& n) {
    Window same;
    same.padding = {1, 1, 1, 1};
    const Val x = n.input({1, 64, 64, 3});
    return n.pool_skip(n.normalised(n.conv(x, 8, {3, 3}, same)),
                       n.normalised(n.conv(x, 5, {3, 3}, same)));
  });
  add("stem of floats", 4, [](Network& n) {
    return n.block(n.stem(n.input({1, 140, 128, 2}), 8), 16);
  });
  Window window;
  window.padding = {2, 1, 0, 3};
  window.dilation = {2, 1};
  for (const int64_t outputs : {1, 8, 17})
    add("convolution to " + std::to_string(outputs), 1, [&](Network& n) {
      return n.normalised(n.conv(n.input({2, 33, 64, 3}), outputs, {3, 4}, window));
    });
  return all;
}

}  // namespace

TEST_CASE("row_run: agrees with the reference, with every instruction set") {
  const std::vector<NamedNetwork> all = networks();
  std::vector<std::vector<double>> expected;
  for (const NamedNetwork& n : all) expected.push_back(n.network.reference(n.output));
  for_each_fast_instruction_set([&] {
    Context context;
    for (size_t i = 0; i < all.size(); i++) {
      const NamedNetwork& n = all[i];
      CAPTURE(n.name);
      std::shared_ptr<Tape> tape;
      const std::vector<double> found = n.network.fused(n.output, context, {}, &tape);
      CHECK(runs_of(*tape, n.layers) >= 1);
      CHECK(count_ops(*tape, "batch_norm") == 0);
      CHECK(apart(found, expected[i]) <= 2e-6);
    }
  });
}

TEST_CASE("row_run: the bits are the same for any number of threads") {
  for_each_fast_instruction_set([] {
    for (const NamedNetwork& n : networks()) {
      CAPTURE(n.name);
      std::vector<double> one;
      for (const int threads : thread_counts()) {
        Context context({threads, {}});
        const std::vector<double> found = n.network.fused(n.output, context);
        if (one.empty()) one = found;
        CHECK(found == one);
      }
    }
  });
}

TEST_CASE("row_run: in bf16 what differs is the rounding of inputs, weights and outputs") {
  const std::vector<NamedNetwork> all = networks();
  std::vector<std::vector<double>> expected;
  for (const NamedNetwork& n : all) expected.push_back(n.network.reference(n.output));
  for_each_fast_instruction_set([&] {
    for (size_t i = 0; i < all.size(); i++) {
      const NamedNetwork& n = all[i];
      CAPTURE(n.name);
      std::vector<double> one;
      for (const int threads : thread_counts()) {
        Context context({threads, {}});
        std::shared_ptr<Tape> tape;
        const std::vector<double> found =
            n.network.fused(n.output, context, {}, &tape, Precision::bf16);
        if (one.empty()) {
          one = found;
          CHECK(runs_of(*tape, n.layers) >= 1);
          CHECK(apart(found, expected[i]) <= 2e-2);
          CHECK(apart(found, expected[i]) > 1e-5);
        }
        CHECK(found == one);
      }
    }
  });
}

TEST_CASE("row_run: no NaN is hidden, and none spreads") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for_each_fast_instruction_set([&] {
    Context context;
    for (const Shape& x : {Shape{1, 12, 16, 8}, Shape{1, 70, 64, 8}, Shape{1, 9, 11, 5}}) {
      Network n;
      const Val input = n.input(x), output = n.block(input, 8);
      n.values[input.node][static_cast<size_t>(x.elements() / 3)] = nan;
      n.values[input.node].back() = std::numeric_limits<double>::infinity();
      CAPTURE(x.to_string());
      const std::vector<double> expected = n.reference(output);
      CHECK(std::count_if(expected.begin(), expected.end(),
                          [](double v) { return std::isnan(v); }) > 0);
      for (const Precision precision : {Precision::fp32, Precision::bf16}) {
        const std::vector<double> found = n.fused(output, context, {}, nullptr, precision);
        for (size_t i = 0; i < found.size(); i++)
          CHECK(std::isnan(found[i]) == std::isnan(expected[i]));
      }
    }
  });
}

TEST_CASE("fuse for inference: what is kept is written, and read there") {
  Network n;
  const Val x = n.input({1, 64, 64, 8});
  const Val z = n.separable(x, 8), y = n.normalised(z);
  const Val output = n.block(y, 8);
  const std::vector<double> expected = n.reference(output);
  Context context;
  const Val norm = n.tape->node(y.node).inputs[0];
  for (const Val kept : {z, norm, y}) {
    std::shared_ptr<Tape> tape;
    CHECK(apart(n.fused(output, context, {kept}, &tape), expected) <= 2e-6);
    const Val kept_too[] = {output, kept};
    const Rewritten f = fuse(*n.tape, context.device("cpu"), kept_too, {}, FuseFor::inference);
    REQUIRE(f.now(kept));
    std::vector<Val> now;
    for (const Val v : n.leaves()) now.push_back(f.now(v));
    CHECK(apart(n.run(context, context.device("cpu"), f.tape, now, f.now(kept)),
                n.reference(kept)) <= 2e-6);
  }
}

TEST_CASE("fuse for inference: what only looks like a layer of rows stays as it is") {
  Context context;
  Network n;
  const Val x = n.input({3, 1, 1, 8});
  const Val dense = ops::relu(*n.tape, ops::dense(*n.tape, x, n.weight({8, 16}), n.weight({16})));
  std::shared_ptr<Tape> tape;
  CHECK(apart(n.fused(dense, context, {}, &tape), n.reference(dense)) <= 2e-6);
  CHECK(count_ops(*tape, "row_run") == 0);

  // A sum that repeats one picture's skip over a batch.
  Network repeats;
  const Val z = repeats.normalised(repeats.separable(repeats.input({3, 8, 8, 8}), 8));
  const Val sum = repeats.pool_skip(z, repeats.input({1, 8, 8, 8}));
  CHECK(apart(repeats.fused(sum, context), repeats.reference(sum)) <= 2e-6);

  // Where the maximum lies is kept.
  Network positions;
  const Val output = positions.block(positions.input({1, 8, 8, 8}), 8);
  const Val pooled = positions.tape->node(output.node).inputs[0];
  const Val keep[] = {output, Val{pooled.node, 1}};
  const Rewritten f = fuse(*positions.tape, context.device("cpu"), keep, {}, FuseFor::inference);
  CHECK(f.now(Val{pooled.node, 1}));
}

TEST_CASE("fuse for inference: an op with a gradient rule stays as it is") {
  Network n;
  const Val output = n.block(n.input({1, 64, 64, 8}), 8);
  Context context;
  const auto keeps = [](const Vjp& v) { return std::vector<Val>{v.dy[0]}; };
  const Val keep[] = {output};
  for (const char* op : {"relu", "batch_norm", "conv2d", "depthwise_conv2d", "max_pool"}) {
    CAPTURE(op);
    const Rewritten f =
        fuse(*n.tape, context.device("cpu"), keep, {{op, keeps}}, FuseFor::inference);
    CHECK(count_ops(*f.tape, op) == count_ops(*n.tape, op));
  }
}

TEST_CASE("fuse for inference: a device without the kernels runs the folded layers themselves") {
  Network n;
  const Val output = n.block(n.input({1, 9, 8, 6}), 5);
  Context context;
  Device& device = context.device("reference");
  const Val keep[] = {output};
  const Rewritten f = fuse(*n.tape, device, keep, {}, FuseFor::inference);
  CHECK(count_ops(*f.tape, "row_run") == 0);
  CHECK(count_ops(*f.tape, "batch_norm") == 0);
  std::vector<Val> now;
  for (const Val v : n.leaves()) now.push_back(f.now(v));
  CHECK(apart(n.run(context, device, f.tape, now, f.now(output)), n.reference(output)) <= 1e-12);
}

TEST_CASE("fuse for inference: weights that layers share, and what a run stands for") {
  Network n;
  const Val w = n.weight({3, 3, 8}), p = n.weight({1, 1, 8, 8});
  Window same;
  same.padding = {1, 1, 1, 1};
  const auto layer = [&](Val x) {
    return n.normalised(
        ops::conv2d(*n.tape, ops::depthwise_conv2d(*n.tape, x, w, same), p, {}, {}));
  };
  const Val output = layer(layer(n.input({1, 66, 64, 8})));
  Context context;
  std::shared_ptr<Tape> tape;
  CHECK(apart(n.fused(output, context, {}, &tape), n.reference(output)) <= 2e-6);
  for (int i = 0; i < tape->size(); i++) {
    const Node& node = tape->node(i);
    if (!as<RowRun>(node)) continue;
    Tape composed;
    std::vector<Val> operands;
    for (size_t k = 0; k < node.inputs.size(); k++)
      operands.push_back(node.inputs[k]
                             ? ops::input(composed, std::to_string(k), tape->info(node.inputs[k]))
                             : Val{});
    const std::vector<Val> y = node.op->compose(composed, operands);
    CHECK(composed.shape(y[0]) == tape->shape(Val{i, 0}));
    CHECK(count_ops(composed, "depthwise_conv2d") == 2);
    CHECK(count_ops(composed, "relu") == 2);
  }
}

// Folded weights are computed once, and again when the Model's statistics have changed.
TEST_CASE("fuse for inference: a change of the Model's statistics is seen") {
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{1, 4, 4, 2}});
  const ops::Initializer ones{ops::Initializer::Kind::ones};
  Window same;
  same.padding = {1, 1, 1, 1};
  const Val d = ops::depthwise_conv2d(
      *tape, x, ops::parameter(*tape, "depthwise", {3, 3, 2}, ones, false), same);
  const Val z =
      ops::conv2d(*tape, d, ops::parameter(*tape, "w", {1, 1, 2, 3}, ones, false), {}, {});
  const Val y =
      ops::relu(*tape, ops::batch_norm(*tape, z, ops::parameter(*tape, "gamma", {3}, ones, false),
                                       ops::parameter(*tape, "beta", {3}, ones, false),
                                       ops::statistic(*tape, "mean", {3}, 0.5),
                                       ops::statistic(*tape, "var", {3}, 2), 1e-3));
  Context context;
  Device& cpu = context.device("cpu");
  const Val keep[] = {x, y};
  const Rewritten f = fuse(*tape, cpu, keep, {}, FuseFor::inference);
  Model model(cpu, *tape, 1);
  Session plain(context, cpu, tape, std::vector{y}, &model);
  Session fused(context, cpu, f.tape, std::vector{f.now(y)}, &model);
  CHECK(fused.plan().once > 0);
  const Reals values = random_reals({1, 4, 4, 2}, 7);
  for (const double mean : {0.5, -1.0, 3.0}) {
    model.write("mean", std::vector<double>(3, mean));
    plain.set(x, std::span<const double>(values.values));
    fused.set(f.now(x), std::span<const double>(values.values));
    plain.run();
    fused.run();
    CHECK(apart(fused.read(f.now(y)), plain.read(y)) <= 2e-6);
  }
}

}  // namespace fulmar::test
