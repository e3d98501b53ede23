#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/network.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/goldens.h"

// Every layer of the vocabulary and every attribute, against direct calls of the ops.

namespace fulmar::test {
namespace {

using Direct = std::function<Val(Tape&, std::span<const Val>)>;
using Pair = std::vector<int64_t>;

struct Row {
  const char* op;
  Attributes attributes;
  Direct direct;
  int64_t inputs = 1;  // all made from x [2,9,8,6]
};

const Shape x_shape{2, 9, 8, 6};

Val parameter(Tape& tape, const std::string& what, const Shape& shape) {
  return ops::parameter(tape, "layer/" + what, shape, {}, false);
}

struct Result {
  std::vector<std::string> parameters;
  std::vector<double> y;
  std::vector<std::vector<double>> statistics;  // after the run
};

Result run(Context& context, const Direct& record) {
  Device& device = context.device("cpu");
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {x_shape}), y = record(*tape, {&x, 1});
  Model model(device, *tape, 1);
  set_formula_weights(model);
  Session session(context, device, tape, std::array{y}, &model);
  session.set(x, formula_signed("x", x_shape.elements()));
  session.run();
  Result result;
  for (const Model::Parameter& p : model.parameters())
    result.parameters.push_back(p.name + p.shape.to_string());
  for (const Model::Statistic& s : model.statistics())
    result.parameters.push_back(s.name + s.shape.to_string());
  result.y = session.read(y);
  for (const Model::Statistic& s : model.statistics())
    result.statistics.push_back(model.read(s.name));
  return result;
}

// A network of the row's layer alone, whose inputs but the first are activations of the first; so
// the direct calls see the same.
Val record_layer(const Row& row, Tape& tape, Val x) {
  Network network;
  std::vector<std::string> inputs{"input"};
  if (row.op == std::string("input")) {
    network.add("input", "layer", {}, row.attributes);
    return record(network, tape, x, {});
  }
  network.add("input", "input", {});
  for (int64_t i = 1; i < row.inputs; i++)
    inputs.push_back(network.add("activation", "x" + std::to_string(i) + "_", {"input"},
                                 {{"function", std::string("affine")}, {"alpha", i}}));
  network.add(row.op, "layer", inputs, row.attributes);
  return record(network, tape, x, {});
}

std::vector<Val> inputs_of(const Row& row, Tape& tape, Val x) {
  std::vector<Val> inputs{x};
  for (int64_t i = 1; i < row.inputs; i++)
    inputs.push_back(ops::affine(tape, x, static_cast<double>(i), 0));
  return inputs;
}

Val conv(Tape& t, Val x, const Shape& w, const Window& window, int64_t groups = 1,
         bool bias = true) {
  const Val kernel = parameter(t, "kernel", w);
  return ops::conv2d(t, x, kernel, bias ? parameter(t, "bias", {w[3]}) : Val{}, window, groups);
}

Direct conv2d(const Shape& w, const Window& window, int64_t groups = 1, bool bias = true) {
  return [=](Tape& t, std::span<const Val> x) { return conv(t, x[0], w, window, groups, bias); };
}

Direct transposed(const Shape& w, const Window& window, std::array<int64_t, 2> out,
                  bool bias = true) {
  return [=](Tape& t, std::span<const Val> x) {
    const Val y = ops::conv2d_transpose(t, x[0], parameter(t, "kernel", w), window, out);
    return bias ? ops::add(t, y, parameter(t, "bias", {w[2]})) : y;
  };
}

Direct prelu(const Shape& slopes) {
  return [=](Tape& t, std::span<const Val> x) {
    return ops::prelu(t, x[0], parameter(t, "alpha", slopes));
  };
}

Direct depthwise(const Shape& w, const Window& window, bool bias = true) {
  return [=](Tape& t, std::span<const Val> x) {
    const Val y = ops::depthwise_conv2d(t, x[0], parameter(t, "depthwise_kernel", w), window);
    return bias ? ops::add(t, y, parameter(t, "bias", {w[2]})) : y;
  };
}

Direct separable(const Shape& w, int64_t filters, const Window& window, bool bias = true) {
  return [=](Tape& t, std::span<const Val> x) {
    const Val d = ops::depthwise_conv2d(t, x[0], parameter(t, "depthwise_kernel", w), window);
    const Val p = parameter(t, "pointwise_kernel", {1, 1, w[2], filters});
    return ops::conv2d(t, d, p, bias ? parameter(t, "bias", {filters}) : Val{}, {});
  };
}

Direct pool(Val (*op)(Tape&, Val, std::array<int64_t, 2>, const Window&),
            std::array<int64_t, 2> kernel, const Window& window) {
  return [=](Tape& t, std::span<const Val> x) { return op(t, x[0], kernel, window); };
}

Direct activation(const char* function, double alpha, double beta) {
  return [=](Tape& t, std::span<const Val> x) {
    return ops::pointwise(t, function, x.first(1), alpha, beta);
  };
}

Direct batch_norm(double epsilon) {
  return [=](Tape& t, std::span<const Val> x) {
    const Val gamma = parameter(t, "gamma", {6}), beta = parameter(t, "beta", {6});
    const Val mean = ops::statistic(t, "layer/moving_mean", {6}, 0);
    const Val var = ops::statistic(t, "layer/moving_variance", {6}, 1);
    return ops::batch_norm(t, x[0], gamma, beta, mean, var, epsilon);
  };
}

Direct dense(bool bias) {
  return [=](Tape& t, std::span<const Val> x) {
    const Val w = parameter(t, "kernel", {6, 5});
    return ops::dense(t, x[0], w, bias ? parameter(t, "bias", {5}) : Val{});
  };
}

Direct resize(const Resize& how) {
  return [=](Tape& t, std::span<const Val> x) { return ops::resize(t, x[0], 5, 13, how); };
}

Direct identity() {
  return [](Tape&, std::span<const Val> x) { return x[0]; };
}

Attributes operator+(Attributes a, const Attributes& b) {
  a.insert(b.begin(), b.end());
  return a;
}

// x is [2,9,8,6]: 'same' pads 9 rows for 3 taps by 1 and 1, 8 columns for 3 taps at stride 2 by 0
// and 1.
std::vector<Row> rows() {
  const Attributes none, filters{{"filters", int64_t{4}}}, no_bias{{"use_bias", false}};
  const Attributes kernel3{{"kernel", int64_t{3}}}, kernel23{{"kernel", Pair{2, 3}}};
  const Attributes same{{"padding", std::string("same")}}, valid{{"padding", std::string("valid")}};
  const Attributes stride2{{"stride", int64_t{2}}}, stride12{{"stride", Pair{1, 2}}};
  const Attributes dilation21{{"dilation", Pair{2, 1}}}, groups2{{"groups", int64_t{2}}};
  const Attributes padded{{"padding", std::string("explicit")},
                          {"pad_top", int64_t{2}},
                          {"pad_bottom", int64_t{0}},
                          {"pad_left", int64_t{1}},
                          {"pad_right", int64_t{3}}};
  const Attributes pool3{{"pool_size", int64_t{3}}}, pool23{{"pool_size", Pair{2, 3}}};
  const Attributes size{{"height", int64_t{5}}, {"width", int64_t{13}}};
  const auto function = [](const char* name) {
    return Attributes{{"function", std::string(name)}};
  };
  const auto interpolation = [](const char* name) {
    return Attributes{{"interpolation", std::string(name)}};
  };
  const Window w1{}, w3{{1, 1}, {1, 1}, {1, 1, 1, 1}},
      explicit_window{{1, 1}, {1, 1}, {2, 0, 1, 3}};
  const auto max = ops::max_pool, mean = ops::average_pool;

  return {
      {"input", none, identity()},
      {"input", {{"channels", int64_t{6}}}, identity()},

      {"conv2d", filters, conv2d({1, 1, 6, 4}, w1)},
      {"conv2d", filters + no_bias, conv2d({1, 1, 6, 4}, w1, 1, false)},
      {"conv2d", filters + kernel3, conv2d({3, 3, 6, 4}, w3)},
      {"conv2d", filters + kernel3 + same, conv2d({3, 3, 6, 4}, w3)},
      {"conv2d", filters + kernel3 + valid, conv2d({3, 3, 6, 4}, w1)},
      {"conv2d", filters + kernel3 + padded, conv2d({3, 3, 6, 4}, explicit_window)},
      {"conv2d", filters + kernel23, conv2d({2, 3, 6, 4}, {{1, 1}, {1, 1}, {0, 1, 1, 1}})},
      {"conv2d", filters + kernel3 + stride2, conv2d({3, 3, 6, 4}, {{2, 2}, {1, 1}, {1, 1, 0, 1}})},
      {"conv2d", filters + kernel3 + stride12,
       conv2d({3, 3, 6, 4}, {{1, 2}, {1, 1}, {1, 1, 0, 1}})},
      {"conv2d", filters + kernel3 + dilation21,
       conv2d({3, 3, 6, 4}, {{1, 1}, {2, 1}, {2, 2, 1, 1}})},
      {"conv2d", filters + kernel3 + groups2, conv2d({3, 3, 3, 4}, w3, 2)},

      {"conv2d_transpose", filters, transposed({3, 3, 4, 6}, w1, {11, 10})},
      {"conv2d_transpose", filters + kernel23 + stride2 + same,
       transposed({2, 3, 4, 6}, {{2, 2}, {1, 1}, {0, 0, 0, 1}}, {18, 16})},
      {"conv2d_transpose", filters + Attributes{{"kernel", int64_t{2}}, {"stride", int64_t{3}}},
       transposed({2, 2, 4, 6}, {{3, 3}}, {27, 24})},
      {"conv2d_transpose", filters + stride2 + same + Attributes{{"output_padding", int64_t{1}}},
       transposed({3, 3, 4, 6}, {{2, 2}, {1, 1}, {0, 1, 0, 1}}, {18, 16})},
      {"conv2d_transpose", filters + no_bias + dilation21 + valid,
       transposed({3, 3, 4, 6}, {{1, 1}, {2, 1}}, {13, 10}, false)},

      {"depthwise_conv2d", none, depthwise({3, 3, 6}, w3)},
      {"depthwise_conv2d", no_bias, depthwise({3, 3, 6}, w3, false)},
      {"depthwise_conv2d", kernel23 + valid, depthwise({2, 3, 6}, w1)},
      {"depthwise_conv2d", stride2 + dilation21,
       depthwise({3, 3, 6}, {{2, 2}, {2, 1}, {2, 2, 0, 1}})},
      {"depthwise_conv2d", padded, depthwise({3, 3, 6}, explicit_window)},

      {"separable_conv2d", filters, separable({3, 3, 6}, 4, w3)},
      {"separable_conv2d", filters + no_bias, separable({3, 3, 6}, 4, w3, false)},
      {"separable_conv2d", filters + kernel23 + valid, separable({2, 3, 6}, 4, w1)},
      {"separable_conv2d", filters + stride2 + dilation21,
       separable({3, 3, 6}, 4, {{2, 2}, {2, 1}, {2, 2, 0, 1}})},
      {"separable_conv2d", filters + padded, separable({3, 3, 6}, 4, explicit_window)},

      {"max_pooling2d", none, pool(max, {2, 2}, {{2, 2}})},
      {"max_pooling2d", pool3, pool(max, {3, 3}, {{3, 3}})},
      {"max_pooling2d", pool3 + stride2 + same, pool(max, {3, 3}, {{2, 2}, {1, 1}, {1, 1, 0, 1}})},
      {"max_pooling2d", pool23 + stride12 + valid, pool(max, {2, 3}, {{1, 2}})},
      {"max_pooling2d", pool3 + dilation21, pool(max, {3, 3}, {{3, 3}, {2, 1}})},
      {"max_pooling2d", Attributes{{"pool_size", int64_t{4}}} + stride2 + padded,
       pool(max, {4, 4}, {{2, 2}, {1, 1}, {2, 0, 1, 3}})},

      {"average_pooling2d", none, pool(mean, {2, 2}, {{2, 2}})},
      {"average_pooling2d", pool23, pool(mean, {2, 3}, {{2, 3}})},
      {"average_pooling2d", pool3 + stride2 + same,
       pool(mean, {3, 3}, {{2, 2}, {1, 1}, {1, 1, 0, 1}})},
      {"average_pooling2d", pool23 + stride12 + valid, pool(mean, {2, 3}, {{1, 2}})},
      {"average_pooling2d", pool3 + dilation21, pool(mean, {3, 3}, {{3, 3}, {2, 1}})},
      {"average_pooling2d", Attributes{{"pool_size", int64_t{4}}} + stride2 + padded,
       pool(mean, {4, 4}, {{2, 2}, {1, 1}, {2, 0, 1, 3}})},

      {"batch_normalization", none, batch_norm(1e-3)},
      {"batch_normalization", {{"epsilon", 0.5}, {"momentum", 0.9}}, batch_norm(0.5)},

      {"activation", none, activation("relu", 0, 0)},
      {"activation", function("tanh"), activation("tanh", 0, 0)},
      {"activation", function("leaky_relu") + Attributes{{"alpha", 0.25}},
       activation("leaky_relu", 0.25, 0)},
      {"activation", function("elu"),
       [](Tape& t, std::span<const Val> x) { return ops::elu(t, x[0], 1); }},
      {"activation", function("gelu"),
       [](Tape& t, std::span<const Val> x) { return ops::gelu(t, x[0]); }},
      {"activation", function("hard_sigmoid"),
       [](Tape& t, std::span<const Val> x) { return ops::hard_sigmoid(t, x[0]); }},
      {"activation", function("affine") + Attributes{{"alpha", int64_t{2}}, {"beta", 0.5}},
       activation("affine", 2, 0.5)},
      {"activation", function("softmax"),
       [](Tape& t, std::span<const Val> x) { return ops::softmax(t, x[0]); }},

      {"dropout", {{"rate", 0.25}}, identity()},
      {"spatial_dropout2d", {{"rate", 0.25}}, identity()},
      {"prelu", none, prelu({6})},
      {"prelu", {{"shared", false}}, prelu({1, 9, 8, 6})},
      {"upsampling2d", none,
       [](Tape& t, std::span<const Val> x) {
         return ops::resize(t, x[0], 18, 16, {Interpolation::nearest, false});
       }},
      {"upsampling2d", Attributes{{"size", Pair{3, 2}}} + interpolation("bilinear"),
       [](Tape& t, std::span<const Val> x) {
         return ops::resize(t, x[0], 27, 16, {Interpolation::bilinear, false});
       }},
      {"dense", {{"units", int64_t{5}}}, dense(true)},
      {"dense", Attributes{{"units", int64_t{5}}} + no_bias, dense(false)},
      {"global_average_pooling2d", none,
       [](Tape& t, std::span<const Val> x) { return ops::global_average_pool(t, x[0]); }},

      {"resize", size, resize({Interpolation::bilinear, false})},
      {"resize", size + interpolation("bilinear") + Attributes{{"align_corners", true}},
       resize({Interpolation::bilinear, true})},
      {"resize", size + interpolation("nearest"), resize({Interpolation::nearest, false})},

      // Like the second input, which here has x's extents.
      {"resize", none,
       [](Tape& t, std::span<const Val> x) { return ops::resize(t, x[0], 9, 8, {}); }, 2},

      {"zero_padding2d", none, identity()},
      {"zero_padding2d", Attributes{{"pad_top", int64_t{2}}, {"pad_right", int64_t{3}}},
       [](Tape& t, std::span<const Val> x) {
         return ops::embed(t, x[0], {0, 2, 0, 0}, {2, 11, 11, 6});
       }},
      {"zero_padding2d", none, identity(), 2},
      {"cropping2d", none, identity()},
      {"cropping2d", Attributes{{"crop_left", int64_t{2}}, {"crop_bottom", int64_t{3}}},
       [](Tape& t, std::span<const Val> x) {
         return ops::slice(t, x[0], {0, 0, 2, 0}, {2, 6, 6, 6});
       }},
      {"cropping2d", none, identity(), 2},
      {"reshape",
       {{"height", int64_t{3}}, {"width", int64_t{12}}, {"channels", int64_t{12}}},
       [](Tape& t, std::span<const Val> x) {
         return ops::reshape(t, x[0], {2, 3, 12, 12});
       }},
      {"flatten", none,
       [](Tape& t, std::span<const Val> x) {
         return ops::reshape(t, x[0], {2, 1, 1, 432});
       }},
      {"global_max_pooling2d", none,
       [](Tape& t, std::span<const Val> x) {
         return ops::max_pool(t, x[0], {9, 8}, {});
       }},
      {"multiply", none,
       [](Tape& t, std::span<const Val> x) { return ops::mul(t, ops::mul(t, x[0], x[1]), x[2]); },
       3},

      {"add", none, identity()},
      {"add", none,
       [](Tape& t, std::span<const Val> x) { return ops::add(t, ops::add(t, x[0], x[1]), x[2]); },
       3},
      {"concatenate", none,
       [](Tape& t, std::span<const Val> x) { return ops::concat(t, x.first(2)); }, 2},
  };
}

std::string refusal(const std::string& op, const Attributes& attributes,
                    const Shape& x = {2, 9, 8, 6}) {
  Network network;
  network.add("input", "input", {});
  network.add(op, "layer", {"input"}, attributes);
  Tape tape;
  return error_of(ErrorKind::usage, [&] { record(network, tape, ops::input(tape, "x", {x}), {}); });
}

}  // namespace

