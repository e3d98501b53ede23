#include "engine/tape.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/network.h"
#include "engine/ops.h"
#include "engine/ops/conv.h"
#include "engine/ops/pointwise.h"
#include "engine/session.h"
#include "engine/tape_text.h"
#include "kernels/error.h"
#include "model/polar_low.h"
#include "model/program.h"
#include "model/tasks/classification.h"
#include "tests/support/count_ops.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using fulmar::test::count_ops;
using fulmar::test::error_of;

namespace {

Val image(Tape& tape, const Shape& shape) { return ops::input(tape, "x", {shape}); }

// An op of two operands whose gradient rule is whatever a test wants.
class TwoOperands : public Op {
 public:
  using Rule = std::function<std::vector<Val>(const Vjp&)>;
  explicit TwoOperands(Rule rule) : rule_(std::move(rule)) {}
  std::string_view name() const override { return "two_operands"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override { return {x[0]}; }
  std::vector<Val> vjp(const Vjp& v) const override { return rule_(v); }
  void run(Device&, const RunArgs&) const override {}

 private:
  Rule rule_;
};

}  // namespace

TEST_CASE("a shape error names the op, the layer and where it stands") {
  Tape tape;
  const Val x = image(tape, {16, 128, 128, 16});
  const Val w = ops::parameter(tape, "w", {1, 1, 32, 8}, {}, true);
  const auto block = tape.scope("block 3");
  const auto layer = tape.scope("separable_conv2d_5");
  CHECK(error_of(ErrorKind::usage, [&] { ops::conv2d(tape, x, w, {}, {}); }) ==
        "conv2d 'separable_conv2d_5' (block 3): x [16,128,128,16] has 16 channels, w expects 32");
}

TEST_CASE("a network's shape error names the layer") {
  Network network;
  network.add("input", "input", {});
  network.set_scope("block 1");
  network.add("max_pooling2d", "pool", {"input"}, {{"pool_size", int64_t{5}}});
  Tape tape;
  CHECK(
      error_of(ErrorKind::usage,
               [&] {
                 record(network, tape, image(tape, {1, 4, 4, 3}), {});
               }) ==
      "max_pool 'pool' (block 1): x [1,4,4,3] is smaller than a window of 5x5 taps, dilation 1x1");
}

TEST_CASE("a layer's own error names the layer") {
  Network network;
  network.add("input", "input", {});
  network.add("conv2d", "c", {"input"}, {{"kernel", int64_t{3}}});
  Tape tape;
  CHECK(error_of(ErrorKind::usage, [&] {
          record(network, tape, image(tape, {1, 4, 4, 3}), {});
        }) == "conv2d 'c': needs the attribute 'filters'");
}

TEST_CASE("an unknown name suggests the nearest") {
  Tape tape;
  record(model::polar_low(), tape, image(tape, {1, 64, 64, 3}), {});
  CHECK(error_of(ErrorKind::usage, [&] { tape.find("activaton_14"); }) ==
        "there is no value named 'activaton_14'; did you mean 'activation_14'?");
}

TEST_CASE("an error of a layer that happens to be called as what it lacks names the layer too") {
  const auto refusal = [](const std::string& op, const std::string& name,
                          const Attributes& attributes) {
    Network network;
    network.add("input", "input", {});
    network.add(op, name, {"input"}, attributes);
    Tape tape;
    const Val x = image(tape, {1, 4, 4, 3});
    return error_of(ErrorKind::usage, [&] { record(network, tape, x, {Mode::train}); });
  };
  CHECK(refusal("conv2d", "filters", {{"filters", int64_t{0}}}) ==
        "conv2d 'filters': 'filters' must be at least 1, it is 0");
  CHECK(refusal("activation", "swish", {{"function", std::string("swish")}}) ==
        "activation 'swish': there is no pointwise function 'swish'");
  CHECK(refusal("dropout", "rate", {{"rate", 1.0}}) ==
        "dropout 'rate' (network): the rate must be in [0, 1)");
  CHECK(refusal("dropout", "seed", {{"seed", int64_t{1}}}) ==
        "dropout 'seed': has no use for the attribute 'seed'");
}

TEST_CASE("an error says apart where it happened") {
  Tape tape;
  const auto layer = tape.scope("sum");
  try {
    ops::relu(tape, ops::input(tape, "labels", {{4}, Role::index, DType::i32}));
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.where() == "relu 'sum'");
    CHECK(std::string(error.what()) == "relu 'sum': takes float tensors");
  }
  CHECK(Error(ErrorKind::usage, "no place").where().empty());
}

