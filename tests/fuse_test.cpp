#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/fuse/fuse.h"
#include "engine/fuse/separable.h"
#include "tests/op_check.h"
#include "tests/support/count_ops.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/slow_build.h"

namespace fulmar::test {
namespace {

Context& context() {
  static Context shared;
  return shared;
}

// Of how many separable convolutions the input is normalised while it is loaded.
int normalised_on_load(const Tape& tape) {
  int found = 0;
  for (int n = 0; n < tape.size(); n++)
    if (const auto* separable = as<ops::Separable>(tape.node(n))) found += separable->x.normalised;
  return found;
}

// Two separable convolutions with what lies between and behind them.
struct Chain {
  Tape tape;
  Val x, z1, y1, a1, z2, a2;
  std::vector<Val> weights;

  Chain() {
    x = ops::input(tape, "x", {{2, 6, 7, 8}});
    z1 = separable("1", x);
    std::tie(y1, a1) = normalised("1", z1);
    z2 = separable("2", a1);
    a2 = normalised("2", z2).second;
    tape.name(z1, "z1");
    tape.name(a1, "a1");
    tape.name(a2, "a2");
  }
  Val leaf(const std::string& name, const Shape& shape, Role role = Role::parameter) {
    weights.push_back(ops::input(tape, name, {shape, role}));
    return weights.back();
  }
  Val separable(const std::string& n, Val from) {
    Window same;
    same.padding = {1, 1, 1, 1};
    const Val d = ops::depthwise_conv2d(tape, from, leaf("depthwise" + n, {3, 3, 8}), same);
    return ops::conv2d(tape, d, leaf("pointwise" + n, {1, 1, 8, 8}), leaf("bias" + n, {8}), {});
  }
  std::pair<Val, Val> normalised(const std::string& n, Val from) {
    const Val mean = leaf("mean" + n, {8}, Role::statistic);
    const Val var = leaf("var" + n, {8}, Role::statistic);
    const Val y = ops::batch_norm_train(tape, from, leaf("gamma" + n, {8}), leaf("beta" + n, {8}),
                                        {mean, var, 0.9, true}, 1e-3);
    return {y, ops::relu(tape, y)};
  }
  Rewritten fused(std::vector<Val> keep = {}, const GradRules& rules = {}) {
    keep.push_back(a2);
    return fuse(tape, context().device("cpu"), keep, rules);
  }
};

}  // namespace

TEST_CASE("fuse: an activation that only kernels read which normalise on load isn't written") {
  Chain chain;
  const Rewritten f = chain.fused();
  CHECK(count_ops(*f.tape, "separable") == 2);
  CHECK(normalised_on_load(*f.tape) == 1);
  CHECK(count_ops(*f.tape, "norm_relu") == 1);  // the last one, which is kept
  CHECK(count_ops(*f.tape, "relu") == 0);
  CHECK(count_ops(*f.tape, "channel_sums") == 0);
  CHECK(count_ops(*f.tape, "update_running") == 2);
  CHECK_FALSE(f.now(chain.a1));
  CHECK_FALSE(f.tape->has("a1"));
  CHECK(f.tape->find("z1") == f.now(chain.z1));
  CHECK(f.tape->find("a2") == f.now(chain.a2));
  CHECK(f.tape->shape(f.now(chain.z2)) == chain.tape.shape(chain.z2));
}

TEST_CASE("fuse: what is kept is written, and who reads it reads it there") {
  Chain chain;
  for (const Val kept : {chain.a1, chain.y1}) {
    const Rewritten f = chain.fused({kept});
    CHECK(f.now(kept));
    CHECK(count_ops(*f.tape, "separable") == 2);
    CHECK(normalised_on_load(*f.tape) == 0);
    CHECK(count_ops(*f.tape, "norm_relu") + count_ops(*f.tape, "relu") == 2);
    CHECK(count_ops(*f.tape, "relu") == (kept == chain.y1));
  }
  const Val d = chain.tape.node(chain.z1.node).inputs[0];
  const Rewritten f = chain.fused({d});
  CHECK(f.now(d));
  CHECK(count_ops(*f.tape, "separable") == 1);
}

TEST_CASE("fuse: the gradient by a kept activation is that of the tape before") {
  Chain chain;
  const Val before = grad(chain.tape, chain.a2, chain.a1);
  const Rewritten f = chain.fused({chain.a1});
  const Val after = grad(*f.tape, f.now(chain.a2), f.now(chain.a1));
  CHECK(f.tape->shape(after) == chain.tape.shape(before));
  CHECK(count_ops(*f.tape, "separable_grad") == 1);  // of the second alone
}

TEST_CASE("fuse: the operations of a gradient include the depthwise part, which is made again") {
  Chain chain;
  const Rewritten f = chain.fused();
  const std::array wanted{f.now(chain.x), f.now(chain.weights[0])};
  grad(*f.tape, f.now(chain.a2), wanted);
  const double pixels = 2 * 6 * 7;
  int met = 0;
  for (int n = 0; n < f.tape->size(); n++) {
    const Node& node = f.tape->node(n);
    const auto* back = as<ops::SeparableBack>(node);
    if (!back) continue;
    std::vector<ValueInfo> in;
    for (Val v : node.inputs) in.push_back(v ? f.tape->info(v) : ValueInfo{});
    // By channel: dd of 8 and dx of 9 products; 8, 9 and 9 of the weights.
    CHECK(back->flops(in, node.outputs) == 2 * pixels * 8 * (back->weights ? 43 : 17));
    met++;
  }
  CHECK(met == 2);
}

TEST_CASE("fuse: a second reader in memory makes the activation lie in memory for all") {
  Chain chain;
  const Val twice = ops::affine(chain.tape, chain.a1, 2, 0);
  const Rewritten f = chain.fused({twice});
  CHECK(count_ops(*f.tape, "separable") == 2);
  CHECK(normalised_on_load(*f.tape) == 0);
  CHECK(f.now(chain.a1));
}

TEST_CASE("fuse: an op with a gradient rule stays as it is") {
  Chain chain;
  const auto keeps = [](const Vjp& v) { return std::vector<Val>{v.dy[0]}; };
  const Rewritten guided = chain.fused({}, {{"relu", keeps}});
  CHECK(count_ops(*guided.tape, "relu") == 2);
  CHECK(normalised_on_load(*guided.tape) == 0);
  CHECK(count_ops(*guided.tape, "separable") == 2);
  for (const char* op : {"conv2d", "depthwise_conv2d"}) {
    const Rewritten f = chain.fused({}, {{op, keeps}});
    CHECK(count_ops(*f.tape, "separable") == 0);
    CHECK(count_ops(*f.tape, op) == 2);
  }
}

TEST_CASE("fuse: a device without fused kernels gets the tape as it was, without what is dead") {
  Chain chain;
  ops::affine(chain.tape, chain.a1, 2, 0);
  const Val keep[] = {chain.a2};
  const Rewritten f = fuse(chain.tape, context().device("reference"), keep);
  CHECK(f.tape->size() == chain.tape.size() - 1);
  CHECK(count_ops(*f.tape, "affine") == 0);
  for (const char* op : {"conv2d", "relu", "channel_sums", "update_running", "batch_norm_train"})
    CHECK(count_ops(*f.tape, op) == 2);
  CHECK(f.tape->describe(f.now(chain.a2).node) == chain.tape.describe(chain.a2.node));
}

// Where a sum meets the zeros outside of a picture NaN makes them NaN: the gradient of a depthwise
// kernel may hold it in more taps than met it. A bias before a normalisation has gradient 0.
TEST_CASE("fuse: no NaN is hidden") {
  for_each_fast_instruction_set([] {
    Device& cpu = context().device("cpu");
    for (Case c : fused_cases()) {
      std::vector<double>& x =
          std::find_if(c.operands.begin(), c.operands.end(), [](const Operand& operand) {
            return !operand.values.empty();
          })->values;  // a picture of bytes has no NaN
      x.front() = std::numeric_limits<double>::quiet_NaN();
      if (x.size() > 40) x[x.size() / 2] = std::numeric_limits<double>::infinity();
      const auto expected = run(record(c, true), context(), context().device("reference"));
      const auto found = run(record_fused(c, true, cpu), context(), cpu);
      CAPTURE(c.name());
      for (size_t i = 0; i < expected.size(); i++) {
        CAPTURE(expected[i].name);
        const bool all = expected[i].name.find("output") == 0;
        if (expected[i].name.ends_with("/bias")) continue;
        int64_t hidden = 0, spread = 0;
        for (size_t k = 0; k < found[i].values.size(); k++) {
          const bool nan = std::isnan(expected[i].values[k]), here = std::isnan(found[i].values[k]);
          hidden += nan && !here;
          spread += all && here && !nan;
        }
        CHECK(hidden == 0);
        CHECK(spread == 0);
      }
    }
  });
}

TEST_CASE("fuse: no gradient of weights is computed where none is wanted") {
  for (Case c : fused_cases()) {
    for (size_t i = 1; i < c.operands.size(); i++) c.operands[i].differentiable = false;
    Device& cpu = context().device("cpu");
    const Recording r = record_fused(c, true, cpu);
    for (int n = 0; n < r.tape->size(); n++)
      if (const auto* back = as<ops::SeparableBack>(r.tape->node(n))) CHECK_FALSE(back->weights);
    const Complaints complaints = check_parity(c, r, context(), cpu);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

TEST_CASE("fuse: without a gradient's kernel a fused op takes that of what it replaces") {
  FusedKernels kernels = *cpu_backend().fused;
  kernels.separable_grad = nullptr;
  kernels.pool_grad_sums = nullptr;
  kernels.norm_relu_grad = nullptr;
  kernels.convolution_weight_grad = nullptr;
  Backend backend = cpu_backend();
  backend.fused = &kernels;
  Device forward_only(backend, context().device("cpu").stream());
  for (Case c : fused_cases()) {
    // Before a normalisation the composition's gradient by a bias is the rounding of 0.
    for (Operand& operand : c.operands)
      if (operand.name.ends_with("/bias")) operand.differentiable = false;
    const Recording r = record_fused(c, true, forward_only);
    CAPTURE(c.name());
    CHECK(count_ops(*r.tape, c.op) > 0);
    for (const char* back : {"separable_grad", "pool_grad_sums", "skip_weight_grad",
                             "norm_relu_grad", "convolution_input_grad", "convolution_weight_grad"})
      CHECK(count_ops(*r.tape, back) == 0);
    const Complaints complaints = check_parity(c, r, context(), forward_only);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

TEST_CASE("fuse: the bits are the same for any number of threads") {
  for (const Case& c : fused_cases()) {
    CAPTURE(c.name());
    std::vector<Result> one;
    for (const int threads : thread_counts()) {
      Context some({threads, {}});
      Device& cpu = some.device("cpu");
      const std::vector<Result> results = run(record_fused(c, true, cpu), some, cpu);
      if (one.empty()) one = results;
      REQUIRE(results.size() == one.size());
      for (size_t i = 0; i < one.size(); i++) {
        CAPTURE(one[i].name);
        CHECK(same_values(results[i], one[i]));
      }
    }
  }
}

TEST_CASE("fuse: what fuses agrees with what it replaces, and stays in its memory") {
  for_each_fast_instruction_set([] {
    Device& cpu = context().device("cpu");
    for (const Case& c : fused_cases()) {
      const Recording r = record_fused(c, true, cpu);
      CAPTURE(c.name());
      CHECK(count_ops(*r.tape, c.op) > 0);
      // A sanitizer looks at memory and threads; numbers are the same, and the reference is slow.
      Complaints complaints;
      if (!sanitized) complaints = check_parity(c, r, context(), cpu);
      const Complaints guards = check_guards(c, r, context(), cpu);
      complaints.insert(complaints.end(), guards.begin(), guards.end());
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
  });
}

}  // namespace fulmar::test
