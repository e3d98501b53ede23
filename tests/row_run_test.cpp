#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/fuse/fuse.h"
#include "engine/fuse/row_run.h"
#include "engine/model.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "kernels/warp.h"
#include "tests/support/array.h"
#include "tests/support/count_ops.h"
#include "tests/support/instruction_sets.h"

// Inference fused: batch normalisation in weights, layers in bands of rows; beside the same tape on
// the float64 reference.

namespace fulmar::test {
namespace {

using Kind = RowLayer::Kind;
using ops::RowRun;

// A network out of random operands.
struct Network {
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  std::map<int, std::vector<double>> values;  // by node
  std::map<int, std::vector<std::byte>> bytes;
  std::vector<Val> keep;
  uint64_t seed = 1;

  Val operand(const Shape& shape, Role role, double low = -1, double high = 1) {
    const Val v = ops::input(*tape, "v" + std::to_string(seed), {shape, role});
    Reals reals = random_reals(shape, seed++, low, high);
    for (double& x : reals.values) x = static_cast<double>(static_cast<float>(x));
    values[v.node] = {reals.values.begin(), reals.values.end()};
    return v;
  }
  Val weight(const Shape& shape, double low = -1, double high = 1) {
    return operand(shape, Role::parameter, low, high);
  }
  Val input(const Shape& shape) { return operand(shape, Role::activation); }

  // Pictures of bytes, shifted by whole pixels or by parts of one.
  Val picture(const Shape& shape, int64_t side, bool whole) {
    const Val source = ops::input(*tape, "picture", {shape, Role::source, DType::u8});
    const Reals reals = random_reals(shape, seed++, 0, 255);
    for (const double x : reals.values) bytes[source.node].push_back(static_cast<std::byte>(x));
    const Val samples =
        ops::input(*tape, "samples",
                   {{shape[0], static_cast<int64_t>(sizeof(WarpSample))}, Role::source, DType::u8});
    for (int64_t i = 0; i < shape[0]; i++) {
      WarpSample sample;
      sample.map.a = {1, 0, whole ? 2.0 : 1.25, 0, 1, whole ? 1.0 : -0.5};
      sample.source_height = shape[1];
      sample.source_width = shape[2];
      const auto* raw = reinterpret_cast<const std::byte*>(&sample);
      bytes[samples.node].insert(bytes[samples.node].end(), raw, raw + sizeof sample);
    }
    WarpOptions options;
    for (int64_t b = 0; b < shape[3]; b++) options.scale[static_cast<size_t>(b)] = 1.0F / 255;
    return ops::warp(*tape, source, samples, side, side, options);
  }
  int64_t channels(Val x) { return tape->shape(x).channels(); }
  Val normalised(Val x, bool relu = true) {
    const Shape c{channels(x)};
    const Val gamma = weight(c, 0.5, 1.5), beta = weight(c, -0.5, 0.5);
    const Val mean = operand(c, Role::statistic), var = operand(c, Role::statistic, 0.5, 1.5);
    const Val y = ops::batch_norm(*tape, x, gamma, beta, mean, var, 1e-3);
    return relu ? ops::relu(*tape, y) : y;
  }
  Val conv(Val x, int64_t outputs, const Shape& kernel, const Window& window, bool bias = true) {
    const Val w = weight({kernel[0], kernel[1], channels(x), outputs});
    return ops::conv2d(*tape, x, w, bias ? weight({outputs}) : Val{}, window);
  }
  Val stem(Val x, int64_t outputs) {
    Window window;
    window.stride = {2, 2};
    window.padding = {0, 1, 0, 1};
    return normalised(conv(x, outputs, {3, 3}, window));
  }
  Val separable(Val x, int64_t outputs, bool bias = true) {
    Window same;
    same.padding = {1, 1, 1, 1};
    const Val d = ops::depthwise_conv2d(*tape, x, weight({3, 3, channels(x)}), same);
    return conv(d, outputs, {1, 1}, {}, bias);
  }
  Val pool_skip(Val z, Val u) {
    const Shape& shape = tape->shape(z);
    const auto rows = ops::same_padding(shape.height(), 3, 2, 1);
    const auto columns = ops::same_padding(shape.width(), 3, 2, 1);
    Window window;
    window.stride = {2, 2};
    window.padding = {rows[0], rows[1], columns[0], columns[1]};
    const Val pooled = ops::max_pool(*tape, z, {3, 3}, window);
    Window strided;
    strided.stride = {2, 2};
    return ops::add(*tape, pooled, conv(u, channels(z), {1, 1}, strided));
  }
  Val block(Val x, int64_t outputs) {
    const Val a = normalised(separable(x, outputs));
    return pool_skip(normalised(separable(a, outputs, false)), x);
  }