TEST_CASE("what a gradient rule gives is checked, and named with the op and the operand") {
  const auto refusal = [](const TwoOperands::Rule& rule) {
    Tape tape;
    const Val x = image(tape, {1, 4, 4, 2}), w = ops::parameter(tape, "w", {2}, {}, true);
    const auto layer = tape.scope("mine");
    const Val y = tape.append(std::make_shared<TwoOperands>(rule), {x, w});
    return error_of(ErrorKind::usage, [&] { grad(tape, y, std::array{x, w}); });
  };
  const std::string where = "grad through two_operands 'mine': its gradient rule gave ";
  CHECK(refusal([](const Vjp& v) { return std::vector<Val>{v.dy[0]}; }) ==
        where + "1 values for 2 operands");
  CHECK(refusal([](const Vjp& v) {
          return std::vector<Val>{v.dy[0], {}, {}};
        }) == where + "3 values for 2 operands");
  CHECK(refusal([](const Vjp& v) {
          return std::vector<Val>{ops::sum_all(v.tape, v.dy[0]), {}};
        }) == where + "[1] statistic for operand 1, which is [1,4,4,2] activation");
  CHECK(refusal([](const Vjp& v) {
          return std::vector<Val>{v.dy[0], ops::sum(v.tape, v.dy[0], {2})};
        }) == where + "[2] activation for operand 2, which is [2] parameter");
  CHECK(refusal([](const Vjp&) {
          return std::vector<Val>{{}, Val{1 << 20, 0}};
        }) == "grad through two_operands 'mine': a value that is not on this tape was used");
  CHECK(refusal([](const Vjp& v) {
          return std::vector<Val>{v.dy[0], ops::sum(v.tape, v.dy[0], {2}, Role::statistic)};
        }) == "no error");  // of one type everywhere
}

TEST_CASE("a gradient rule given by an op's name takes the place of its own") {
  const auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{4}}), dy = ops::input(*tape, "dy", {{4}});
  // Guided backpropagation (Springenberg et al. 2015).
  const GradRules guided{{"relu", [](const Vjp& v) {
                            const Val positive = ops::relu(v.tape, v.dy[0]);
                            return std::vector<Val>{ops::gate(v.tape, v.y[0], positive)};
                          }}};
  const Val y = ops::relu(*tape, x);
  const std::array dx{grad(*tape, y, x, dy), grad(*tape, y, x, dy, guided)};
  Context context;
  Session session(context, context.device("reference"), tape, dx);
  session.set(x, std::vector<double>{-1, 2, 3, 4});
  session.set(dy, std::vector<double>{1, -1, 2, -2});
  session.run();
  CHECK(session.read(dx[0]) == std::vector<double>{0, -1, 2, -2});
  CHECK(session.read(dx[1]) == std::vector<double>{0, 0, 2, 0});
  const GradRules wrong{{"relu", [](const Vjp&) { return std::vector<Val>{}; }}};
  CHECK(error_of(ErrorKind::usage, [&] { grad(*tape, y, x, dy, wrong); }) ==
        "grad through relu: its gradient rule gave 0 values for 1 operands");
}

TEST_CASE("a gradient rule may take in what later consumers gave") {
  for (const bool takes : {false, true}) {
    Tape tape;
    const Val x = image(tape, {1, 4, 4, 2});
    const Val y = tape.append(std::make_shared<TwoOperands>([takes](const Vjp& v) {
                                CHECK(v.so_far[0]);
                                CHECK_FALSE(v.so_far[1]);  // the same value: once is enough
                                v.added[0] = takes;
                                return std::vector<Val>{ops::sub(v.tape, v.so_far[0], v.dy[0]), {}};
                              }),
                              {x, x});
    const Val sum = ops::mul(tape, y, ops::tanh(tape, x));
    const int forward = tape.size();
    const Val dx = grad(tape, sum, x);
    CHECK(tape.node(dx.node).op->name() == (takes ? "sub" : "add"));
    CHECK(count_ops(tape, "add", forward) == (takes ? 0 : 1));
  }
}

