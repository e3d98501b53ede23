#include <doctest/doctest.h>

#include <vector>

#include "engine/context.h"
#include "engine/fuse/convolution.h"
#include "engine/fuse/fuse.h"
#include "engine/ops.h"
#include "kernels/warp.h"
#include "tests/support/count_ops.h"

// What becomes of a network's beginning when it fuses: a picture, a convolution, a normalisation.
// The rows of bench/op_table/fused_stem.cpp, which the test `fuse` runs, hold the numbers.

namespace fulmar::test {
namespace {

Context& context() {
  static Context shared;
  return shared;
}

struct Beginning {
  Tape tape;
  Val source, x, w, y;

  explicit Beginning(bool cuts, int64_t outputs = 8, bool standardize = false) {
    constexpr int64_t side = 128;
    source = ops::input(tape, "source", {{2, side, side, 3}, Role::source, DType::u8});
    const Val samples = ops::input(
        tape, "samples", {{2, static_cast<int64_t>(sizeof(WarpSample))}, Role::source, DType::u8});
    WarpOptions how;
    how.standardize = standardize;
    x = ops::warp(tape, source, samples, side, side, how, cuts);
    Window window;
    window.stride = {2, 2};
    window.padding = {0, 1, 0, 1};
    w = leaf("w", {3, 3, 3, outputs});
    const Val z = ops::conv2d(tape, x, w, {}, window);
    const Shape c{outputs};
    const Val gamma = leaf("gamma", c), beta = leaf("beta", c);
    const Val mean = leaf("mean", c, Role::statistic), var = leaf("var", c, Role::statistic);
    y = ops::relu(tape, ops::batch_norm_train(tape, z, gamma, beta, {mean, var, 0.9, true}, 1e-3));
  }
  Val leaf(const char* name, const Shape& shape, Role role = Role::parameter) {
    return ops::input(tape, name, {shape, role});
  }
  // Fused, with the gradients by these values.
  std::shared_ptr<Tape> fused(std::vector<Val> wrt, const GradRules& rules = {},
                              const Device& device = context().device("cpu")) const {
    std::vector<Val> keep = wrt;
    keep.push_back(y);
    const Rewritten f = fuse(tape, device, keep, rules);
    for (Val& v : wrt) v = f.now(v);
    const std::vector<Val> d = grad(*f.tape, f.now(y), wrt, {}, rules);
    return fuse(*f.tape, context().device("reference"), d).tape;  // what nobody needs is gone
  }
};

const ops::FusedConvWeightGrad* weight_grad(const Tape& tape) {
  for (int n = 0; n < tape.size(); n++)
    if (const auto* back = as<ops::FusedConvWeightGrad>(tape.node(n))) return back;
  return nullptr;
}

}  // namespace

TEST_CASE("fuse stem: neither the picture nor the normalisation's gradient is written") {
  const Beginning b(true);
  const auto tape = b.fused({b.w});
  for (const char* op : {"warp", "batch_norm_grad", "channel_sums", "conv2d_weight_grad"}) {
    CAPTURE(op);
    CHECK(count_ops(*tape, op) == 0);
  }
  CHECK(count_ops(*tape, "convolution") == 1);
  REQUIRE(weight_grad(*tape));
  CHECK(weight_grad(*tape)->dy.normalised);
  CHECK(weight_grad(*tape)->x.warp);
}

TEST_CASE("fuse stem: a picture that may be turned is sampled once") {
  const Beginning b(false);
  const auto tape = b.fused({b.w});
  CHECK(count_ops(*tape, "warp") == 1);
  CHECK(count_ops(*tape, "batch_norm_grad") == 0);
  REQUIRE(weight_grad(*tape));
  CHECK_FALSE(weight_grad(*tape)->x.warp);
}

TEST_CASE("fuse stem: a picture that is kept, standardised, or read by many channels is written") {
  const Beginning kept(true);
  CHECK(count_ops(*kept.fused({kept.w, kept.x}), "warp") == 1);
  const Beginning standardised(true, 8, true);
  CHECK(count_ops(*standardised.fused({standardised.w}), "warp") == 1);
  const Beginning wide(true, 64);
  CHECK(count_ops(*wide.fused({wide.w}), "warp") == 1);
  CHECK(count_ops(*wide.fused({wide.w}), "batch_norm_grad") == 0);
  const auto keeps = [](const Vjp& v) { return std::vector<Val>(v.x.size()); };
  const Beginning ruled(true);
  CHECK(count_ops(*ruled.fused({ruled.w}, {{"warp", keeps}}), "warp") == 1);
}

// As a GPU's, whose dense convolutions are the vendor's.
TEST_CASE("fuse stem: of a device that takes only a network's beginning the rest stays") {
  FusedKernels kernels = *cpu_backend().fused;
  kernels.convolution_input_grad = nullptr;
  kernels.convolution_takes = [](const View& w, const View& y, const Window& window, int64_t groups,
                                 bool normalised) {
    return !normalised && cpu_backend().fused->convolution_samples(w, y, window, groups);
  };
  Backend backend = cpu_backend();
  backend.fused = &kernels;
  const Device device(backend, context().device("cpu").stream());
  const Beginning narrow(true), wide(true, 64);
  const auto tape = narrow.fused({narrow.w}, {}, device);
  CHECK(count_ops(*tape, "warp") == 0);
  CHECK(count_ops(*tape, "convolution") == 1);
  REQUIRE(weight_grad(*tape));
  CHECK(weight_grad(*tape)->dy.normalised);
  const auto plain = wide.fused({wide.w}, {}, device);
  CHECK(count_ops(*plain, "convolution") == 0);
  CHECK(count_ops(*plain, "conv2d_weight_grad") == 1);
  // The gradient by x is the plain kernel's.
  CHECK(count_ops(*narrow.fused({narrow.x}, {}, device), "conv2d_input_grad") == 1);
}

TEST_CASE("fuse stem: who asks for the gradient by x has dy in memory, once for both") {
  const Beginning b(true);
  const auto tape = b.fused({b.w, b.x});
  CHECK(count_ops(*tape, "batch_norm_grad") == 1);
  CHECK(count_ops(*tape, "conv2d_weight_grad") == 1);
}

}  // namespace fulmar::test
