#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/picture/geometry.h"
#include "engine/session.h"
#include "kernels/bf16.h"
#include "kernels/error.h"
#include "model/polar_low.h"
#include "model/program.h"
#include "model/tasks/classification.h"
#include "tests/op_check.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/golden_network.h"

// Which values are bf16 on a device that stores activations so, and which stay float32.
namespace fulmar::test {
namespace {

using Values = std::vector<double>;

struct Emulated {
  Context context;
  Device device{emulated_bf16(), context.device("reference").stream()};

  DType type(const Tape& tape, Val v) { return type_on(device, tape.info(v)); }
};

}  // namespace

TEST_CASE("roles: a network's activations are bf16; its weights, gradients and loss float32") {
  Emulated e;
  const Golden golden("polar_low_torch_64_narrow");
  GoldenNetwork network(golden, Mode::train);
  Tape& tape = *network.tape;
  Model model(e.device, tape, 1);
  const std::vector<Val> gradients = parameter_gradients(tape, model, network.loss);
  for (size_t i = 0; i < gradients.size(); i++) {
    CAPTURE(model.parameters()[i].name);
    CHECK(e.type(tape, gradients[i]) == DType::f32);
    CHECK(e.type(tape, tape.find(model.parameters()[i].name)) == DType::f32);
  }
  CHECK(e.type(tape, network.loss) == DType::f32);
  CHECK(e.type(tape, network.logits) == DType::bf16);
  CHECK(e.type(tape, network.x) == DType::bf16);
  CHECK(e.type(tape, grad(tape, network.loss, network.x)) == DType::bf16);
  for (const Model::Parameter& p : model.parameters())
    CHECK(model.view(p.name, tape.info(tape.find(p.name))).type == DType::f32);
  // What makes up most of the memory.
  for (int n = 0; n < tape.size(); n++)
    if (const ValueInfo& y = tape.node(n).outputs.empty() ? ValueInfo{} : tape.node(n).outputs[0];
        y.shape.rank() == 4 && y.shape.height() > 1 && y.is_real() && !tape.node(n).op->is_leaf()) {
      CAPTURE(tape.describe(n));
      const bool weights = same_type(y.role, Role::parameter);
      CHECK((weights || type_on(e.device, y) == DType::bf16));
      if (weights) CHECK(y.shape.height() <= 3);
    }
}

TEST_CASE("roles: of every op, a gradient has the type of its value") {
  Emulated e;
  for (const Case& c : op_cases()) {
    CAPTURE(c.name());
    const Recording r = record(c, true);
    size_t next = 0;
    for (size_t i = 0; i < c.operands.size(); i++) {
      if (!c.operands[i].differentiable || r.gradients.empty()) continue;
      CAPTURE(c.operands[i].name);
      CHECK(e.type(*r.tape, r.gradients[next++]) == e.type(*r.tape, r.inputs[i]));
    }
  }
}

TEST_CASE("roles: losses of rows, and what weighs them, are float32") {
  Emulated e;
  Tape t;
  const Val logits = ops::input(t, "logits", {{2, 3, 1, 4}});
  const Val labels = ops::input(t, "labels", {{2, 3, 1, 1}, Role::index, DType::i32});
  const Val weights = ops::input(t, "weights", {{2, 3, 1, 1}});
  const ops::Loss loss = ops::softmax_cross_entropy(t, logits, labels, {}, {}, weights);
  for (const Val v : {loss.mean, loss.sum, loss.weight, loss.rows, loss.row_weight})
    CHECK(e.type(t, v) == DType::f32);
  for (const Val x : t.node(loss.rows.node).inputs)
    if (x && !(x == logits) && !(x == labels)) CHECK(e.type(t, x) == DType::f32);
  CHECK(e.type(t, grad(t, loss.mean, loss.rows)) == DType::f32);
  CHECK(e.type(t, grad(t, loss.mean, logits)) == DType::bf16);
}

TEST_CASE("roles: softmax and its loss keep the type that they are given") {
  Emulated e;
  Tape t;
  const Val x = ops::input(t, "x", {{2, 3, 1, 4}});
  const Val s = ops::as_role(t, x, Role::statistic);
  CHECK(e.type(t, ops::softmax(t, x)) == DType::bf16);
  const Val p = ops::softmax(t, s);
  CHECK(e.type(t, p) == DType::f32);
  CHECK(t.node(p.node).inputs[0] == s);
  CHECK(e.type(t, grad(t, ops::sum_all(t, p), s)) == DType::f32);
  const Val labels = ops::input(t, "labels", {{2, 3, 1, 1}, Role::index, DType::i32});
  const ops::Loss loss = ops::softmax_cross_entropy(t, s, labels);
  CHECK(t.node(loss.rows.node).inputs[0] == s);
  CHECK(e.type(t, grad(t, loss.mean, s)) == DType::f32);
  const Val sums = ops::input(t, "sums", {{1, 1, 3, 4}, Role::sum, DType::f64});
  CHECK_THROWS_WITH_AS(ops::softmax(t, sums), "softmax: takes float tensors", Error);
  const Val three = ops::input(t, "three", {{1, 1, 3, 1}, Role::index, DType::i32});
  CHECK_THROWS_WITH_AS(ops::softmax_cross_entropy(t, sums, three),
                       "softmax_cross_entropy: takes float tensors", Error);
}

TEST_CASE("roles: a program's probabilities are float32, and those of the logits that it gives") {
  Emulated e;
  const Network network = model::polar_low({1, 3, {4, 8}, 0.5});
  const std::vector<TensorSpec> tensors{
      {"image", DType::u8, {3, 16, 16, 1}},
      {"image/samples", DType::u8, {3, static_cast<int64_t>(sizeof(WarpSample))}}};
  const Preprocess preprocess = Preprocess::of_pictures(0, 16, 1);
  const ModelInfo info =
      model::classifier_of(network, preprocess, model::Classification({"a", "b", "c"}));
  const model::Program p =
      model::record_program(info, model::heads_of(info), tensors, {Mode::eval});
  const Val logits = p.outputs.at(network.output()), probabilities = p.tape->find("probabilities");
  CHECK(e.type(*p.tape, logits) == DType::bf16);
  REQUIRE(e.type(*p.tape, probabilities) == DType::f32);

  Model model = model::new_model(info, e.device, 3);
  Session session(e.context, e.device, p.tape, std::array{logits, probabilities}, &model);
  std::vector<uint8_t> pictures(size_t{3} * 16 * 16);
  for (size_t i = 0; i < pictures.size(); i++) pictures[i] = static_cast<uint8_t>(i * i % 251);
  const std::vector<WarpSample> samples(3, centre_sample(preprocess, 16, 16));
  session.set_bytes(p.inputs[0], pictures.data(), pictures.size());
  session.set_bytes(p.inputs[1], samples.data(), samples.size() * sizeof(WarpSample));
  session.run();
  const Values z = session.read(logits), found = session.read(probabilities);
  for (size_t row = 0; row < 3; row++) {
    Values expected(3);
    double sum = 0;
    for (size_t k = 0; k < 3; k++) sum += expected[k] = std::exp(z[row * 3 + k] - z[row * 3]);
    for (size_t k = 0; k < 3; k++)
      CHECK(found[row * 3 + k] == doctest::Approx(expected[k] / sum).epsilon(1e-6));
  }
}

TEST_CASE("roles: operands of two roles become activations, sums of activations statistics") {
  Emulated e;
  Tape t;
  const Val x = ops::input(t, "x", {{2, 3, 1, 4}}), p = ops::parameter(t, "p", {4}, {}, false);
  const Val s = ops::statistic(t, "s", {4}, 0);
  const auto role = [&](Val v) { return t.info(v).role; };
  CHECK(role(ops::add(t, x, p)) == Role::activation);
  CHECK(role(ops::mul(t, p, x)) == Role::activation);
  CHECK(same_type(role(ops::add(t, p, s)), Role::parameter));
  CHECK(role(ops::square(t, p)) == Role::parameter);
  CHECK(role(ops::sum_all(t, x)) == Role::statistic);
  CHECK(role(ops::sum_all(t, p)) == Role::parameter);
  CHECK(role(ops::sum(t, x, {4})) == Role::activation);
  CHECK(role(ops::sum(t, x, {4}, Role::parameter)) == Role::parameter);
  const Val vector = ops::broadcast(t, p, {1, 1, 1, 4});
  CHECK(role(vector) == Role::parameter);
  const Val one = ops::slice(t, x, {0, 0, 0, 0}, {1, 1, 1, 4});
  CHECK(role(ops::concat(t, std::array{one, vector})) == Role::activation);
  CHECK(role(ops::concat(t, std::array{vector, vector})) == Role::parameter);
  // Sums over pixels are f64 on every device: no kernel converts them, and only add takes them.
  const Val sums = ops::input(t, "sums", {{3, 4}, Role::sum, DType::f64});
  const Val twice = ops::add(t, sums, sums);
  CHECK(role(twice) == Role::sum);
  CHECK(e.type(t, twice) == DType::f64);
  CHECK(role(grad(t, twice, sums)) == Role::sum);
  const Val row = ops::input(t, "row", {{1, 4}, Role::sum, DType::f64});
  CHECK_THROWS_AS(ops::add(t, sums, row), Error);
  CHECK_THROWS_AS(ops::sum_all(t, sums), Error);
  CHECK_THROWS_AS(ops::mul(t, sums, sums), Error);
  CHECK_THROWS_AS(ops::square(t, sums), Error);
  CHECK_THROWS_AS(ops::add(t, sums, p), Error);
  CHECK_THROWS_AS(ops::as_role(t, sums, Role::activation), Error);
  // Nothing is appended where nothing changes.
  const int nodes = t.size();
  CHECK(ops::as_role(t, p, Role::statistic) == p);
  CHECK(ops::as_role(t, x, Role::activation) == x);
  CHECK(t.size() == nodes);
  CHECK(ops::as_role(t, p, Role::activation) != p);
}

TEST_CASE("roles: the gradient of a parameter that repeats over activations is rounded once") {
  Tape t;
  const Val x = ops::input(t, "x", {{2, 3, 1, 4}}), p = ops::parameter(t, "p", {4}, {}, false);
  const Val dy = ops::input(t, "dy", {{2, 3, 1, 4}});
  const Val dp = grad(t, ops::add(t, x, p), p, dy);
  CHECK(t.info(dp).role == Role::parameter);
  CHECK(t.node(dp.node).op->name() == "sum");
  CHECK(t.node(dp.node).inputs[0] == dy);
}

TEST_CASE(
    "roles: a session rounds what it is given to bf16, to the nearest and even, and reads it") {
  Emulated e;
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{6}}), y = ops::affine(*tape, x, 2, 0);
  const Val w = ops::as_role(*tape, x, Role::statistic);
  Session session(e.context, e.device, tape, std::array{y, w});
  const double step = 0x1p-7, infinity = std::numeric_limits<double>::infinity();
  // Halfway between two: to the one whose last bit is 0.
  const Values given{1 + 0.5 * step, 1 + 1.5 * step, -1 - 0.75 * step, 3e38, 1e39, -0.0};
  const Values stored{1, 1 + 2 * step, -1 - step, to_float(to_bf16(3e38f)), infinity, 0};
  session.set(x, std::span<const double>(given));
  session.run();
  CHECK(session.read(x) == stored);
  CHECK(session.read(w) == stored);
  Values doubled = stored;
  for (double& v : doubled) v *= 2;
  doubled[3] = infinity;
  CHECK(session.read(y) == doubled);
  session.set(x, std::span<const float>(std::vector<float>(given.begin(), given.end())));
  CHECK(session.read(x) == stored);
  CHECK(session.view(x).bytes() == 12);
  CHECK(session.view(w).bytes() == 24);
  session.set(x, Values(6, std::nan("")));
  CHECK(std::isnan(session.read(x)[5]));
}