TEST_CASE("a gradient rule may give what nobody wants, of any shape") {
  Tape tape;
  const Val x = image(tape, {1, 4, 4, 2}), w = ops::parameter(tape, "w", {2}, {}, true);
  const auto rule = [](const Vjp& v) { return std::vector<Val>{v.dy[0], v.dy[0]}; };
  const Val y = tape.append(std::make_shared<TwoOperands>(rule), {x, w});
  CHECK(tape.shape(grad(tape, y, x)) == Shape{1, 4, 4, 2});
}

namespace {

// A chain of activations, each of which saves its output for its gradient.
Network chain(int64_t calls) {
  Network network;
  network.add("input", "layer0", {});
  for (int64_t i = 1; i < calls; i++)
    network.add("activation", "layer" + std::to_string(i), {"layer" + std::to_string(i - 1)},
                {{"function", std::string("tanh")}});
  return network;
}

}  // namespace

// A walk over all of the tape for each node would take minutes to hours.
TEST_CASE("recording a long network, its gradient and the gradient's takes steps for each layer" *
          doctest::timeout(300)) {
  const auto sizes = [](int64_t calls) {
    const Network network = chain(calls);
    CHECK(network.call(network.output()).name == network.output());
    Tape tape;
    const Val x = image(tape, {1, 1, 1, 1});
    const Val y = record(network, tape, x, {});
    const int forward = tape.size();
    const Val dx = grad(tape, y, x);
    const int backward = tape.size();
    grad(tape, dx, x);
    return std::array{forward, backward - forward, tape.size() - backward};
  };
  const auto short_one = sizes(101), long_one = sizes(20001);
  for (size_t i = 0; i < 3; i++) {
    CAPTURE(i);
    CHECK(long_one[i] <= 201 * short_one[i]);
  }
}

TEST_CASE("the gradient by many values looks each up once" * doctest::timeout(300)) {
  Tape tape;
  Val y = image(tape, {1, 1, 1, 1});
  std::vector<Val> weights;
  for (int i = 0; i < 20000; i++) {
    weights.push_back(ops::parameter(tape, "w" + std::to_string(i), {1}, {}, true));
    y = ops::add(tape, y, weights.back());
  }
  const std::vector<Val> gradients = grad(tape, y, weights);
  CHECK(gradients.size() == weights.size());
}

TEST_CASE("a network's file may not list more layers than anybody needs") {
  const std::string json = chain(Network::max_calls + 1).to_json();
  CHECK(error_of(ErrorKind::usage, [&] { Network::from_json(json); }) ==
        "the network has 16385 layers, at most 16384 are read");
  std::string many =
      R"([{"op":"input","name":"i","inputs":[]},{"op":"add","name":"a","inputs":["i")";
  for (int i = 0; i < Network::max_inputs; i++) many += R"(,"i")";
  CHECK(error_of(ErrorKind::usage, [&] { Network::from_json(many + "]}]"); }) ==
        "the network's layers have more than 65536 inputs");
  const Network longest = Network::from_json(chain(Network::max_calls).to_json());
  CHECK(std::ssize(longest.calls()) == Network::max_calls);
}

TEST_CASE("grad through an op without a rule names it") {
  Tape tape;
  const Val x = image(tape, {1, 4, 4, 2});
  const auto layer = tape.scope("pool");
  const Val y = ops::max_pool(tape, x, {2, 2}, {{2, 2}});
  const Val dx = grad(tape, y, x);
  CHECK(error_of(ErrorKind::usage, [&] { grad(tape, dx, y); }) ==
        "no error");  // dx does not depend on y's value, only on where the maximum lies
  const Val dy = ops::mul(tape, y, y);
  const Val again = grad(tape, dy, x);
  CHECK(error_of(ErrorKind::usage, [&] {
          grad(tape, again, x);
        }).find("grad through max_pool_grad 'pool': has no gradient rule") == 0);
}

