#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/fuse/fuse.h"
#include "engine/fuse/packed_conv.h"
#include "engine/model.h"
#include "engine/network.h"
#include "engine/ops.h"
#include "engine/plan.h"
#include "model/resnet.h"
#include "tests/support/count_ops.h"
#include "tests/support/inference_network.h"
#include "tests/support/instruction_sets.h"

// Dense convolutions in inference: weights packed once, normalisation, sum and relu in the kernel;
// beside the same tape on the float64 reference.

namespace fulmar::test {
namespace {

// A layer: what stands behind the convolution.
struct Behind {
  bool bias, norm, relu;
  enum class Skip : uint8_t { none, first, second, both } skip;
};

struct Layer {
  Shape x;
  int64_t outputs, groups;
  Shape kernel;
  Window window;
  Behind behind;

  std::string to_string() const {
    return x.to_string() + " to " + std::to_string(outputs) + " by " + kernel.to_string() + ", " +
           std::to_string(groups) + " groups, bias " + std::to_string(behind.bias) + ", norm " +
           std::to_string(behind.norm) + ", relu " + std::to_string(behind.relu) + ", skip " +
           std::to_string(static_cast<int>(behind.skip));
  }
  Val conv(Network& n, Val from) const {
    const Val w = n.weight({kernel[0], kernel[1], n.channels(from) / groups, outputs});
    const Val y =
        ops::conv2d(*n.tape, from, w, behind.bias ? n.weight({outputs}) : Val{}, window, groups);
    return behind.norm ? n.normalised(y, false) : y;
  }
  Val record(Network& n) const {
    using Skip = Behind::Skip;
    const Val in = n.input(x);
    Val y = conv(n, in);
    const Shape shape = n.tape->shape(y);
    if (behind.skip == Skip::first) y = ops::add(*n.tape, n.input(shape), y);
    if (behind.skip == Skip::second) y = ops::add(*n.tape, y, n.input(shape));
    if (behind.skip == Skip::both) y = ops::add(*n.tape, y, conv(n, in));
    return behind.relu ? ops::relu(*n.tape, y) : y;
  }
};

Window window_of(int64_t stride, int64_t padding, int64_t dilation) {
  Window window;
  window.stride = {stride, stride};
  window.padding = {padding, padding, padding, padding};
  window.dilation = {dilation, dilation};
  return window;
}

std::vector<Layer> layers() {
  using Skip = Behind::Skip;
  std::vector<Layer> all;
  for (const Behind& behind :
       {Behind{true, true, true, Skip::none}, Behind{false, true, true, Skip::first},
        Behind{true, false, true, Skip::second}, Behind{false, false, false, Skip::both},
        Behind{true, true, true, Skip::both}, Behind{false, false, true, Skip::none},
        Behind{true, false, false, Skip::none}}) {
    all.push_back({{2, 9, 7, 24}, 40, 1, {3, 3}, window_of(1, 1, 1), behind});
    all.push_back({{1, 7, 7, 130}, 20, 1, {1, 1}, window_of(1, 0, 1), behind});
    all.push_back({{3, 12, 11, 5}, 3, 1, {3, 3}, window_of(2, 1, 1), behind});
    all.push_back({{1, 1, 13, 16}, 16, 1, {3, 3}, window_of(1, 2, 2), behind});
    all.push_back({{2, 10, 1, 48}, 33, 1, {1, 1}, window_of(2, 0, 1), behind});
    all.push_back({{1, 8, 8, 64}, 96, 2, {3, 3}, window_of(1, 1, 1), behind});
    all.push_back({{2, 5, 47, 20}, 40, 1, {3, 3}, window_of(1, 1, 1), behind});
    // Sums of two parts of the depth.
    all.push_back({{1, 5, 6, 100}, 50, 1, {3, 3}, window_of(1, 1, 1), behind});
  }
  return all;
}

}  // namespace

TEST_CASE("packed convolution: agrees with the reference, with every instruction set") {
  const std::vector<Layer> all = layers();
  for (const Layer& layer : all) {
    CAPTURE(layer.to_string());
    Network n;
    const Val output = layer.record(n);
    const std::vector<double> expected = n.reference(output);
    for_each_instruction_set([&] {
      std::vector<double> one;
      for (const int threads : {1, 2, 3, 7}) {
        Context context({threads, {}});
        std::shared_ptr<Tape> tape;
        const std::vector<double> found = n.fused(output, context, {}, &tape);
        CHECK(apart(found, expected) <= 3e-6);
        if (one.empty()) one = found;
        CHECK(found == one);
        const int convs = layer.behind.skip == Behind::Skip::both ? 2 : 1;
        CHECK(count_ops(*tape, "packed_convolution") == convs);
        for (const char* op : {"conv2d", "relu", "add", "batch_norm"}) {
          CAPTURE(op);
          CHECK(count_ops(*tape, op) ==
                (std::string(op) == "add" && layer.behind.norm ? convs : 0));
        }
      }
    });
  }
}

TEST_CASE("packed convolution: with activations in bf16") {
  Context context;
  Device& bf16 = context.device("cpu", Precision::bf16);
  for (const Layer& layer : layers()) {
    CAPTURE(layer.to_string());
    Network n;
    const Val output = layer.record(n);
    const Val keep[] = {output};
    const Rewritten f = fuse(*n.tape, bf16, keep, {}, FuseFor::inference);
    CHECK(count_ops(*f.tape, "packed_convolution") > 0);
    std::vector<Val> now;
    for (const Val v : n.leaves()) now.push_back(f.now(v));
    const double off = apart(n.run(context, bf16, f.tape, now, f.now(output)), n.reference(output));
    CHECK(off <= 1e-2);
    CHECK(off > 1e-4);
  }
}

TEST_CASE("packed convolution: no NaN is hidden, and none spreads") {
  for_each_instruction_set([] {
    Context context;
    Network n;
    const Val x = n.input({1, 9, 8, 32});
    const Val y = n.conv(x, 32, {3, 3}, window_of(1, 1, 1));
    const Val skip = n.input({1, 9, 8, 32});
    const Val output = ops::relu(*n.tape, ops::add(*n.tape, y, skip));
    n.values[x.node][100] = std::numeric_limits<double>::quiet_NaN();
    n.values[skip.node][2000] = std::numeric_limits<double>::quiet_NaN();
    const std::vector<double> expected = n.reference(output);
    const std::vector<double> found = n.fused(output, context);
    CHECK(std::isnan(expected[2000]));
    for (size_t i = 0; i < found.size(); i++)
      CHECK(std::isnan(found[i]) == std::isnan(expected[i]));
  });
}

// A pool behind relu goes by the order of bits: a sum that underflows to -0 must not stay.
TEST_CASE("packed convolution: relu gives no -0") {
  for_each_instruction_set([] {
    Context context;
    Network n;
    const Val x = n.input({1, 8, 8, 32});
    const Val z = ops::relu(*n.tape, n.conv(x, 32, {1, 1}, {}, false));
    const Val output = n.pool_skip(z, n.input({1, 8, 8, 32}));
    for (double& v : n.values[x.node]) v = -0x1p-100;
    for (size_t c = 0; c < 32; c++) n.values[x.node][c] = 0x1p97;
    const Val w = n.tape->node(n.tape->node(z.node).inputs[0].node).inputs[1];
    for (double& v : n.values[w.node]) v = 0x1p-100;
    std::shared_ptr<Tape> tape;
    const std::vector<double> found = n.fused(output, context, {}, &tape);
    CHECK(count_ops(*tape, "packed_convolution") == 1);
    CHECK(count_ops(*tape, "row_run") == 1);
    CHECK(apart(found, n.reference(output)) <= 3e-6);
  });
}

TEST_CASE("packed convolution: what is kept, repeats or has a rule of its own stays as it is") {
  Context context;
  Device& cpu = context.device("cpu");
  Network n;
  const Val x = n.input({2, 6, 6, 32});
  const Val y = n.conv(x, 32, {1, 1}, {});
  const Val sum = ops::add(*n.tape, y, x);
  const Val output = ops::relu(*n.tape, sum);
  for (const Val kept : {y, sum}) {
    const Val keep[] = {output, kept};
    const Rewritten f = fuse(*n.tape, cpu, keep, {}, FuseFor::inference);
    REQUIRE(f.now(kept));
    std::vector<Val> now;
    for (const Val v : n.leaves()) now.push_back(f.now(v));
    CHECK(apart(n.run(context, cpu, f.tape, now, f.now(kept)), n.reference(kept)) <= 3e-6);
    CHECK(apart(n.run(context, cpu, f.tape, now, f.now(output)), n.reference(output)) <= 3e-6);
  }
  const auto rule = [](const Vjp& v) { return std::vector<Val>{v.dy[0]}; };
  const Val keep[] = {output};
  for (const char* op : {"relu", "add", "conv2d"}) {
    CAPTURE(op);
    const Rewritten f = fuse(*n.tape, cpu, keep, {{op, rule}}, FuseFor::inference);
    CHECK(count_ops(*f.tape, op) == 1);
  }

  Network repeats;  // one picture's skip for a batch
  const Val z = repeats.conv(repeats.input({2, 6, 6, 16}), 16, {1, 1}, {});
  const Val wide =
      ops::relu(*repeats.tape, ops::add(*repeats.tape, z, repeats.input({1, 6, 6, 16})));
  CHECK(apart(repeats.fused(wide, context), repeats.reference(wide)) <= 3e-6);
}

// Folded weights are needed until they are packed, not longer.
TEST_CASE("packed convolution: a plan keeps packed weights alone") {
  Context context;
  Device& cpu = context.device("cpu");
  Tape tape;
  const Val x = ops::input(tape, "pictures", {{1, 32, 32, 3}});
  model::ResnetOptions options;
  options.blocks = {2, 1};
  options.widths = {40, 48};
  const Val y = record(model::resnet(options), tape, x, {Mode::eval});
  const Val keep[] = {x, y};
  const Rewritten f = fuse(tape, cpu, keep, {}, FuseFor::inference);
  CHECK(count_ops(*f.tape, "relu") == 0);
  CHECK(count_ops(*f.tape, "conv2d") == 1);  // the head's
  const std::vector<Val> outputs{f.now(y)};
  const Plan plan = make_plan(*f.tape, outputs, cpu);
  int packed = 0;
  for (int n = 0; n < f.tape->size(); n++) {
    const Node& node = f.tape->node(n);
    for (int i = 0; i < static_cast<int>(node.outputs.size()); i++) {
      const int buffer = plan.allocation(Val{n, i}).buffer;
      if (buffer < 0 || !plan.buffers[static_cast<size_t>(buffer)].kept) continue;
      packed += node.op->name() == "pack_weight";
      CHECK(node.outputs[static_cast<size_t>(i)].shape.rank() < 4);  // a bias, or packed
    }
  }
  CHECK(packed == count_ops(*f.tape, "packed_convolution"));
}

}  // namespace fulmar::test
