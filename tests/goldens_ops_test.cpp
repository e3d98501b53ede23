#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>

#include "engine/context.h"
#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/session.h"
#include "tests/support/goldens.h"

// Every row of the table in ops.safetensors: one op's value and gradients, against PyTorch's in
// float64.

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::json;

namespace {

using Inputs = std::map<std::string, Val>;  // by role
using Build = std::function<Val(Tape&, const Inputs&, const Json&)>;

std::array<int64_t, 2> pair(const Json& row, const char* key) {
  return {row[key][0].get<int64_t>(), row[key][1].get<int64_t>()};
}

Window window(const Json& row) {
  Window w;
  w.stride = pair(row, "stride");
  if (row.contains("dilation")) w.dilation = pair(row, "dilation");
  for (size_t i = 0; i < 4; i++) w.padding[i] = row["padding"][i].get<int64_t>();
  return w;
}

Val resize(Tape& t, const Inputs& in, const Json& row, Interpolation interpolation) {
  const auto size = pair(row, "size");
  return ops::resize(t, in.at("x"), size[0], size[1], {interpolation, row["align_corners"]});
}

Build binary(Val (*op)(Tape&, Val, Val)) {
  return [op](Tape& t, const Inputs& in, const Json&) { return op(t, in.at("a"), in.at("b")); };
}

Build product(ops::Transposed which) {
  return [which](Tape& t, const Inputs& in, const Json&) {
    return ops::product(t, in.at("a"), in.at("b"), which);
  };
}

const std::map<std::string, Build>& builders() {
  static const std::map<std::string, Build> table{
      {"add", binary(ops::add)},
      {"average_pool2d",
       [](Tape& t, const Inputs& in, const Json& row) {
         return ops::average_pool(t, in.at("x"), pair(row, "kernel"), window(row));
       }},
      {"batch_norm_eval",
       [](Tape& t, const Inputs& in, const Json& row) {
         return ops::batch_norm(t, in.at("x"), in.at("gamma"), in.at("beta"), in.at("running_mean"),
                                in.at("running_variance"), row["epsilon"]);
       }},
      {"concat",
       [](Tape& t, const Inputs& in, const Json&) {
         return ops::concat(t, std::array{in.at("x0"), in.at("x1"), in.at("x2")});
       }},
      {"conv2d",
       [](Tape& t, const Inputs& in, const Json& row) {
         return ops::conv2d(t, in.at("x"), in.at("w"), in.count("b") ? in.at("b") : Val{},
                            window(row), row["groups"]);
       }},
      {"dense", [](Tape& t, const Inputs& in,
                   const Json&) { return ops::dense(t, in.at("x"), in.at("w"), in.at("b")); }},
      {"depthwise_conv2d",
       [](Tape& t, const Inputs& in, const Json& row) {
         return ops::depthwise_conv2d(t, in.at("x"), in.at("w"), window(row));
       }},
      {"div", binary(ops::div)},
      {"elu", [](Tape& t, const Inputs& in, const Json&) { return ops::elu(t, in.at("x"), 0.5); }},
      {"global_max_pool",
       [](Tape& t, const Inputs& in, const Json&) { return ops::global_max_pool(t, in.at("x")); }},
      {"hard_sigmoid",
       [](Tape& t, const Inputs& in, const Json&) { return ops::hard_sigmoid(t, in.at("x")); }},
      {"product", product(ops::Transposed::none)},
      {"product_transposed_a", product(ops::Transposed::a)},
      {"product_transposed_b", product(ops::Transposed::b)},
      {"product_transposed_both", product(ops::Transposed::both)},
      {"prelu", [](Tape& t, const Inputs& in,
                   const Json&) { return ops::prelu(t, in.at("x"), in.at("a")); }},
      // Of twice x, so that it reaches beyond 6.
      {"relu6", [](Tape& t, const Inputs& in,
                   const Json&) { return ops::relu6(t, ops::affine(t, in.at("x"), 2, 0)); }},
      {"global_average_pool", [](Tape& t, const Inputs& in,
                                 const Json&) { return ops::global_average_pool(t, in.at("x")); }},
      {"max_pool2d",
       [](Tape& t, const Inputs& in, const Json& row) {
         return ops::max_pool(t, in.at("x"), pair(row, "kernel"), window(row));
       }},
      {"mul", binary(ops::mul)},
      {"neg",
       [](Tape& t, const Inputs& in, const Json&) { return ops::affine(t, in.at("x"), -1, 0); }},
      {"reciprocal", [](Tape& t, const Inputs& in,
                        const Json&) { return ops::div(t, ops::constant(t, {1}, 1), in.at("x")); }},
      {"resize_bilinear",
       [](Tape& t, const Inputs& in, const Json& row) {
         return resize(t, in, row, Interpolation::bilinear);
       }},
      {"resize_nearest",
       [](Tape& t, const Inputs& in, const Json& row) {
         return resize(t, in, row, Interpolation::nearest);
       }},
      {"softmax",
       [](Tape& t, const Inputs& in, const Json&) { return ops::softmax(t, in.at("x")); }},
      {"sub", binary(ops::sub)},
  };
  return table;
}

// The pointwise functions that the table knows under the engine's own name.
bool is_pointwise(const std::string& op) {
  for (const char* name : {"relu", "tanh", "sigmoid", "softplus", "exp", "log", "sqrt", "square",
                           "abs", "selu", "silu", "gelu", "erf", "gelu_tanh"})
    if (op == name) return true;
  return false;
}

bool is_statistic(const std::string& role) { return role.rfind("running_", 0) == 0; }

// Rows of classes [rows,K] stand as one image row of pixels where an op wants four extents.
Shape image_shape(const Shape& s) {
  return s.rank() == 2 ? Shape{1, 1, s[0], s[1]}
                       : Shape{s.images(), s.height(), s.width(), s.channels()};
}

// A case on a tape: its inputs, what it computes and what that must be.
struct Case {
  const Golden& file;
  std::string name;
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  Inputs inputs;
  std::vector<Val> outputs;
  std::vector<std::string> roles;  // of the outputs