TEST_CASE("layers: each, with each attribute, records what the ops called by hand do") {
  Context context;
  std::map<std::string, int> seen;
  for (const Row& row : rows()) {
    CAPTURE(row.op);
    std::string attributes;
    for (const auto& entry : row.attributes) attributes += entry.first + " ";
    CAPTURE(attributes);
    seen[row.op]++;
    const Result layer = run(
        context, [&](Tape& tape, std::span<const Val> x) { return record_layer(row, tape, x[0]); });
    const Result direct = run(context, [&](Tape& tape, std::span<const Val> x) {
      return row.direct(tape, inputs_of(row, tape, x[0]));
    });
    CHECK(layer.parameters == direct.parameters);
    CHECK(layer.y == direct.y);
  }
  for (const auto& entry : layers()) {
    CAPTURE(entry.first);
    CHECK(seen[entry.first] > 0);
  }
}

TEST_CASE("layers: dropout and batch normalisation train as the ops do") {
  Context context;
  const auto train = [](const char* op, const Attributes& attributes) {
    return [=](Tape& tape, std::span<const Val> x) {
      Network network;
      network.add("input", "input", {});
      network.add(op, "layer", {"input"}, attributes);
      return record(network, tape, x[0], {Mode::train, false});
    };
  };
  const Result dropped = run(context, train("dropout", {{"rate", 0.25}}));
  const Result drop = run(context, [](Tape& t, std::span<const Val> x) {
    return ops::dropout(t, x[0], 0.25, 1);  // the layer's number in its network
  });
  CHECK(dropped.y == drop.y);
  const Result channels = run(context, train("spatial_dropout2d", {{"rate", 0.25}}));
  const Result whole = run(context, [](Tape& t, std::span<const Val> x) {
    return ops::mul(t, x[0], ops::dropout(t, ops::constant(t, {2, 1, 1, 6}, 1), 0.25, 1));
  });
  CHECK(channels.y == whole.y);

  // The running statistics after one step tell momentum and form.
  const auto direct = [](Tape& t, std::span<const Val> x) {
    const Val gamma = parameter(t, "gamma", {6}), beta = parameter(t, "beta", {6});
    const Val mean = ops::statistic(t, "layer/moving_mean", {6}, 0);
    const Val var = ops::statistic(t, "layer/moving_variance", {6}, 1);
    return ops::batch_norm_train(t, x[0], gamma, beta, {mean, var, 0.75, false}, 0.5);
  };
  const Result normed =
      run(context, train("batch_normalization", {{"epsilon", 0.5}, {"momentum", 0.75}}));
  const Result norm = run(context, direct);
  CHECK(normed.y == norm.y);
  CHECK(normed.statistics == norm.statistics);
}