// x, y -> exp(x) y and what nobody can see. It leaves its gradient to its composition.
struct ExpTimes final : Op {
  std::string_view name() const override { return "exp_times"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    return {in[0], in[0]};
  }
  void run(Device&, const RunArgs&) const override {}
  std::vector<Val> compose(Tape& tape, std::span<const Val> x) const override {
    return {ops::mul(tape, ops::exp(tape, x[0]), x[1]), Val{}};
  }
};

TEST_CASE("an op without a gradient rule has the gradient of its composition") {
  // y depends on x, and x stands there twice: what the op gives are partial derivatives.
  Context context;
  for (const bool composed : {false, true}) {
    CAPTURE(composed);
    const auto tape = std::make_shared<Tape>();
    const Val x = ops::input(*tape, "x", {{3}});
    const Val y = ops::square(*tape, x);
    const auto op = std::make_shared<ExpTimes>();
    const auto apply = [&](Val a, Val b) {
      return composed ? op->compose(*tape, std::array{a, b})[0] : tape->append(op, {a, b});
    };
    const Val z = ops::add(*tape, apply(x, y), apply(x, x));
    const Val dx = grad(*tape, z, x);
    Session session(context, context.device("reference"), tape, std::array{dx}, nullptr);
    session.set(x, std::span<const double>(std::array{-1.0, 0.5, 2.0}));
    session.run();
    const std::vector<double> found = session.read(dx);
    for (size_t i = 0; i < 3; i++) {
      const double v = std::array{-1.0, 0.5, 2.0}[i];
      CHECK(found[i] == doctest::Approx(std::exp(v) * (v * v + 2 * v + v + 1)));
    }
  }
}

TEST_CASE("the polar-low network has the published shapes and names") {
  Tape tape;
  const Network network = model::polar_low();
  const Val logits = record(network, tape, image(tape, {16, 1024, 1024, 3}), {});
  CHECK(tape.shape(logits) == Shape{16, 1, 1, 2});
  CHECK(tape.shape(tape.find("conv2d")) == Shape{16, 512, 512, 8});
  CHECK(tape.shape(tape.find("activation_14")) == Shape{16, 8, 8, 512});
  CHECK(tape.shape(tape.find("activation_15")) == Shape{16, 4, 4, 1024});
  CHECK(tape.find("dense") == logits);
}

TEST_CASE("a network survives its JSON") {
  const Network network = model::polar_low();
  const std::string json = network.to_json();
  const Network again = Network::from_json(json);
  CHECK(again.to_json() == json);
  CHECK(again.call("conv2d_3").scope == "block 3");
  CHECK(std::get<int64_t>(again.call("separable_conv2d_5").attributes.at("filters")) == 32);
}

TEST_CASE("a network's JSON that makes no sense is refused with the reason") {
  const auto refusal = [](const std::string& json) {
    return error_of(ErrorKind::usage, [&] { Network::from_json(json); });
  };
  CHECK(refusal("{") == "the network is not a JSON list of layers");
  CHECK(refusal("[{\"op\":\"input\"}]") == "layer 1 needs op, name and inputs");
  CHECK(refusal(R"([{"op":"conv3d","name":"c","inputs":[]}])") ==
        "there is no layer 'conv3d' (wanted by 'c')");
  CHECK(
      refusal(
          R"([{"op":"input","name":"i","inputs":[]},{"op":"dense","name":"d","inputs":["j"]}])") ==
      "dense 'd': there is no layer 'j' before it");
  CHECK(refusal(R"([{"op":"input","name":"i","inputs":[],"attributes":{"a":{}}}])") ==
        "layer 1, 'a': a value must be a flag, a number, a text or a list of numbers");
}

