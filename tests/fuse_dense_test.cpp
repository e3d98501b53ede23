#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/fuse/convolution.h"
#include "engine/fuse/fuse.h"
#include "engine/fuse/norm_relu.h"
#include "engine/network.h"
#include "engine/ops.h"
#include "kernels/error.h"
#include "model/resnet.h"
#include "tests/support/count_ops.h"

// What becomes of networks of dense convolutions when they fuse; the rows of
// bench/op_table/fused_dense.cpp, which the test `fuse` runs, hold the numbers.

namespace fulmar::test {
namespace {

Context& context() {
  static Context shared;
  return shared;
}

// Of how many convolutions the input is normalised while it is loaded.
int normalised_on_load(const Tape& tape) {
  int found = 0;
  for (int n = 0; n < tape.size(); n++)
    if (const auto* conv = as<ops::FusedConv>(tape.node(n))) found += conv->x.normalised;
  return found;
}

struct Recorded {
  Tape tape;
  Val x, y;

  Recorded(const Network& network, const Shape& shape, Mode mode) {
    x = ops::input(tape, "pictures", {shape});
    y = record(network, tape, x, {mode});
  }
  Rewritten fused(std::vector<Val> keep = {}, const GradRules& rules = {}) const {
    keep.insert(keep.end(), {x, y});
    return fuse(tape, context().device("cpu"), keep, rules);
  }
};

Network small_resnet() {
  model::ResnetOptions options;
  options.blocks = {2, 1};
  options.widths = {4, 6};
  return model::resnet(options);
}

}  // namespace

TEST_CASE("fuse dense: a residual network has no normalisation and no relu of its own left") {
  for (const Mode mode : {Mode::train, Mode::eval}) {
    const Recorded r(small_resnet(), {2, 32, 32, 3}, mode);
    const Rewritten f = r.fused();
    for (const char* op : {"relu", "batch_norm", "batch_norm_train", "channel_sums"}) {
      CAPTURE(op);
      CHECK(count_ops(*f.tape, op) == 0);
    }
    CHECK(count_ops(*f.tape, "add") == 0);
    CHECK(count_ops(*f.tape, "norm_relu") ==
          4);                                 // the stem's, which is pooled, and each block's end
    CHECK(normalised_on_load(*f.tape) == 6);  // two of each block
    CHECK(count_ops(*f.tape, "update_running") == (mode == Mode::train ? 12 : 0));
  }
}

TEST_CASE("fuse dense: both branches of a block's end are normalised in one pass") {
  const Recorded r(small_resnet(), {2, 32, 32, 3}, Mode::train);
  int both = 0, one = 0;
  const Rewritten f = r.fused();
  for (int n = 0; n < f.tape->size(); n++)
    if (const auto* end = as<ops::NormRelu>(f.tape->node(n))) (end->skip.normalised ? both : one)++;
  CHECK(both == 2);  // the first block of each stage projects its shortcut
  CHECK(one == 2);
}

TEST_CASE("fuse dense: the gradient is made of fused ops, and adds up no two of them") {
  const Recorded r(small_resnet(), {2, 32, 32, 3}, Mode::train);
  const Rewritten f = r.fused();
  grad(*f.tape, f.now(r.y), f.now(r.x));
  CHECK(count_ops(*f.tape, "relu_grad") == 0);
  CHECK(count_ops(*f.tape, "batch_norm_grad_sums") == 0);
  CHECK(count_ops(*f.tape, "norm_relu_grad") == 4);
  // Two inputs of each block are normalised; of each block's own input the second gradient that
  // arrives is added while the other is made.
  CHECK(count_ops(*f.tape, "convolution_input_grad") == 6 + 3);
  CHECK(count_ops(*f.tape, "add") == 0);
}

TEST_CASE("fuse dense: values that are kept, and ops with a rule, stay as they were") {
  const Recorded r(small_resnet(), {2, 32, 32, 3}, Mode::eval);
  for (const char* name : {"layer1.0.bn3", "layer1.0.downsample.1", "layer1.0.add"}) {
    CAPTURE(name);
    const Val kept = r.tape.find(name);
    const Rewritten f = r.fused({kept});
    CHECK(f.now(kept));
    CHECK(f.tape->find(name) == f.now(kept));
  }
  const Rewritten inner = r.fused({r.tape.find("layer1.0.relu1")});
  CHECK(inner.now(r.tape.find("layer1.0.relu1")));
  CHECK(count_ops(*inner.tape, "norm_relu") == 5);
  CHECK(normalised_on_load(*inner.tape) == 5);
  const auto keeps = [](const Vjp& v) { return std::vector<Val>{v.dy[0]}; };
  const Rewritten guided = r.fused({}, {{"relu", keeps}});
  CHECK(count_ops(*guided.tape, "relu") == 10);
  CHECK(count_ops(*guided.tape, "norm_relu") == 0);
  CHECK(normalised_on_load(*guided.tape) == 0);
  CHECK(count_ops(*r.fused({}, {{"conv2d", keeps}}).tape, "convolution") == 0);
  const Rewritten added = r.fused({}, {{"add", keeps}});
  CHECK(count_ops(*added.tape, "add") == 3);
  CHECK(count_ops(*added.tape, "norm_relu") == 1);
}

TEST_CASE("fuse dense: what repeats along an axis is no skip") {
  Tape tape;
  const Val x = ops::input(tape, "x", {{2, 5, 5, 8}});
  const auto leaf = [&](const char* name) {
    return ops::input(tape, name, {{8}, Role::parameter});
  };
  const Val z = ops::batch_norm(tape, x, leaf("gamma"), leaf("beta"), leaf("mean"), leaf("var"), 0);
  const Val gate = ops::input(tape, "gate", {{2, 1, 1, 8}});
  const Val y = ops::relu(tape, ops::add(tape, z, gate));
  const Rewritten f = fuse(tape, context().device("cpu"), std::array{y});
  CHECK(count_ops(*f.tape, "norm_relu") == 0);
}

TEST_CASE(
    "fuse dense: a normalisation that an update changes before it is read stays where it is") {
  for (const bool updates : {false, true}) {
    Tape tape;
    const Val x = ops::input(tape, "x", {{2, 6, 6, 8}});
    const auto leaf = [&](const char* name, const Shape& shape) {
      return ops::input(tape, name, {shape, Role::statistic});
    };
    const Val mean = leaf("mean", {8});
    const Val z = ops::batch_norm(tape, x, leaf("gamma", {8}), leaf("beta", {8}), mean,
                                  leaf("var", {8}), 1e-3);
    const Val a = ops::relu(tape, z);
    if (updates) ops::store(tape, leaf("new", {8}), mean);
    const Val w = ops::input(tape, "w", {{1, 1, 8, 8}, Role::parameter});
    const Val y = ops::conv2d(tape, a, w, {}, {});
    const Rewritten f = fuse(tape, context().device("cpu"), std::array{y});
    CHECK(count_ops(*f.tape, "convolution") == !updates);
    CHECK(count_ops(*f.tape, "batch_norm") == updates);
  }
}

// A statistic that is updated between a convolution and its sums, as where two layers share one.
TEST_CASE("fuse dense: sums about a value that is updated meanwhile are not a kernel's") {
  for (const bool updates : {false, true}) {
    Tape tape;
    const Val x = ops::input(tape, "x", {{2, 6, 6, 8}});
    const auto leaf = [&](const char* name, const Shape& shape, Role role = Role::statistic) {
      return ops::input(tape, name, {shape, role});
    };
    const Val mean = leaf("mean", {8});
    const Val z = ops::conv2d(tape, x, leaf("w", {3, 3, 8, 8}, Role::parameter), {}, {});
    if (updates) ops::store(tape, leaf("new", {8}), mean);
    const Val y = ops::batch_norm_train(tape, z, leaf("gamma", {8}), leaf("beta", {8}),
                                        {mean, leaf("var", {8}), 0.9, true}, 1e-3);
    const Rewritten f = fuse(tape, context().device("cpu"), std::array{y});
    CHECK(count_ops(*f.tape, "channel_sums") == updates);
  }
}

TEST_CASE("fuse dense: a gradient by statistics is refused as before") {
  for (const bool train : {false, true}) {
    CAPTURE(train);
    Tape tape;
    const Val x = ops::input(tape, "x", {{2, 6, 6, 8}});
    const auto leaf = [&](const char* name, const Shape& shape, Role role = Role::statistic) {
      return ops::input(tape, name, {shape, role});
    };
    const Val mean = leaf("mean", {8}), var = leaf("var", {8});
    const Val gamma = leaf("gamma", {8}), beta = leaf("beta", {8});
    const Val z = train ? ops::batch_norm_train(tape, x, gamma, beta, {mean, var, 0.9, true}, 1e-3)
                        : ops::batch_norm(tape, x, gamma, beta, mean, var, 1e-3);
    const Val used = tape.node(z.node).inputs[3];  // the mean that z reads
    const Val w = leaf("w", {1, 1, 8, 8}, Role::parameter);
    const Val y = ops::conv2d(tape, ops::relu(tape, z), w, {}, {});
    const Rewritten f = fuse(tape, context().device("cpu"), std::array{y, used});
    CHECK(count_ops(*f.tape, "convolution") == 1);
    const char* message = train ? "no gradient of their own" : "are constants";
    CHECK_THROWS_WITH_AS(grad(*f.tape, f.now(y), f.now(used)), doctest::Contains(message), Error);
  }
}

TEST_CASE("fuse dense: a device without the kernels gets the ops as they were") {
  const Recorded r(small_resnet(), {2, 32, 32, 3}, Mode::eval);
  const Rewritten f = fuse(r.tape, context().device("reference"), std::array{r.y});
  CHECK(count_ops(*f.tape, "relu") == 10);
  CHECK(count_ops(*f.tape, "convolution") == 0);
}

TEST_CASE("resnet: the defaults are ResNet-50, with the published number of weights") {
  model::ResnetOptions options;
  options.classes = 1000;
  const Recorded r(model::resnet(options), {1, 224, 224, 3}, Mode::eval);
  int64_t weights = 0, statistics = 0;
  for (int n = 0; n < r.tape.size(); n++) {
    const std::string_view op = r.tape.node(n).op->name();
    const int64_t elements =
        r.tape.node(n).outputs.empty() ? 0 : r.tape.shape(Val{n, 0}).elements();
    if (op == "parameter") weights += elements;
    if (op == "statistic") statistics += elements;
  }
  CHECK(weights == 25557032);
  CHECK(statistics == 53120);
  CHECK(r.tape.shape(r.tape.find("maxpool")) == Shape{1, 56, 56, 64});
  CHECK(r.tape.shape(r.tape.find("layer3.5.relu")) == Shape{1, 14, 14, 1024});
  CHECK(r.tape.shape(r.tape.find("avgpool")) == Shape{1, 1, 1, 2048});
  CHECK(r.tape.has("layer1.0.downsample.0"));
}

TEST_CASE("resnet: widths and numbers of blocks that fit no network are refused") {
  model::ResnetOptions options;
  options.widths = {64};
  CHECK_THROWS_AS(model::resnet(options), Error);
  options.blocks = {0};
  CHECK_THROWS_AS(model::resnet(options), Error);
}

}  // namespace fulmar::test