TEST_CASE("roles: an update too small for bf16 reaches the weights") {
  Emulated e;
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{1, 1, 1, 1}});
  const Val w = ops::parameter(*tape, "w", {1, 1}, {ops::Initializer::Kind::ones, 0, 0}, false);
  const Val loss = ops::sum_all(*tape, ops::dense(*tape, x, w, {}));
  Model model(e.device, *tape, 1);
  record_update(*tape, model, AdamW{}, joined_gradients(*tape, model, loss));
  StepState state;
  state.learning_rate = 1e-5;  // far below half a step of bf16 at 1
  Session session(e.context, e.device, tape, std::array{loss}, &model);
  session.set(x, Values{1});
  for (state.step = 1; state.step <= 3; state.step++) {
    model.set_step_state(state);
    session.run();
  }
  CHECK(model.read("w")[0] == doctest::Approx(1 - 3e-5).epsilon(1e-6));
}

namespace {

// Says that it may work in place, between types.
class Narrow : public Op {
 public:
  std::string_view name() const override { return "narrow"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override {
    return {{x[0].shape, Role::activation}};
  }
  bool may_overwrite(int) const override { return true; }
  void run(Device&, const RunArgs&) const override {}
};

}  // namespace

TEST_CASE("roles: nothing runs in place between element types") {
  Emulated e;
  Tape tape;
  const Val s = ops::square(tape, ops::statistic(tape, "s", {4}, 0));
  const Val y = tape.append(std::make_shared<Narrow>(), {s});
  const Plan of_mixed = make_plan(tape, std::array{y}, e.device);
  CHECK(of_mixed.allocation(s).buffer != of_mixed.allocation(y).buffer);
  const Plan of_one = make_plan(tape, std::array{y}, e.context.device("reference"));
  CHECK(of_one.allocation(s).buffer == of_one.allocation(y).buffer);
}

}  // namespace fulmar::test