  std::vector<double> run(Context& context, Device& device, std::shared_ptr<const Tape> on,
                          const std::vector<Val>& now, Val output) const {
    Session session(context, device, std::move(on), std::vector{output});
    size_t i = 0;
    for (const auto& [node, numbers] : values) {
      if (now[i]) session.set(now[i], std::span<const double>(numbers));
      i++;
    }
    for (const auto& [node, raw] : bytes) {
      if (now[i]) session.set_bytes(now[i], raw.data(), raw.size());
      i++;
    }
    session.run();
    return session.read(output);
  }
  std::vector<Val> leaves() const {
    std::vector<Val> all;
    for (const auto& [node, numbers] : values) all.push_back(Val{node, 0});
    for (const auto& [node, raw] : bytes) all.push_back(Val{node, 0});
    return all;
  }
  std::vector<double> reference(Val output) const {
    static Context context;
    return run(context, context.device("reference"), tape, leaves(), output);
  }
  std::vector<double> fused(Val output, Context& context, std::vector<Val> kept = {},
                            std::shared_ptr<Tape>* tape_now = nullptr) const {
    Device& cpu = context.device("cpu");
    kept.push_back(output);
    const Rewritten f = fuse(*tape, cpu, kept, {}, FuseFor::inference);
    std::vector<Val> now;
    for (const Val v : leaves()) now.push_back(f.now(v));
    if (tape_now) *tape_now = f.tape;
    return run(context, cpu, f.tape, now, f.now(output));
  }
};

// How many runs of so many layers there are.
int runs_of(const Tape& tape, size_t layers) {
  int found = 0;
  for (int n = 0; n < tape.size(); n++)
    if (const auto* run = as<RowRun>(tape.node(n))) found += run->layers.size() == layers;
  return found;
}

// The largest difference beside the largest value; NaN must be where NaN is.
double apart(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, largest = 0;
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < a.size(); i++) {
    if (std::isnan(a[i]) || std::isnan(b[i])) {
      if (std::isnan(a[i]) != std::isnan(b[i])) return std::numeric_limits<double>::infinity();
      continue;
    }
    difference = std::max(difference, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return difference / std::max(largest, 1e-30);
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
  for (const int64_t side : {128, 150, 257})
    for (const bool whole : {true, false})
      for (const int64_t outputs : {8, 5, 20})
        add("stem and block " + std::to_string(side) + " to " + std::to_string(outputs), 5,
            [&](Network& n) {
              const Val x = n.picture({2, 160, 170, 3}, side, whole);
              return n.block(n.stem(x, outputs), outputs);
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
  for_each_instruction_set([&] {
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
  for_each_instruction_set([] {
    for (const NamedNetwork& n : networks()) {
      CAPTURE(n.name);
      std::vector<double> one;
      for (const int threads : {1, 2, 3, 7}) {
        Context context({threads, {}});
        const std::vector<double> found = n.network.fused(n.output, context);
        if (one.empty()) one = found;
        CHECK(found == one);
      }
    }
  });
}

TEST_CASE("row_run: no NaN is hidden, and none spreads") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for_each_instruction_set([&] {
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
      const std::vector<double> found = n.fused(output, context);
      for (size_t i = 0; i < found.size(); i++)
        CHECK(std::isnan(found[i]) == std::isnan(expected[i]));
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