TEST_CASE("a layer's name that is another value's is refused") {
  Network network;
  network.add("input", "input", {});
  network.add("activation", "label", {"input"});
  Tape tape;
  const Val x = image(tape, {1, 4, 4, 3});
  ops::input(tape, "label", {{1, 1, 1, 1}, Role::index, DType::i32});
  CHECK(error_of(ErrorKind::usage, [&] { record(network, tape, x, {}); }) ==
        "activation 'label': another value on the tape has this name");
  Tape fine;  // the same value by the same name
  record(network, fine, ops::input(fine, "input", {{1, 4, 4, 3}}), {});
  CHECK(fine.has("label"));
}

TEST_CASE("a layer's name does not make its value the labels") {
  Network network;
  network.add("input", "input", {});
  network.add("dense", "label", {"input"}, {{"units", int64_t{2}}});
  const std::vector<TensorSpec> tensors{
      {"image", DType::u8, {2, 4, 4, 3}},
      {"image/samples", DType::u8, {2, static_cast<int64_t>(sizeof(WarpSample))}}};
  const ModelInfo info = model::classifier_of(network, Preprocess::of_pictures(0, 1, 3),
                                              model::Classification({"neg", "pos"}, 1));
  CHECK(!model::record_program(info, model::heads_of(info), tensors, {}).loss);
}

TEST_CASE("a network without layers is refused") {
  Tape tape;
  const Val x = image(tape, {1, 4, 4, 3});
  CHECK(error_of(ErrorKind::usage, [&] { record(Network(), tape, x, {}); }) ==
        "the network has no layers");
  CHECK(error_of(ErrorKind::usage, [] { (void)Network().output(); }) ==
        "the network has no layers");
  CHECK(error_of(ErrorKind::usage, [] { (void)Network().call("a"); }) ==
        "the network has no layer 'a'");
}

TEST_CASE("operands of a pointwise op share their extents, but for those of 1") {
  Tape tape;
  const Val x = image(tape, {2, 4, 4, 3}), v = ops::constant(tape, {3}, 1);
  CHECK(tape.shape(ops::mul(tape, v, x)) == tape.shape(x));
  CHECK(tape.shape(ops::mul(tape, ops::constant(tape, {4, 1}, 1), v)) == Shape{4, 3});
  CHECK(tape.node(ops::mul(tape, x, v).node).inputs == std::vector{x, v});
  CHECK(error_of(ErrorKind::usage, [&] { ops::mul(tape, x, ops::constant(tape, {2}, 1)); }) ==
        "mul: operands [2,4,4,3] and [2] don't fit together");
}

TEST_CASE("values too large to count are refused") {
  Tape tape;
  const int64_t big = int64_t{1} << 20;
  CHECK(error_of(ErrorKind::usage, [&] {
          ops::constant(tape, {big, big, big, 0}, 0);
        }) == "constant: a value of shape [1048576,1048576,1048576,0] is too large");
  CHECK(error_of(ErrorKind::usage, [&] {
          ops::constant(tape, {2, -1}, 0);
        }) == "constant: a value of shape [2,-1] can't be");
  const Val x = ops::constant(tape, {1, big, 1, 1}, 0);
  CHECK(error_of(ErrorKind::usage, [&] {
          ops::broadcast(tape, x, {1, big, big, 17});
        }) == "broadcast: a value of shape [1,1048576,1048576,17] is too large");
  CHECK(error_of(ErrorKind::usage, [&] {
          ops::resize(tape, x, big * big, big * big, {});
        }).find("too large") != std::string::npos);
  CHECK(tape.shape(ops::broadcast(tape, x, {1, big, big, 16})).elements() == Tape::max_elements);
}