TEST_CASE("layers: a depthwise convolution's bias is nowhere written out for every pixel") {
  Network network;
  network.add("depthwise_conv2d", "layer", {network.add("input", "x", {}, {})}, {});
  Tape tape;
  const Val x = ops::input(tape, "x", {x_shape}), y = record(network, tape, x, {});
  grad(tape, y, std::array{x, tape.find("layer/bias")});
  bool adds = false;
  for (int n = 0; n < tape.size(); n++) {
    const Node& node = tape.node(n);
    adds = adds || node.op->name() == "add";
    if (node.op->name() != "broadcast") continue;
    CAPTURE(tape.describe(n));
    // To another role it goes by itself.
    CHECK(tape.shape(node.inputs[0]).elements() == node.outputs[0].shape.elements());
  }
  CHECK(adds);
}

TEST_CASE("layers: attributes that a layer has no use for are named") {
  const Attributes filters{{"filters", int64_t{4}}};
  CHECK(refusal("conv2d", filters + Attributes{{"strides", int64_t{2}}}) ==
        "conv2d 'layer': has no use for the attribute 'strides'");
  CHECK(refusal("conv2d", filters + Attributes{{"pad_top", int64_t{1}}}) ==
        "conv2d 'layer': has no use for the attribute 'pad_top'");
  CHECK(refusal("dense", {{"units", int64_t{4}}, {"activation", std::string("relu")}}) ==
        "dense 'layer': has no use for the attribute 'activation'");
  CHECK(refusal("global_average_pooling2d", {{"keepdims", true}}) ==
        "global_average_pooling2d 'layer': has no use for the attribute 'keepdims'");
}

