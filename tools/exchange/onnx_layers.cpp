#include "tools/exchange/onnx_layers.h"

#include <algorithm>
#include <array>

#include "engine/layer_window.h"
#include "kernels/error.h"

namespace fulmar::exchange {
namespace {

using Attributes = OnnxGraph::Attributes;
using Names = std::vector<std::string>;

std::vector<int64_t> both(std::array<int64_t, 2> pair) { return {pair[0], pair[1]}; }

// Top, left, bottom, right; a Window has top, bottom, left, right.
std::vector<int64_t> pads(const std::array<int64_t, 4>& p) { return {p[0], p[2], p[1], p[3]}; }

Attributes window_attributes(std::array<int64_t, 2> kernel, const Window& window) {
  return {
      {"kernel_shape", both(kernel)},
      {"strides", both(window.stride)},
      {"dilations", both(window.dilation)},
      {"pads", pads({window.padding[0], window.padding[1], window.padding[2], window.padding[3]})}};
}

// ---- convolutions

void conv2d(OnnxLayer& l) {
  const auto kernel = l.args.pair("kernel", 1);
  Attributes attributes = window_attributes(
      kernel, layer_window(l.args, l.x[0], kernel, l.args.pair("stride", 1), "same"));
  attributes.emplace_back("group", l.args.integer("groups", 1));
  l.graph.node("Conv", l.with(l.inputs[0], "weight", "bias"), l.output, attributes);
}

// A depthwise convolution of the layer's attributes; `output` is the name of its value.
void depthwise(OnnxLayer& l, const std::string& weight, const std::string& bias,
               const std::string& output) {
  const auto kernel = l.args.pair("kernel", 3);
  Attributes attributes = window_attributes(
      kernel, layer_window(l.args, l.x[0], kernel, l.args.pair("stride", 1), "same"));
  attributes.emplace_back("group", l.x[0].channels());
  l.graph.node("Conv", l.with(l.inputs[0], weight, bias), output, attributes);
}

void depthwise_conv2d(OnnxLayer& l) { depthwise(l, "weight", "bias", l.output); }

void separable_conv2d(OnnxLayer& l) {
  const std::string inner = l.output + "/depthwise";
  depthwise(l, "depthwise.weight", "", inner);
  l.graph.node("Conv", l.with(inner, "pointwise.weight", "pointwise.bias"), l.output);
}

void conv2d_transpose(OnnxLayer& l) {
  const TransposedWindow t = transposed_window(l.args, l.x[0]);
  const std::array<int64_t, 2> in{l.x[0].height(), l.x[0].width()};
  std::array<int64_t, 4> padding{};
  std::array<int64_t, 2> beyond{};
  for (size_t i = 0; i < 2; i++) {
    const int64_t full =
        t.window.stride[i] * (in[i] - 1) + (t.kernel[i] - 1) * t.window.dilation[i] + 1;
    const int64_t after = full - t.window.padding[2 * i] - t.out[i];
    padding[2 * i] = t.window.padding[2 * i];
    padding[2 * i + 1] = std::max<int64_t>(0, after);
    beyond[i] = std::max<int64_t>(0, -after);
  }
  l.graph.node("ConvTranspose", l.with(l.inputs[0], "weight", "bias"), l.output,
               {{"kernel_shape", both(t.kernel)},
                {"strides", both(t.window.stride)},
                {"dilations", both(t.window.dilation)},
                {"pads", pads(padding)},
                {"output_padding", both(beyond)}});
}

// At every pixel, as a convolution of 1x1.
void dense(OnnxLayer& l) { l.graph.node("Conv", l.with(l.inputs[0], "weight", "bias"), l.output); }

// ---- pooling, normalisation

std::array<int64_t, 2> pool_stride(const OnnxLayer& l, std::array<int64_t, 2> kernel) {
  return l.args.has("stride") ? l.args.pair("stride", 2) : kernel;
}

void max_pooling2d(OnnxLayer& l) {
  const auto kernel = l.args.pair("pool_size", 2);
  l.graph.node("MaxPool", {l.inputs[0]}, l.output,
               window_attributes(
                   kernel, layer_window(l.args, l.x[0], kernel, pool_stride(l, kernel), "valid")));
}

void average_pooling2d(OnnxLayer& l) {
  const auto kernel = l.args.pair("pool_size", 2);
  const Window window = layer_window(l.args, l.x[0], kernel, pool_stride(l, kernel), "valid");
  if (window.dilation[0] > 1 || window.dilation[1] > 1)
    usage_error("average_pooling2d '" + l.call.name + "': ONNX's opset 17 has none with dilation");
  Attributes attributes = window_attributes(kernel, window);
  std::erase_if(attributes, [](const auto& a) { return a.first == "dilations"; });
  l.graph.node("AveragePool", {l.inputs[0]}, l.output, attributes);
}

void batch_normalization(OnnxLayer& l) {
  const auto weight = [&](const char* what) { return l.weights.at(what); };
  l.graph.node("BatchNormalization",
               {l.inputs[0], weight("weight"), weight("bias"), weight("running_mean"),
                weight("running_var")},
               l.output, {{"epsilon", static_cast<float>(l.args.number("epsilon", 1e-3))}});
}

template <const char* op>
void plain(OnnxLayer& l) {
  l.graph.node(op, {l.inputs[0]}, l.output);
}
constexpr char identity[] = "Identity", average[] = "GlobalAveragePool",
               maximum[] = "GlobalMaxPool";

// ---- pointwise functions

// A number as a constant.
std::string scalar(OnnxLayer& l, const std::string& name, double value) {
  const auto number = static_cast<float>(value);
  return l.graph.floats(l.output + "/" + name, {}, std::span(&number, 1));
}

// x (1 + erf(x / sqrt(2))) / 2
void gelu(OnnxLayer& l) {
  const std::string &x = l.inputs[0], &y = l.output;
  const std::string scaled =
      l.graph.node("Mul", {x, scalar(l, "root", 0.70710678118654752440)}, y + "/scaled");
  const std::string erf = l.graph.node("Erf", {scaled}, y + "/erf");
  const std::string sum = l.graph.node("Add", {erf, scalar(l, "one", 1)}, y + "/sum");
  const std::string half = l.graph.node("Mul", {x, scalar(l, "half", 0.5)}, y + "/x");
  l.graph.node("Mul", {half, sum}, y);
}

// x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))
void gelu_tanh(OnnxLayer& l) {
  constexpr double slope = 2 * 0.79788456080286535588;
  const std::string &x = l.inputs[0], &y = l.output;
  const std::string square = l.graph.node("Mul", {x, x}, y + "/square");
  const std::string part =
      l.graph.node("Mul", {square, scalar(l, "cubic", slope * 0.044715)}, y + "/part");
  const std::string factor = l.graph.node("Add", {part, scalar(l, "slope", slope)}, y + "/factor");
  const std::string argument = l.graph.node("Mul", {x, factor}, y + "/argument");
  l.graph.node("Mul", {x, l.graph.node("Sigmoid", {argument}, y + "/sigmoid")}, y);
}

void activation(OnnxLayer& l) {
  const std::string function = l.args.text("function", "relu");
  const std::string &x = l.inputs[0], &y = l.output;
  const auto alpha = [&](double otherwise) {
    return static_cast<float>(l.args.number("alpha", otherwise));
  };
  static const std::map<std::string, std::string> same_thing{
      {"relu", "Relu"},         {"sigmoid", "Sigmoid"}, {"tanh", "Tanh"},
      {"softplus", "Softplus"}, {"exp", "Exp"},         {"log", "Log"},
      {"sqrt", "Sqrt"},         {"abs", "Abs"},         {"erf", "Erf"}};
  const auto same = same_thing.find(function);
  if (same != same_thing.end()) {
    l.graph.node(same->second, {x}, y);
  } else if (function == "softmax") {
    l.graph.node("Softmax", {x}, y, {{"axis", int64_t{1}}});
  } else if (function == "leaky_relu") {
    l.graph.node("LeakyRelu", {x}, y, {{"alpha", alpha(0)}});
  } else if (function == "elu") {
    l.graph.node("Elu", {x}, y, {{"alpha", alpha(1)}});
  } else if (function == "selu") {
    l.graph.node("Selu", {x}, y, {{"alpha", 1.67326324F}, {"gamma", 1.05070098F}});
  } else if (function == "relu6") {
    l.graph.node("Clip", {x, scalar(l, "least", 0), scalar(l, "most", 6)}, y);
  } else if (function == "hard_sigmoid") {
    l.graph.node(
        "HardSigmoid", {x}, y,
        {{"alpha", alpha(1.0 / 6)}, {"beta", static_cast<float>(l.args.number("beta", 0.5))}});
  } else if (function == "square") {
    l.graph.node("Mul", {x, x}, y);
  } else if (function == "affine") {
    const std::string scaled =
        l.graph.node("Mul", {x, scalar(l, "alpha", alpha(0))}, y + "/scaled");
    l.graph.node("Add", {scaled, scalar(l, "beta", l.args.number("beta", 0))}, y);
  } else if (function == "silu") {
    l.graph.node("Mul", {x, l.graph.node("Sigmoid", {x}, y + "/sigmoid")}, y);
  } else if (function == "gelu") {
    gelu(l);
  } else if (function == "gelu_tanh") {
    gelu_tanh(l);
  } else {
    usage_error("activation '" + l.call.name + "': its function " + function +
                " isn't written to ONNX");
  }
}

void prelu(OnnxLayer& l) { l.graph.node("PRelu", {l.inputs[0], l.weights.at("weight")}, l.output); }

// Of any number of inputs, two at a time.
void chain(OnnxLayer& l, const char* op) {
  std::string value = l.inputs[0];
  for (size_t i = 1; i < l.inputs.size(); i++)
    value = l.graph.node(op, {value, l.inputs[i]},
                         i + 1 < l.inputs.size() ? l.output + "/" + std::to_string(i) : l.output);
  if (l.inputs.size() == 1) l.graph.node("Identity", {value}, l.output);
}
void add(OnnxLayer& l) { chain(l, "Add"); }
void multiply(OnnxLayer& l) { chain(l, "Mul"); }

// ---- shapes

void concatenate(OnnxLayer& l) {
  l.graph.node("Concat", l.inputs, l.output, {{"axis", int64_t{1}}});
}

// To the extents of y: as factors where these are whole numbers, else as the numbers that they
// are, behind that of the images, which the value itself tells.
void resample(OnnxLayer& l, const std::string& usual) {
  const bool nearest = l.args.text("interpolation", usual) == "nearest";
  const bool corners = l.args.flag("align_corners", false);
  if (nearest && corners)
    usage_error(l.call.op + " '" + l.call.name +
                "': the nearest pixel with aligned corners isn't written to ONNX");
  const Shape& x = l.x[0];
  Names inputs{l.inputs[0], ""};
  if (l.y.height() % x.height() == 0 && l.y.width() % x.width() == 0) {
    const int64_t rows = l.y.height() / x.height(), columns = l.y.width() / x.width();
    const std::array<float, 4> factors{1, 1, static_cast<float>(rows), static_cast<float>(columns)};
    inputs.push_back(l.graph.floats(l.output + "/factors", {4}, factors));
  } else {
    const std::array<int64_t, 2> extents{l.y.height(), l.y.width()};
    const std::array<int64_t, 1> none{0}, two{2};
    const std::string shape = l.graph.node("Shape", {l.inputs[0]}, l.output + "/shape");
    const std::string first = l.graph.node("Slice",
                                           {shape, l.graph.integers(l.output + "/none", none),
                                            l.graph.integers(l.output + "/two", two)},
                                           l.output + "/images");
    inputs.emplace_back();
    inputs.push_back(l.graph.node("Concat",
                                  {first, l.graph.integers(l.output + "/extents", extents)},
                                  l.output + "/sizes", {{"axis", int64_t{0}}}));
  }
  l.graph.node(
      "Resize", inputs, l.output,
      {{"mode", std::string(nearest ? "nearest" : "linear")},
       {"coordinate_transformation_mode", std::string(corners ? "align_corners" : "half_pixel")},
       {"nearest_mode", std::string("round_prefer_ceil")}});
}
void upsampling2d(OnnxLayer& l) { resample(l, "nearest"); }
void resize(OnnxLayer& l) { resample(l, "bilinear"); }

int64_t side(const OnnxLayer& l, const char* name) {
  return l.inputs.size() > 1 ? 0 : l.args.integer(name, 0);
}

void zero_padding2d(OnnxLayer& l) {
  const int64_t top = side(l, "pad_top"), left = side(l, "pad_left");
  const std::array<int64_t, 8> padding{0,
                                       0,
                                       top,
                                       left,
                                       0,
                                       0,
                                       l.y.height() - l.x[0].height() - top,
                                       l.y.width() - l.x[0].width() - left};
  l.graph.node("Pad", {l.inputs[0], l.graph.integers(l.output + "/pads", padding)}, l.output);
}

void cropping2d(OnnxLayer& l) {
  const int64_t top = side(l, "crop_top"), left = side(l, "crop_left");
  const std::array<int64_t, 2> first{top, left}, last{top + l.y.height(), left + l.y.width()},
      axes{2, 3};
  l.graph.node(
      "Slice",
      {l.inputs[0], l.graph.integers(l.output + "/first", first),
       l.graph.integers(l.output + "/last", last), l.graph.integers(l.output + "/axes", axes)},
      l.output);
}

// The elements of an image keep the order that they have with channels last.
void reshape(OnnxLayer& l) {
  const std::array<int64_t, 4> shape{-1, l.y.height(), l.y.width(), l.y.channels()};
  const std::string last = l.graph.node("Transpose", {l.inputs[0]}, l.output + "/channels_last",
                                        {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
  const std::string reshaped = l.graph.node(
      "Reshape", {last, l.graph.integers(l.output + "/shape", shape)}, l.output + "/reshaped");
  l.graph.node("Transpose", {reshaped}, l.output, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
}

}  // namespace

Names OnnxLayer::with(const std::string& x_name, const std::string& weight,
                      const std::string& bias) const {
  Names names{x_name, weights.at(weight)};
  const auto found = weights.find(bias);
  if (found != weights.end()) names.push_back(found->second);
  return names;
}

const std::map<std::string, OnnxConverter>& onnx_layers() {
  static const std::map<std::string, OnnxConverter> table{
      {"activation", activation},
      {"add", add},
      {"average_pooling2d", average_pooling2d},
      {"batch_normalization", batch_normalization},
      {"concatenate", concatenate},
      {"conv2d", conv2d},
      {"conv2d_transpose", conv2d_transpose},
      {"cropping2d", cropping2d},
      {"dense", dense},
      {"depthwise_conv2d", depthwise_conv2d},
      {"dropout", plain<identity>},
      {"flatten", reshape},
      {"global_average_pooling2d", plain<average>},
      {"global_max_pooling2d", plain<maximum>},
      {"max_pooling2d", max_pooling2d},
      {"multiply", multiply},
      {"prelu", prelu},
      {"reshape", reshape},
      {"resize", resize},
      {"separable_conv2d", separable_conv2d},
      {"spatial_dropout2d", plain<identity>},
      {"upsampling2d", upsampling2d},
      {"zero_padding2d", zero_padding2d},
  };
  return table;
}

}  // namespace fulmar::exchange