TEST_CASE("windows beyond every picture are refused, and long paddings looked through at once") {
  Tape tape;
  const int64_t most = max_window_value;
  const Val x = image(tape, {1, 4, 4, 2});
  const auto refusal = [&](std::array<int64_t, 2> kernel, const Window& window) {
    return error_of(ErrorKind::usage, [&] { ops::max_pool(tape, x, kernel, window); });
  };
  CHECK(refusal({1, most + 1}, {}) == "max_pool: the kernel must be 1 to 1048576, it is 1048577");
  CHECK(refusal({1, 1}, {{0, 1}}) == "max_pool: the stride must be 1 to 1048576, it is 0");
  CHECK(refusal({1, 1}, {{1, 1}, {int64_t{1} << 62, 1}}).find("the dilation must be") == 10);
  CHECK(refusal({1, 1}, {{1, 1}, {1, 1}, {0, 0, -1, 0}}).find("padding must be 0 to") == 10);
  CHECK(refusal({most, 1}, {{1, 1}, {1, 1}, {most, most, 0, 0}}) ==
        "max_pool: a window has at most 256 taps, 1048576x1 given");
  CHECK(refusal({2, 2}, {{1, 1}, {1, 1}, {0, 0, 2, 0}}).find("at column 0 of the output") !=
        std::string::npos);
  CHECK(refusal({1, 1}, {{1, 1}, {1, 1}, {0, most, 0, 0}}).find("at row 1048579") !=
        std::string::npos);
  CHECK(refusal({16, 16}, {{16, 16}, {1, 1}, {6, 6, 6, 6}}) == "no error");  // 256 taps
  CHECK(error_of(ErrorKind::usage, [&] { ops::same_padding(4, 3, 0, 1); }) ==
        "the stride must be 1 to 1048576, it is 0");
}

TEST_CASE("grad by a batch's own statistics is refused where x accounts for them") {
  Tape tape;
  const Val x = image(tape, {2, 4, 4, 3});
  const Val gamma = ops::parameter(tape, "gamma", {3}, {}, false),
            beta = ops::parameter(tape, "beta", {3}, {}, false);
  const ops::RunningStatistics running{ops::statistic(tape, "mean", {3}, 0),
                                       ops::statistic(tape, "var", {3}, 1)};
  const auto layer = tape.scope("bn");
  const Val y = ops::batch_norm_train(tape, x, gamma, beta, running, 1e-3);
  const std::vector<Val> inputs = tape.node(y.node).inputs;
  for (size_t i = 3; i < 6; i++) {
    CAPTURE(i);
    CHECK(error_of(ErrorKind::usage, [&] { grad(tape, y, inputs[i]); })
              .find("grad through batch_norm_train 'bn': the batch's mean, variance and sums have "
                    "no gradient of their own") == 0);
  }
  CHECK(error_of(ErrorKind::usage, [&] { grad(tape, y, x); }) == "no error");
  CHECK(error_of(ErrorKind::usage, [&] { grad(tape, y, gamma); }) == "no error");
}

TEST_CASE("an op on a tape is recognised, its settings are fields and attributes") {
  Tape t;
  const Val x = ops::input(t, "x", {{1, 8, 8, 4}});
  const Val w = ops::input(t, "w", {{3, 3, 2, 6}, Role::parameter});
  const Window window{{2, 1}, {1, 1}, {0, 1, 1, 1}};
  const Val y = ops::leaky_relu(t, ops::conv2d(t, x, w, {}, window, 2), 0.25);
  const Val dx = grad(t, ops::sum_all(t, y), x);

  const Node& relu = t.node(y.node);
  REQUIRE(as<ops::Pointwise>(relu));
  CHECK(as<ops::Pointwise>(relu)->alpha == 0.25);
  CHECK(relu.op->attributes() == Attributes{{"alpha", 0.25}});
  CHECK(as<ops::Conv>(relu) == nullptr);

  const ops::Conv* conv = as<ops::Conv>(t.node(relu.inputs[0].node));
  REQUIRE(conv);
  CHECK(conv->how.groups == 2);
  CHECK(conv->how.window.stride == std::array<int64_t, 2>{2, 1});
  const Attributes attributes = conv->attributes();
  CHECK(attributes.at("padding") == Attribute(std::vector<int64_t>{0, 1, 1, 1}));
  const ops::ConvInputGrad* of_x = as<ops::ConvInputGrad>(t.node(dx.node));
  REQUIRE(of_x);
  CHECK(of_x->x == t.shape(x));
  CHECK(of_x->attributes() == attributes);
}