TEST_CASE("layers: attributes of the wrong type, size or sense are refused") {
  const Attributes filters{{"filters", int64_t{4}}};
  const auto conv = [&](const std::string& name, const Attribute& value) {
    return refusal("conv2d", filters + Attributes{{name, value}});
  };
  const int64_t huge = int64_t{1} << 32;
  CHECK(conv("kernel", huge) ==
        "conv2d 'layer': 'kernel' is 4294967296, at most 1048576 is possible");
  CHECK(conv("kernel", Pair{1, -huge}).find("'kernel' is -4294967296") == 16);
  CHECK(conv("kernel", Pair{1 << 20, 1 << 20}).find("is too large") != std::string::npos);
  CHECK(conv("kernel", Pair{1, 2, 3}) == "conv2d 'layer': 'kernel' must be one or two integers");
  CHECK(conv("kernel", 3.0) == "conv2d 'layer': 'kernel' must be one or two integers");
  CHECK(conv("kernel", int64_t{0}).find("the kernel must be 1 to 1048576") == 16);
  CHECK(conv("stride", int64_t{0}).find("the stride must be 1 to 1048576") == 16);
  CHECK(conv("dilation", int64_t{-1}).find("the dilation must be 1 to 1048576") == 16);
  CHECK(conv("groups", std::string("two")) == "conv2d 'layer': 'groups' must be an integer");
  CHECK(conv("groups", int64_t{4}) ==
        "conv2d 'layer': 6 input and 4 output channels can't be split into 4 groups");
  CHECK(conv("use_bias", int64_t{1}) == "conv2d 'layer': 'use_bias' must be true or false");
  CHECK(conv("padding", int64_t{1}) == "conv2d 'layer': 'padding' must be a text");
  CHECK(conv("padding", std::string("full")) ==
        "conv2d 'layer': padding 'full' is none of same, valid, explicit");
  CHECK(conv("padding", std::string("explicit")) ==
        "conv2d 'layer': needs the attribute 'pad_top'");
  CHECK(refusal("conv2d", {{"filters", int64_t{0}}}) ==
        "conv2d 'layer': 'filters' must be at least 1, it is 0");
  CHECK(refusal("upsampling2d", {{"size", Pair{1, 0}}}) ==
        "upsampling2d 'layer': 'size' must be at least 1, it is 0");
  CHECK(refusal("conv2d_transpose", filters + Attributes{{"padding", std::string("explicit")}}) ==
        "conv2d_transpose 'layer': padding 'explicit' is neither same nor valid");
  CHECK(refusal("conv2d_transpose", filters + Attributes{{"output_padding", int64_t{-50}}}) ==
        "conv2d_transpose 'layer': nothing is left of x [2,9,8,6]");
  CHECK(refusal("dropout", {{"rate", std::string("half")}}) ==
        "dropout 'layer': 'rate' must be a number");
  CHECK(refusal("resize", {{"height", int64_t{1}},
                           {"width", int64_t{1}},
                           {"interpolation", std::string("cubic")}}) ==
        "resize 'layer': interpolation 'cubic' is neither bilinear nor nearest");
  // A window of 2^32 x 2^32 taps must not be walked through.
  CHECK(refusal("max_pooling2d", {{"pool_size", huge}, {"padding", std::string("same")}})
            .find("'pool_size' is 4294967296") != std::string::npos);
  Network network;
  network.add("input", "input", {}, {{"channels", int64_t{3}}});
  Tape tape;
  CHECK_THROWS_WITH_AS(record(network, tape, ops::input(tape, "x", {{1, 4, 4, 1}}), {}),
                       "input 'input': x [1,4,4,1] has 1 channels, the network takes 3", Error);
  CHECK_THROWS_WITH_AS(
      Network::from_json(
          R"([{"op":"input","name":"i","inputs":[],"attributes":{"a":18446744073709551615}}])"),
      "layer 1, 'a': 18446744073709551615 is too large", Error);
}

