#include <doctest/doctest.h>

#include <string>

#include "engine/context.h"
#include "engine/network.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "model/polar_low.h"
#include "tests/support/goldens.h"

// grad() for values inside a network, against PyTorch in float64: what explanations are built on.

using namespace fulmar;
using namespace fulmar::test;

namespace {

constexpr double bound = 1e-9;  // relative, by norm

// The trained-mode-free network on two pictures, with both width lists.
struct Explained {
  const Golden golden{"polar_low_torch_eval"};
  Context context;
  Device& device = context.device("reference");
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  std::string widths;
  Val x, logits;

  explicit Explained(const std::string& which) : widths(which) {
    model::PolarLowOptions options;
    options.widths = golden.metadata("widths")[which].get<std::vector<int64_t>>();
    x = ops::input(*tape, "x", {{2, 64, 64, 3}});
    logits = record(model::polar_low(options), *tape, x, {Mode::eval});
  }
  Val class_one(Val y) { return ops::slice(*tape, y, {0, 0, 0, 1}, {2, 1, 1, 1}); }
  // A gradient's summary and, where the file has it, the gradient itself.
  void check(const std::string& name, Val g, Val cotangent = {}) {
    CAPTURE(widths);
    Model model(device, *tape, 1);
    set_formula_weights(model);
    Session session(context, device, tape, std::array{g}, &model);
    const int64_t seed = golden.metadata("cases")[widths]["seed"];
    session.set(x, formula_uniform("input/" + std::to_string(seed), tape->shape(x).elements()));
    if (cotangent)
      session.set(cotangent,
                  formula_signed("cotangent/activation_10", tape->shape(cotangent).elements()));
    session.run();
    const Values ours = session.read(g);
    CHECK(summary_difference(name, ours, golden.values(widths + "/summary/" + name)) <= bound);
    if (golden.has(widths + "/" + name))
      CHECK(difference(ours, golden.values(widths + "/" + name)) <= bound);
  }
};

}  // namespace

TEST_CASE("grad(logit, activation_14) equals PyTorch's") {
  for (const char* widths : {"published", "narrow"}) {
    Explained e(widths);
    const Val inside = e.tape->find("activation_14");
    e.check("logit_wrt_activation_14", grad(*e.tape, e.class_one(e.logits), inside));
  }
}

TEST_CASE("grad(logit, activation), through the whole network, equals PyTorch's") {
  for (const char* widths : {"published", "narrow"}) {
    Explained e(widths);
    const Val first = e.tape->find("activation");
    e.check("logit_wrt_activation", grad(*e.tape, e.class_one(e.logits), first));
  }
}

TEST_CASE("grad(probability, input) equals PyTorch's") {
  for (const char* widths : {"published", "narrow"}) {
    Explained e(widths);
    const Val probability = e.class_one(ops::softmax(*e.tape, e.logits));
    e.check("probability_wrt_input", grad(*e.tape, probability, e.x));
  }
}

TEST_CASE("grad with a cotangent on a feature map equals PyTorch's") {
  for (const char* widths : {"published", "narrow"}) {
    Explained e(widths);
    const Val feature = e.tape->find("activation_10"), earlier = e.tape->find("activation_4");
    const Val dy = ops::input(*e.tape, "dy", {e.tape->shape(feature)});
    e.check("activation_10_wrt_input", grad(*e.tape, feature, e.x, dy), dy);
    e.check("activation_10_wrt_activation_4", grad(*e.tape, feature, earlier, dy), dy);
  }
}

TEST_CASE("the gradient of a sum of squared input gradients equals PyTorch's") {
  const Golden golden("second_derivative");
  Context context;
  Device& device = context.device("reference");
  auto tape = std::make_shared<Tape>();
  Tape& t = *tape;
  const Val x = ops::input(t, "x", {golden.shape("input")});
  const auto weight = [&](const char* name) {
    return ops::parameter(t, name, golden.shape(std::string("weight/") + name), {}, true);
  };
  Val h =
      ops::conv2d(t, x, weight("conv/kernel"), weight("conv/bias"), {{2, 2}, {1, 1}, {1, 1, 1, 1}});
  h = ops::depthwise_conv2d(t, ops::tanh(t, h), weight("depthwise/kernel"),
                            {{1, 1}, {1, 1}, {1, 1, 1, 1}});
  h = ops::conv2d(t, ops::softplus(t, h), weight("pointwise/kernel"), weight("pointwise/bias"), {});
  h = ops::global_average_pool(t, ops::sigmoid(t, h));
  const Val logits = ops::dense(t, h, weight("dense/kernel"), weight("dense/bias"));
  const Val first = grad(t, ops::slice(t, logits, {0, 0, 0, 1}, {2, 1, 1, 1}), x);
  const Val sum = ops::sum_all(t, ops::square(t, first));

  std::vector<std::string> names = golden.names("weight/");
  REQUIRE(!names.empty());
  std::vector<Val> wrt{x};
  for (const std::string& name : names) wrt.push_back(t.find(name));
  std::vector<Val> outputs = grad(t, sum, wrt);
  const std::vector<Val> second = outputs;
  outputs.insert(outputs.end(), {logits, first, sum});
  Model model(device, t, 1);
  for (const std::string& name : names) model.write(name, golden.values("weight/" + name));
  Session session(context, device, tape, outputs, &model);
  session.set(x, golden.values("input"));
  session.run();
  CHECK(difference(session.read(logits), golden.values("logits")) <= bound);
  CHECK(difference(session.read(first), golden.values("input_gradient")) <= bound);
  CHECK(difference(session.read(sum), golden.values("sum")) <= bound);
  CHECK(difference(session.read(second[0]), golden.values("gradient/input")) <= bound);
  for (size_t i = 0; i < names.size(); i++) {
    CAPTURE(names[i]);
    CHECK(difference(session.read(second[i + 1]), golden.values("gradient/" + names[i])) <= bound);
  }
}