TEST_CASE("a tape is printed as text and as a graph, a layer's nodes together") {
  Tape t;
  const Val x = ops::input(t, "x", {{1, 8, 8, 4}});
  Val y;
  {
    const auto block = t.scope("block 1");
    const auto layer = t.scope("conv \"a\"");
    const Val w = ops::parameter(t, "conv/w", {1, 1, 4, 6}, {}, true);
    y = ops::conv2d(t, x, w, {}, Window{});
  }
  ops::max_pool(t, y, {2, 2}, Window{{2, 2}, {1, 1}, {}});
  CHECK(tape_as_text(t, {0, 1, 2, 3}) ==
        "%0 = input 'x' [1,8,8,4]\n"
        "block 1 / conv \"a\"\n"
        "  %1 = parameter 'conv/w' [1,1,4,6] parameter\n"
        "  %2 = conv2d(%0, %1, -) [1,8,8,6]\n"
        "%3 = max_pool(%2) [1,4,4,6], [1,4,4,6] index u8  kernel=2,2 stride=2,2\n");
  CHECK(tape_as_graphviz(t, {0, 1, 2}) ==
        "digraph tape {\n  node [shape=box, fontname=Helvetica];\n"
        "    n0 [label=\"input 'x'\\n[1,8,8,4]\", shape=ellipse];\n"
        "  subgraph cluster1 {\n    label=\"block 1 / conv \\\"a\\\"\";\n"
        "    n1 [label=\"parameter 'conv/w'\\n[1,1,4,6] parameter\", shape=ellipse];\n"
        "    n2 [label=\"conv2d\\n[1,8,8,6]\"];\n  }\n"
        "  n0 -> n2;\n  n1 -> n2;\n}\n");
  // What stands before the nodes shown has no arrow.
  CHECK(tape_as_mermaid(t, {1, 2}) ==
        "flowchart TD\n  subgraph s0[\"block 1 / conv #quot;a#quot;\"]\n"
        "    n1([\"parameter 'conv/w'<br/>[1,1,4,6] parameter\"])\n"
        "    n2[\"conv2d<br/>[1,8,8,6]\"]\n  end\n  n1 --> n2\n");
}

TEST_CASE("a cotangent of another shape is refused") {
  Tape tape;
  const Val x = image(tape, {1, 1, 2, 3}), dy = ops::input(tape, "dy", {{1, 1, 2, 2}});
  const Val y = ops::square(tape, x);
  CHECK(error_of(ErrorKind::usage, [&] { grad(tape, y, x, dy); }) ==
        "grad: the cotangent has shape [1,1,2,2], the value it belongs to [1,1,2,3]");
}

TEST_CASE("names are unique and leaves of one name are one value") {
  Tape tape;
  const Val x = image(tape, {1, 2, 2, 1});
  CHECK(error_of(ErrorKind::usage, [&] {
          image(tape, {1, 2, 2, 1});
        }) == "there are two inputs named 'x'");
  const Val w = ops::parameter(tape, "w", {3}, {}, true);
  CHECK(ops::parameter(tape, "w", {3}, {}, true) == w);
  CHECK(error_of(ErrorKind::usage, [&] { ops::parameter(tape, "w", {4}, {}, true); }) ==
        "'w' is already a value: parameter [3]");
  // A parameter would get the input, and be neither trained nor stored.
  CHECK(error_of(ErrorKind::usage, [&] {
          ops::parameter(tape, "x", {1, 2, 2, 1}, {}, true);
        }) == "'x' is already a value: input [1,2,2,1]");
  ops::input(tape, "weights", {{3}, Role::parameter});
  CHECK(error_of(ErrorKind::usage, [&] { ops::parameter(tape, "weights", {3}, {}, true); }) ==
        "'weights' is already a value: input [3]");
  CHECK(error_of(ErrorKind::usage, [&] { ops::statistic(tape, "w", {3}, 0); }) ==
        "'w' is already a value: parameter [3]");
  tape.name(ops::relu(tape, w), "activation");
  CHECK(error_of(ErrorKind::usage, [&] { ops::parameter(tape, "activation", {3}, {}, true); }) ==
        "'activation' is already a value: relu [3]");
  CHECK(error_of(ErrorKind::usage, [&] { tape.name(x, "w"); }) ==
        "two values are named 'w': names on a tape are unique");
}