TEST_CASE("layers: 'same' pads as Keras does") {
  struct Padding {
    int64_t in, kernel, stride, dilation, before, after;
  };
  // 13, 6, 5 is the example of TensorFlow's documentation; the others follow its formula:
  // ceil(in / stride) outputs, the odd pixel after.
  for (const Padding& p : {Padding{13, 6, 5, 1, 1, 2},
                           {1024, 3, 2, 1, 0, 1},
                           {5, 3, 2, 1, 1, 1},
                           {6, 2, 1, 1, 0, 1},
                           {7, 1, 1, 1, 0, 0},
                           {7, 1, 3, 1, 0, 0},
                           {8, 2, 5, 1, 0, 0},
                           {6, 2, 5, 1, 0, 1},
                           {1, 3, 2, 1, 1, 1},
                           {10, 3, 1, 4, 4, 4},
                           {9, 2, 1, 3, 1, 2},
                           {9, 3, 2, 2, 2, 2},
                           {8, 3, 2, 2, 1, 2}}) {
    CAPTURE(p.in);
    CAPTURE(p.kernel);
    CAPTURE(p.stride);
    CAPTURE(p.dilation);
    const auto padding = ops::same_padding(p.in, p.kernel, p.stride, p.dilation);
    CHECK(padding[0] == p.before);
    CHECK(padding[1] == p.after);
    CHECK(window_extent(p.in, p.kernel, p.stride, p.dilation, padding[0], padding[1]) ==
          (p.in + p.stride - 1) / p.stride);
  }
}

}  // namespace fulmar::test