  Case(const Golden& golden, const std::string& case_name) : file(golden), name(case_name) {}

  Val input(const std::string& role, bool whole_image = false) {
    const Shape shape = file.shape(name + "/" + role);
    ValueInfo info{whole_image ? image_shape(shape) : shape};
    if (is_statistic(role)) info.role = Role::statistic;
    return inputs[role] = ops::input(*tape, role, info);
  }
  void output(const std::string& role, Val value) {
    roles.push_back(role);
    outputs.push_back(value);
  }
  // `elementwise`: results whose every element is compared, relative to itself.
  void run(Context& context, Device& device, double bound, Model* model = nullptr,
           const std::vector<std::string>& elementwise = {}) {
    Session session(context, device, tape, outputs, model);
    for (const auto& [role, value] : inputs) {
      const Values values = file.values(name + "/" + role);
      if (tape->info(value).role != Role::index) {
        session.set(value, values);
      } else if (tape->info(value).type == DType::u8) {
        const std::vector<uint8_t> narrow(values.begin(), values.end());
        session.set_bytes(value, narrow.data(), narrow.size());
      } else {
        session.set(value, std::vector<int32_t>(values.begin(), values.end()));
      }
    }
    session.run();
    for (size_t i = 0; i < roles.size(); i++) {
      CAPTURE(roles[i]);
      const Values ours = session.read(outputs[i]), theirs = file.values(name + "/" + roles[i]);
      CHECK(difference(ours, theirs) <= bound);
      if (std::find(elementwise.begin(), elementwise.end(), roles[i]) == elementwise.end())
        continue;
      for (size_t k = 0; k < theirs.size(); k++) {
        CAPTURE(k);
        // Below it numbers have fewer digits.
        const double smallest = device.real() == DType::f32 ? 1e-37 : 1e-307;
        CHECK(std::abs(ours[k] - theirs[k]) <= bound * std::abs(theirs[k]) + smallest);
      }
    }
  }
};

// y and a gradient for every float input, given dy.
void check_case(Context& context, Device& device, const Golden& file, const std::string& name,
                const Json& row, double bound) {
  const std::string op = row["op"];
  Case c(file, name);
  for (const std::string& role : file.names(name + "/"))
    if (role != "y" && role != "dy" && !(role[0] == 'd' && file.has(name + "/" + role.substr(1))))
      c.input(role, op == "softmax" || (op == "dense" && role == "x"));
  const Val y = is_pointwise(op) ? ops::pointwise(*c.tape, op, std::array{c.inputs.at("x")})
                                 : builders().at(op)(*c.tape, c.inputs, row);
  c.output("y", y);
  std::vector<Val> wrt;
  for (const auto& [role, value] : c.inputs)
    if (!is_statistic(role)) {
      wrt.push_back(value);
      c.roles.push_back("d" + role);
    }
  const Val dy = c.inputs["dy"] = ops::input(*c.tape, "dy", {c.tape->shape(y)});
  for (Val g : grad(*c.tape, y, wrt, dy)) c.outputs.push_back(g);
  // Far from 0 small values must be right beside large ones; but sigmoid's and tanh's derivatives
  // come from an output that is 1 but for rounding.
  std::vector<std::string> elementwise;
  if (name.find("_far") != std::string::npos) elementwise = {"y"};
  if (name == "softplus_far") elementwise.push_back("dx");
  c.run(context, device, bound, nullptr, elementwise);
}

void check_batch_norm_train(Context& context, Device& device, const Golden& file,
                            const std::string& name, const Json& row, double bound) {
  for (const bool unbiased : {true, false}) {
    CAPTURE(unbiased);
    Case c(file, name);
    const Val x = c.input("x"), gamma = c.input("gamma"), beta = c.input("beta");
    const Shape channels = c.tape->shape(gamma);
    ops::RunningStatistics running;
    running.mean = ops::statistic(*c.tape, "running_mean", channels, 0);
    running.var = ops::statistic(*c.tape, "running_variance", channels, 1);
    running.momentum = row["momentum"];
    running.unbiased = unbiased;
    const Val y = ops::batch_norm_train(*c.tape, x, gamma, beta, running, row["epsilon"]);
    const Val dy = c.inputs["dy"] = ops::input(*c.tape, "dy", {c.tape->shape(y)});
    c.output("y", y);
    const std::vector<Val> g = grad(*c.tape, y, std::array{x, gamma, beta}, dy);
    c.output("dx", g[0]);
    c.output("dgamma", g[1]);
    c.output("dbeta", g[2]);
    Model model(device, *c.tape, 1);
    for (const char* statistic : {"running_mean", "running_variance"})
      model.write(statistic, file.values(name + "/" + statistic));
    c.run(context, device, bound, &model);
    CHECK(difference(model.read("running_mean"), file.values(name + "/running_mean_after")) <=
          bound);
    CHECK(difference(model.read("running_variance"),
                     file.values(name + "/running_variance_after" + (unbiased ? "" : "_biased"))) <=
          bound);
  }
}

void check_cross_entropy(Context& context, Device& device, const Golden& file,
                         const std::string& name, const Json& row, double bound, DType type) {
  Case c(file, name);
  const Val x = c.input("x", true);
  const auto optional = [&](const char* role) {
    return file.has(name + "/" + role) ? c.input(role) : Val{};
  };
  const Shape s = c.tape->shape(x);
  const Shape rows{s.images(), s.height(), s.width(), 1};
  Val labels;
  if (row["labels"] == "soft")
    labels = c.input("soft", true);
  else
    labels = c.inputs["labels"] = ops::input(*c.tape, "labels", {rows, Role::index, type});
  const Val class_weight = optional("class_weights");
  Val pixel_weight;
  if (file.has(name + "/pixel_weights"))
    pixel_weight = c.inputs["pixel_weights"] = ops::input(*c.tape, "pixel_weights", {rows});
  CrossEntropy how;
  how.label_smoothing = row["label_smoothing"];
  if (!row["ignored_index"].is_null()) how.ignore_index = row["ignored_index"];
  const ops::Loss loss =
      ops::softmax_cross_entropy(*c.tape, x, labels, how, class_weight, pixel_weight);
  const Val sum = ops::sum_all(*c.tape, loss.rows);
  c.output("rows", loss.rows);
  c.output("sum", sum);
  c.output("dx_sum", grad(*c.tape, sum, x));
  // PyTorch counts rows, not weights, for soft labels, and knows no pixel weights.
  if (!pixel_weight && !(class_weight && row["labels"] == "soft"))
    c.output("weight_sum", ops::sum_all(*c.tape, loss.row_weight));
  c.run(context, device, bound);
}

// Five steps of one parameter, decay included.
void check_adamw(Context& context, Device& device, const Golden& file, const std::string& name,
                 const Json& row, double bound) {
  auto tape = std::make_shared<Tape>();
  ops::parameter(*tape, "w", file.shape(name + "/w0"), {}, true);
  Model model(device, *tape, 1);
  model.write("w", file.values(name + "/w0"));
  const Val g = ops::input(*tape, "g", model.flat_info());
  AdamW how;
  how.beta1 = row["beta1"], how.beta2 = row["beta2"], how.epsilon = row["epsilon"];
  how.weight_decay = row["decay"];
  how.decay_scaled_by_lr = row["decay_scaled_by_lr"];
  how.keras_epsilon = row["epsilon_placement"] == "keras";
  record_update(*tape, model, how, g);
  Session session(context, device, tape, {}, &model);
  const Values gradients = file.values(name + "/g"), after = file.values(name + "/w");
  const size_t n = file.values(name + "/w0").size();
  const auto step_of = [n](const Values& all, int64_t step) {
    const auto begin = all.begin() + step * static_cast<int64_t>(n);
    return Values(begin, begin + static_cast<int64_t>(n));
  };
  StepState state;
  state.learning_rate = row["lr"];
  for (int64_t step = 0; step < 5; step++) {
    Values flat = step_of(gradients, step);
    flat.resize(static_cast<size_t>(model.flat_size()));
    session.set(g, flat);
    state.step = step + 1;
    model.set_step_state(state);
    session.run();
    CAPTURE(step);
    // What matters is the change: relative to it, not to the weights.
    const Values start = file.values(name + "/w0");
    Values ours = model.read("w"), theirs = step_of(after, step);
    for (size_t i = 0; i < n; i++) ours[i] -= start[i], theirs[i] -= start[i];
    CHECK(difference(ours, theirs) <= bound);
  }
}

Optimizer optimizer_of(const Json& row) {
  if (row["op"] == "sgd") return Sgd{row["momentum"], row["decay"], row["nesterov"]};
  return Lars{row["momentum"], row["decay"], row["trust"], row["epsilon"]};
}

// Five steps of SGD on one layer that decays, or of LARS on such a one and one that doesn't.
void check_optimizer(Context& context, Device& device, const Golden& file, const std::string& name,
                     const Json& row, double bound) {
  const std::vector<std::pair<std::string, size_t>> layers =
      row["op"] == "sgd" ? std::vector<std::pair<std::string, size_t>>{{"w", 12}}
                         : std::vector<std::pair<std::string, size_t>>{{"w", 8}, {"b", 4}};
  auto tape = std::make_shared<Tape>();
  for (const auto& [layer, count] : layers)
    ops::parameter(*tape, layer, {static_cast<int64_t>(count)}, {}, layer == "w");
  Model model(device, *tape, 1);
  const Optimizer optimizer = optimizer_of(row);
  const Val g = ops::input(*tape, "g", model.flat_info());
  record_update(*tape, model, optimizer, g);
  Session session(context, device, tape, {}, &model);

  const Values start = file.values(name + "/w0"), gradients = file.values(name + "/g");
  const Values after = file.values(name + "/w"), velocity = file.values(name + "/v");
  // body(first element in the golden, of the arenas, how many) for each layer
  const auto for_each_layer = [&](const auto& body) {
    size_t first = 0;
    for (const auto& [layer, count] : layers) {
      for (const Model::Parameter& p : model.parameters())
        if (p.name == layer) body(first, static_cast<size_t>(p.begin), count);
      first += count;
    }
  };
  Values flat(static_cast<size_t>(model.flat_size()));
  const auto put = [&](const Values& from, size_t offset) {
    for_each_layer([&](size_t first, size_t begin, size_t count) {
      for (size_t i = 0; i < count; i++) flat[begin + i] = from[offset + first + i];
    });
  };
  put(start, 0);
  model.write("/parameters", flat);
  StepState state;
  state.learning_rate = row["lr"];
  for (size_t step = 0; step < 5; step++) {
    put(gradients, step * start.size());
    session.set(g, flat);
    model.set_step_state(state);
    session.run();
    CAPTURE(step);
    const Values found = model.read("/parameters");
    Values ours(start.size()), theirs(start.size());
    for_each_layer([&](size_t first, size_t begin, size_t count) {
      for (size_t i = 0; i < count; i++) {
        ours[first + i] = found[begin + i] - start[first + i];
        theirs[first + i] = after[step * start.size() + first + i] - start[first + i];
      }
    });
    CHECK(difference(ours, theirs) <= bound);
  }
  const Values found = model.read(state_names(optimizer)[0]);
  for_each_layer([&](size_t first, size_t begin, size_t count) {
    const std::span ours(found), theirs(velocity);
    CHECK(difference(ours.subspan(begin, count), theirs.subspan(first, count)) <= bound);
  });
}

// Rows where rounding the inputs to float32 alone is felt: values of hundreds, the change of a
// weight by 1e-3, a variance of two numbers.
bool is_hard(const std::string& name) {
  for (const char* part : {"large", "far", "adamw", "two_values"})
    if (name.find(part) != std::string::npos) return true;
  return false;
}

void check_table(Context& context, Device& device, const std::string& file_name, double bound,
                 double hard_bound) {
  const Golden file(file_name);
  const Json cases = file.metadata("cases");
  REQUIRE(!cases.empty());
  for (const auto& item : cases.items()) {
    const std::string& name = item.key();
    const auto& row = item.value();
    CAPTURE(name);
    const std::string op = row["op"];
    const double b = is_hard(name) ? hard_bound : bound;
    if (op == "adamw")
      check_adamw(context, device, file, name, row, b);
    else if (op == "sgd" || op == "lars")
      check_optimizer(context, device, file, name, row, b);
    else if (op == "cross_entropy")
      for (const DType type : {DType::i32, DType::u8}) {
        // u8 has no label of -1.
        if (type == DType::u8 && !row["ignored_index"].is_null() && row["ignored_index"] < 0)
          continue;
        check_cross_entropy(context, device, file, name, row, b, type);
      }
    else if (op == "batch_norm_train")
      check_batch_norm_train(context, device, file, name, row, b);
    else
      check_case(context, device, file, name, row, b);
  }
}

}  // namespace

TEST_CASE("goldens: every op on reference equals PyTorch's in float64") {
  Context context;
  check_table(context, context.device("reference"), "ops", 1e-12, 1e-12);
}

TEST_CASE("goldens: AdamW on reference equals Keras' two forms in float64") {
  Context context;
  check_table(context, context.device("reference"), "ops_adamw_keras", 1e-12, 1e-12);
}

TEST_CASE("goldens: SGD equals PyTorch's, and LARS its formula, in float64 and float32") {
  Context context;
  check_table(context, context.device("reference"), "ops_optimizers", 1e-12, 1e-12);
  check_table(context, context.device("cpu"), "ops_optimizers", 1e-5, 1e-5);
}

TEST_CASE("goldens: every op on cpu equals PyTorch's within float32") {
  Context context;
  check_table(context, context.device("cpu"), "ops", 1e-6, 1e-4);
}

TEST_CASE("goldens: AdamW on cpu equals Keras' two forms within float32") {
  Context context;
  check_table(context, context.device("cpu"), "ops_adamw_keras", 1e-4, 1e-4);
}
