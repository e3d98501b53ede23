#include <algorithm>
#include <functional>

#include "engine/layer_window.h"
#include "engine/network.h"
#include "engine/ops.h"
#include "engine/window.h"
#include "kernels/error.h"

// The vocabulary of networks, with Keras' names for layers and weights; network.h lists the
// attributes.
namespace fulmar {
namespace {

using ops::Initializer;

Initializer glorot(double fan_in, double fan_out) {
  return {Initializer::Kind::glorot_uniform, fan_in, fan_out};
}

double tap_count(std::array<int64_t, 2> kernel) {
  return static_cast<double>(kernel[0]) * static_cast<double>(kernel[1]);
}

// Frozen where the layer doesn't train.
Val parameter(LayerArgs& l, const std::string& what, const Shape& shape,
              const Initializer& initializer, bool decays) {
  return ops::parameter(l.tape, l.weights() + "/" + what, shape, initializer, decays, l.trains());
}

Val weight(LayerArgs& l, const std::string& what, const Shape& shape, double fan_in,
           double fan_out) {
  return parameter(l, what, shape, glorot(fan_in, fan_out), true);
}

Val bias_of(LayerArgs& l, int64_t channels, const Initializer& initializer = {}) {
  if (!l.flag("use_bias", true)) return {};
  return parameter(l, "bias", Shape{channels}, initializer, false);
}

// How a kernel begins.
Initializer initializer_of(LayerArgs& l, double fan_in, double fan_out) {
  const std::string name = l.text("initializer", "glorot_uniform");
  if (name == "glorot_uniform") return glorot(fan_in, fan_out);
  if (name == "kaiming_normal") return {Initializer::Kind::kaiming_normal, fan_in, fan_out};
  if (name == "fan_in_uniform") return {Initializer::Kind::fan_in_uniform, fan_in, fan_out};
  usage_error("initializer '" + name +
              "' is none of glorot_uniform, kaiming_normal, fan_in_uniform");
}

// And its bias: 0 but where the kernel's range is by fan_in alone.
Initializer bias_initializer(const Initializer& kernel) {
  return kernel.kind == Initializer::Kind::fan_in_uniform ? kernel : Initializer{};
}

int64_t positive(LayerArgs& l, const std::string& attribute) {
  const int64_t value = l.integer(attribute);
  if (value < 1)
    usage_error("'" + attribute + "' must be at least 1, it is " + std::to_string(value));
  return value;
}

Val input(LayerArgs& l) {
  const Shape& x = l.tape.shape(l.x[0]);
  const int64_t channels = l.integer("channels", x.channels());
  if (x.channels() != channels)
    usage_error("x " + x.to_string() + " has " + std::to_string(x.channels()) +
                " channels, the network takes " + std::to_string(channels));
  const int64_t grid = l.integer("grid", 1);
  if (grid < 1) usage_error("'grid' must be at least 1, it is " + std::to_string(grid));
  if (l.x.size() < 2) return l.x[0];
  const Shape& first = l.tape.shape(l.x[1]);
  const int64_t rows = grid_cells(first.height(), grid), columns = grid_cells(first.width(), grid);
  if (x.height() != rows || x.width() != columns)
    usage_error("x " + x.to_string() + " is not " + std::to_string(rows) + " x " +
                std::to_string(columns) + ", which the first input " + first.to_string() +
                " gives on a grid of " + std::to_string(grid));
  return l.x[0];
}

Val conv2d(LayerArgs& l) {
  const Shape x = l.tape.shape(l.x[0]);
  const int64_t filters = positive(l, "filters"), groups = l.integer("groups", 1);
  if (groups < 1 || x.channels() % groups != 0 || filters % groups != 0)
    usage_error(std::to_string(x.channels()) + " input and " + std::to_string(filters) +
                " output channels can't be split into " + std::to_string(groups) + " groups");
  const auto kernel = l.pair("kernel", 1);
  const int64_t in = x.channels() / groups;
  const double taps = tap_count(kernel);
  const Window window = layer_window(l, x, kernel, l.pair("stride", 1), "same");
  const Initializer initializer =
      initializer_of(l, taps * static_cast<double>(in), taps * static_cast<double>(filters));
  const Val w = parameter(l, "kernel", {kernel[0], kernel[1], in, filters}, initializer, true);
  const Val bias = bias_of(l, filters, bias_initializer(initializer));
  return ops::conv2d(l.tape, l.x[0], w, bias, window, groups);
}

// The gradient of a convolution by its input, run forward: x stands for its dy, y for its x.
Val conv2d_transpose(LayerArgs& l) {
  const Shape x = l.tape.shape(l.x[0]);
  const int64_t filters = positive(l, "filters");
  const auto [kernel, out, window] = transposed_window(l, x);
  const double taps = tap_count(kernel), in = static_cast<double>(x.channels());
  const Val w = weight(l, "kernel", {kernel[0], kernel[1], filters, x.channels()},
                       taps * static_cast<double>(filters), taps * in);
  const Val y = ops::conv2d_transpose(l.tape, l.x[0], w, window, out);
  const Val bias = bias_of(l, filters);
  return bias ? ops::add(l.tape, y, bias) : y;
}

// Keras counts a depthwise kernel [Kh,Kw,C,1] as fan_in = taps C, fan_out = taps.
Val depthwise(LayerArgs& l, const Window& window, std::array<int64_t, 2> kernel) {
  const int64_t channels = l.tape.shape(l.x[0]).channels();
  const double taps = tap_count(kernel);
  const Val w = weight(l, "depthwise_kernel", {kernel[0], kernel[1], channels},
                       taps * static_cast<double>(channels), taps);
  return ops::depthwise_conv2d(l.tape, l.x[0], w, window);
}

Val depthwise_conv2d(LayerArgs& l) {
  const auto kernel = l.pair("kernel", 3);
  const Window window = layer_window(l, l.tape.shape(l.x[0]), kernel, l.pair("stride", 1), "same");
  const Val y = depthwise(l, window, kernel);
  const Val bias = bias_of(l, l.tape.shape(y).channels());
  return bias ? ops::add(l.tape, y, bias) : y;
}

Val separable_conv2d(LayerArgs& l) {
  const auto kernel = l.pair("kernel", 3);
  const Window window = layer_window(l, l.tape.shape(l.x[0]), kernel, l.pair("stride", 1), "same");
  const Val d = depthwise(l, window, kernel);
  const int64_t in = l.tape.shape(d).channels(), filters = positive(l, "filters");
  const Val w = weight(l, "pointwise_kernel", {1, 1, in, filters}, static_cast<double>(in),
                       static_cast<double>(filters));
  return ops::conv2d(l.tape, d, w, bias_of(l, filters), {});
}

Val batch_normalization(LayerArgs& l) {
  const int64_t channels = l.tape.shape(l.x[0]).channels();
  const Shape shape{channels};
  const double epsilon = l.number("epsilon", 1e-3);
  const auto first =
      l.flag("zero_gamma", false) ? Initializer::Kind::zeros : Initializer::Kind::ones;
  const Val gamma = parameter(l, "gamma", shape, {first, 0, 0}, false);
  const Val beta = parameter(l, "beta", shape, {}, false);
  const Val mean = ops::statistic(l.tape, l.weights() + "/moving_mean", shape, 0);
  const Val var = ops::statistic(l.tape, l.weights() + "/moving_variance", shape, 1);
  const double momentum = l.number("momentum", 0.99);
  if (l.options.mode == Mode::eval || !l.trains())
    return ops::batch_norm(l.tape, l.x[0], gamma, beta, mean, var, epsilon);
  const bool estimate = l.options.mode == Mode::estimate;
  const ops::RunningStatistics running{mean, var, estimate ? 0 : momentum,
                                       !estimate && l.options.unbiased_running_variance};
  return ops::batch_norm_train(l.tape, l.x[0], gamma, beta, running, epsilon);
}

Val activation(LayerArgs& l) {
  const std::string function = l.text("function", "relu");
  if (function == "softmax") return ops::softmax(l.tape, l.x[0]);
  const bool hard = function == "hard_sigmoid";
  const double alpha = l.number("alpha", hard ? 1.0 / 6 : function == "elu" ? 1 : 0);
  return ops::pointwise(l.tape, function, l.x, alpha, l.number("beta", hard ? 0.5 : 0));
}

Val max_pooling2d(LayerArgs& l) {
  const auto kernel = l.pair("pool_size", 2);
  const Window window = layer_window(l, l.tape.shape(l.x[0]), kernel,
                                     l.has("stride") ? l.pair("stride", 2) : kernel, "valid");
  return ops::max_pool(l.tape, l.x[0], kernel, window);
}

Val average_pooling2d(LayerArgs& l) {
  const auto kernel = l.pair("pool_size", 2);
  const Window window = layer_window(l, l.tape.shape(l.x[0]), kernel,
                                     l.has("stride") ? l.pair("stride", 2) : kernel, "valid");
  return ops::average_pool(l.tape, l.x[0], kernel, window);
}

Val dropout(LayerArgs& l) {
  const double rate = l.number("rate", 0.5);
  if (l.options.mode != Mode::train || rate == 0) return l.x[0];
  return ops::dropout(l.tape, l.x[0], rate, l.index);
}

// Drops whole channels of an image.
Val spatial_dropout2d(LayerArgs& l) {
  const double rate = l.number("rate", 0.5);
  if (l.options.mode != Mode::train || rate == 0) return l.x[0];
  const Shape& x = l.tape.shape(l.x[0]);
  const Val ones = ops::constant(l.tape, {x.images(), 1, 1, x.channels()}, 1);
  return ops::mul(l.tape, l.x[0], ops::dropout(l.tape, ones, rate, l.index));
}

Val prelu(LayerArgs& l) {
  const Shape& x = l.tape.shape(l.x[0]);
  const Shape one =
      l.flag("shared", true) ? Shape{x.channels()} : Shape{1, x.height(), x.width(), x.channels()};
  return ops::prelu(l.tape, l.x[0], parameter(l, "alpha", one, {}, false));
}

Val dense(LayerArgs& l) {
  const int64_t in = l.tape.shape(l.x[0]).channels(), units = positive(l, "units");
  const Initializer initializer =
      initializer_of(l, static_cast<double>(in), static_cast<double>(units));
  const Val w = parameter(l, "kernel", {in, units}, initializer, true);
  return ops::dense(l.tape, l.x[0], w, bias_of(l, units, bias_initializer(initializer)));
}

Interpolation interpolation_of(const LayerArgs& l, const char* usual) {
  const std::string interpolation = l.text("interpolation", usual);
  if (interpolation != "bilinear" && interpolation != "nearest")
    usage_error("interpolation '" + interpolation + "' is neither bilinear nor nearest");
  return interpolation == "nearest" ? Interpolation::nearest : Interpolation::bilinear;
}

Val upsampling2d(LayerArgs& l) {
  const Shape& x = l.tape.shape(l.x[0]);
  const auto size = l.pair("size", 2);
  for (const int64_t times : size)
    if (times < 1) usage_error("'size' must be at least 1, it is " + std::to_string(times));
  return ops::resize(l.tape, l.x[0], x.height() * size[0], x.width() * size[1],
                     {interpolation_of(l, "nearest"), l.flag("align_corners", false)});
}

Val resize(LayerArgs& l) {
  Resize how;
  how.interpolation = interpolation_of(l, "bilinear");
  how.align_corners = l.flag("align_corners", false);
  if (l.x.size() > 1) {
    const Shape& like = l.tape.shape(l.x[1]);
    return ops::resize(l.tape, l.x[0], like.height(), like.width(), how);
  }
  return ops::resize(l.tape, l.x[0], positive(l, "height"), positive(l, "width"), how);
}

// Rows and columns at the sides of a picture: of attributes PREFIX_top and so on.
struct Margin {
  int64_t top, bottom, left, right;
};
Margin margin(const LayerArgs& l, const std::string& prefix) {
  const auto side = [&](const char* name) {
    const int64_t pixels = l.integer(prefix + name, 0);
    if (pixels < 0)
      usage_error("'" + prefix + name + "' must be at least 0, it is " + std::to_string(pixels));
    return pixels;
  };
  return {side("_top"), side("_bottom"), side("_left"), side("_right")};
}

Val zero_padding2d(LayerArgs& l) {
  const Shape x = l.tape.shape(l.x[0]);
  Shape y = x;
  if (l.x.size() > 1) {
    const Shape& like = l.tape.shape(l.x[1]);
    if (x.height() == like.height() && x.width() == like.width()) return l.x[0];
    y[1] = like.height(), y[2] = like.width();
    return ops::embed(l.tape, l.x[0], {0, 0, 0, 0}, y);
  }
  const Margin m = margin(l, "pad");
  y[1] += m.top + m.bottom, y[2] += m.left + m.right;
  return ops::embed(l.tape, l.x[0], {0, m.top, m.left, 0}, y);
}

Val cropping2d(LayerArgs& l) {
  Shape y = l.tape.shape(l.x[0]);
  if (l.x.size() > 1) {
    const Shape& like = l.tape.shape(l.x[1]);
    y[1] = like.height(), y[2] = like.width();
    return ops::slice(l.tape, l.x[0], {0, 0, 0, 0}, y);
  }
  const Margin m = margin(l, "crop");
  y[1] -= m.top + m.bottom, y[2] -= m.left + m.right;
  if (y[1] < 1 || y[2] < 1) usage_error("nothing is left of x " + l.tape.shape(l.x[0]).to_string());
  return ops::slice(l.tape, l.x[0], {0, m.top, m.left, 0}, y);
}

Val reshape(LayerArgs& l) {
  const int64_t images = l.tape.shape(l.x[0]).images();
  return ops::reshape(
      l.tape, l.x[0],
      {images, positive(l, "height"), positive(l, "width"), positive(l, "channels")});
}

Val flatten(LayerArgs& l) {
  const Shape& x = l.tape.shape(l.x[0]);
  return ops::reshape(l.tape, l.x[0], {x.images(), 1, 1, x.height() * x.width() * x.channels()});
}

Val multiply(LayerArgs& l) {
  Val product = l.x[0];
  for (size_t i = 1; i < l.x.size(); i++) product = ops::mul(l.tape, product, l.x[i]);
  return product;
}

Val add(LayerArgs& l) {
  Val sum = l.x[0];
  for (size_t i = 1; i < l.x.size(); i++) sum = ops::add(l.tape, sum, l.x[i]);
  return sum;
}

}  // namespace

Window layer_window(const LayerArgs& l, const Shape& x, std::array<int64_t, 2> kernel,
                    std::array<int64_t, 2> stride, const std::string& default_padding) {
  Window window;
  window.stride = stride;
  window.dilation = l.pair("dilation", 1);
  ops::require_window(kernel, window);
  const std::string padding = l.text("padding", default_padding);
  if (padding == "same") {
    const auto rows = ops::same_padding(x.height(), kernel[0], stride[0], window.dilation[0]);
    const auto columns = ops::same_padding(x.width(), kernel[1], stride[1], window.dilation[1]);
    window.padding = {rows[0], rows[1], columns[0], columns[1]};
  } else if (padding == "explicit") {
    window.padding = {l.integer("pad_top"), l.integer("pad_bottom"), l.integer("pad_left"),
                      l.integer("pad_right")};
  } else if (padding != "valid") {
    usage_error("padding '" + padding + "' is none of same, valid, explicit");
  }
  return window;
}

TransposedWindow transposed_window(const LayerArgs& l, const Shape& x) {
  const auto kernel = l.pair("kernel", 3), stride = l.pair("stride", 1);
  const std::string padding = l.text("padding", "valid");
  if (padding != "same" && padding != "valid")
    usage_error("padding '" + padding + "' is neither same nor valid");
  Window window;
  window.stride = stride;
  window.dilation = l.pair("dilation", 1);
  ops::require_window(kernel, window);
  // As Keras' deconv_output_length has it.
  std::array<int64_t, 2> out{x.height(), x.width()};
  for (size_t i = 0; i < 2; i++) {
    const int64_t taps = (kernel[i] - 1) * window.dilation[i] + 1;
    if (l.has("output_padding"))
      out[i] = (out[i] - 1) * stride[i] + taps - (padding == "same" ? taps / 2 * 2 : 0) +
               l.pair("output_padding", 0)[i];
    else
      out[i] =
          out[i] * stride[i] + (padding == "same" ? 0 : std::max<int64_t>(0, taps - stride[i]));
    if (out[i] < 1) usage_error("nothing is left of x " + x.to_string());
  }
  if (padding == "same") {
    const auto pad = [&](size_t i) {
      return ops::same_padding(out[i], kernel[i], stride[i], window.dilation[i]);
    };
    window.padding = {pad(0)[0], pad(0)[1], pad(1)[0], pad(1)[1]};
  }
  return {kernel, out, window};
}

const std::map<std::string, Layer>& layers() {
  static const std::map<std::string, Layer> table{
      {"activation", {activation, 1}},
      {"add", {add, -1}},
      {"average_pooling2d", {average_pooling2d, 1}},
      {"batch_normalization", {batch_normalization, 1}},
      {"concatenate", {[](LayerArgs& l) { return ops::concat(l.tape, l.x); }, -1}},
      {"conv2d", {conv2d, 1}},
      {"conv2d_transpose", {conv2d_transpose, 1}},
      {"cropping2d", {cropping2d, 1, 1}},
      {"dense", {dense, 1}},
      {"depthwise_conv2d", {depthwise_conv2d, 1}},
      {"dropout", {dropout, 1}},
      {"flatten", {flatten, 1}},
      {"global_average_pooling2d",
       {[](LayerArgs& l) { return ops::global_average_pool(l.tape, l.x[0]); }, 1}},
      {"global_max_pooling2d",
       {[](LayerArgs& l) { return ops::global_max_pool(l.tape, l.x[0]); }, 1}},
      {"input", {input, 0}},
      {"max_pooling2d", {max_pooling2d, 1}},
      {"multiply", {multiply, -1}},
      {"prelu", {prelu, 1}},
      {"reshape", {reshape, 1}},
      {"resize", {resize, 1, 1}},
      {"separable_conv2d", {separable_conv2d, 1}},
      {"spatial_dropout2d", {spatial_dropout2d, 1}},
      {"upsampling2d", {upsampling2d, 1}},
      {"zero_padding2d", {zero_padding2d, 1, 1}},
  };
  return table;
}

}  // namespace fulmar
