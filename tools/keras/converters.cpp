#include <algorithm>
#include <cmath>
#include <optional>

#include "tools/keras/layer_call.h"

// One function for each class of layer, with Keras' meaning of its settings.
namespace fulmar::keras {
namespace {

struct Function {
  std::string op;  // "softmax" or one of kernels/pointwise.h
  double alpha = 0, beta = 0;
  bool constants = false;  // whether the op takes them
};

std::optional<Function> function_of(const std::string& name, int keras) {
  if (name == "hard_sigmoid")
    return keras >= 3 ? Function{name, 1.0 / 6, 0.5, true} : Function{name, 0.2, 0.5, true};
  if (name == "leaky_relu") return Function{name, 0.2, 0, true};
  if (name == "elu") return Function{name, 1, 0, true};
  for (const char* same :
       {"relu", "sigmoid", "tanh", "softmax", "selu", "softplus", "gelu", "relu6", "silu"})
    if (name == same) return Function{name};
  if (name == "swish") return Function{"silu"};
  if (name == "exponential") return Function{"exp"};
  return {};
}

Value apply(const LayerCall& c, const Value& x, const Function& f, const std::string& part) {
  Attributes attributes{{"function", f.op}};
  if (f.constants) attributes.insert({{"alpha", f.alpha}, {"beta", f.beta}});
  return c.add("activation", part, {x}, attributes, x.rank);
}

Value relu_of(const LayerCall& c, const Value& x, const std::string& part) {
  const double slope = c.number("negative_slope", 0), threshold = c.number("threshold", 0);
  c.require(threshold == 0, "a threshold other than 0 is not supported");
  if (!c.has("max_value"))
    return slope == 0 ? apply(c, x, {"relu"}, part)
                      : apply(c, x, {"leaky_relu", slope, 0, true}, part);
  const double most = c.number("max_value", 6);
  c.require(slope == 0, "a max_value goes with no negative_slope here");
  c.require(most > 0, "its max_value is not above 0");
  if (most == 6) return apply(c, x, {"relu6"}, part);
  // min(max(x, 0), m) = m/6 relu6(6/m x)
  const Value scaled = apply(c, x, {"affine", 6 / most, 0, true}, part + "/scaled");
  const Value cut = apply(c, scaled, {"relu6"}, part + "/relu6");
  return apply(c, cut, {"affine", most / 6, 0, true}, part);
}

double slope_of(const LayerCall& c, double fallback) {
  return c.has("negative_slope") ? c.number("negative_slope", fallback)
                                 : c.number("alpha", fallback);
}

// An activation that is a layer by itself: {"class_name": "LeakyReLU", "config": {…}}.
Value layer_activation(const LayerCall& c, const Value& x, const std::string& part) {
  if (c.class_name == "ReLU") return relu_of(c, x, part);
  if (c.class_name == "LeakyReLU")
    return apply(c, x, {"leaky_relu", slope_of(c, 0.3), 0, true}, part);
  if (c.class_name == "ELU") return apply(c, x, {"elu", c.number("alpha", 1), 0, true}, part);
  c.require(c.class_name == "Softmax", "the activation is not supported");
  c.require(c.is_last_axis("axis", x.rank, -1), "only an axis of -1 is supported");
  return apply(c, x, {"softmax"}, part);
}

// ---- windows

Attributes window_of(const LayerCall& c, const char* stride, bool dilates) {
  c.require_channels_last();
  const std::string padding = c.text("padding", "valid");
  c.require(padding == "same" || padding == "valid",
            "its padding '" + padding + "' is not supported");
  Attributes attributes{{"padding", padding}, {"stride", c.pair(stride, 1)}};
  if (dilates) attributes["dilation"] = c.pair("dilation_rate", 1);
  return attributes;
}

int64_t filters_of(const LayerCall& c) {
  const int64_t filters = c.integer("filters", 0);
  c.require(filters >= 1, "it has no filters");
  return filters;
}

// Kernels, and the bias where there is one.
std::vector<WeightPlace> kernels(const LayerCall& c, std::vector<WeightPlace> all) {
  if (c.flag("use_bias", true)) all.push_back({"bias", {}, {"bias"}});
  return all;
}

Value conv2d(const LayerCall& c) {
  const Value& x = c.picture();
  Attributes attributes = window_of(c, "strides", true);
  attributes["filters"] = filters_of(c);
  attributes["kernel"] = c.pair("kernel_size", 1);
  attributes["groups"] = c.integer("groups", 1);
  attributes["use_bias"] = c.flag("use_bias", true);
  return activate(
      c, c.add("conv2d", "", {x}, attributes, 4, kernels(c, {{"kernel", {}, {"kernel"}}})), "");
}

Value conv2d_transpose(const LayerCall& c) {
  const Value& x = c.picture();
  Attributes attributes = window_of(c, "strides", true);
  attributes["filters"] = filters_of(c);
  attributes["kernel"] = c.pair("kernel_size", 3);
  attributes["use_bias"] = c.flag("use_bias", true);
  if (c.has("output_padding")) attributes["output_padding"] = c.pair("output_padding", 0);
  return activate(
      c,
      c.add("conv2d_transpose", "", {x}, attributes, 4, kernels(c, {{"kernel", {}, {"kernel"}}})),
      "");
}

int64_t multiplier_of(const LayerCall& c) {
  const int64_t multiplier = c.integer("depth_multiplier", 1);
  c.require(multiplier >= 1 && multiplier <= 1 << 16, "its depth_multiplier is impossible");
  return multiplier;
}

// Several filters for each channel are a convolution in as many groups as channels.
Attributes grouped(const LayerCall& c, Attributes attributes) {
  const int64_t channels = c.shape(c.x[0]).channels();
  attributes["groups"] = channels;
  attributes["filters"] = channels * multiplier_of(c);
  return attributes;
}

const std::vector<std::string> depthwise_names{"depthwise_kernel", "kernel"};

Value depthwise_conv2d(const LayerCall& c) {
  const Value& x = c.picture();
  Attributes attributes = window_of(c, "strides", true);
  attributes["kernel"] = c.pair("kernel_size", 3);
  attributes["use_bias"] = c.flag("use_bias", true);
  std::vector<WeightPlace> weights{{"depthwise_kernel", {}, depthwise_names}};
  std::string op = "depthwise_conv2d";
  if (multiplier_of(c) > 1) {
    op = "conv2d";
    weights[0].parameter = "kernel";
    attributes = grouped(c, attributes);
  }
  return activate(c, c.add(op, "", {x}, attributes, 4, kernels(c, weights)), "");
}

Value separable_conv2d(const LayerCall& c) {
  const Value& x = c.picture();
  Attributes attributes = window_of(c, "strides", true);
  attributes["kernel"] = c.pair("kernel_size", 3);
  const WeightPlace pointwise{"pointwise_kernel", {}, {"pointwise_kernel"}};
  if (multiplier_of(c) == 1) {
    attributes["filters"] = filters_of(c);
    attributes["use_bias"] = c.flag("use_bias", true);
    return activate(c,
                    c.add("separable_conv2d", "", {x}, attributes, 4,
                          kernels(c, {{"depthwise_kernel", {}, {"depthwise_kernel"}}, pointwise})),
                    "");
  }
  attributes["use_bias"] = false;
  const Value d = c.add("conv2d", "/depthwise", {x}, grouped(c, attributes), 4,
                        {{"kernel", {}, {"depthwise_kernel"}}});
  const Attributes last{{"filters", filters_of(c)}, {"use_bias", c.flag("use_bias", true)}};
  return activate(
      c, c.add("conv2d", "", {d}, last, 4, kernels(c, {{"kernel", {}, {"pointwise_kernel"}}})), "");
}

Value pooling(const LayerCall& c, const char* op) {
  Attributes attributes = window_of(c, c.has("strides") ? "strides" : "pool_size", false);
  attributes["pool_size"] = c.pair("pool_size", 2);
  if (!c.has("strides")) attributes["stride"] = attributes["pool_size"];
  return c.add(op, "", {c.picture()}, attributes, 4);
}

Value global_pooling(const LayerCall& c, const char* op) {
  c.require_channels_last();
  return c.add(op, "", {c.picture()}, {}, c.flag("keepdims", false) ? 4 : 2);
}

// ---- elementwise

Value activation(const LayerCall& c) {
  c.only();
  const Value y = activate(c, c.x[0], "");
  // A linear one keeps its name too: explanations ask for layers by name.
  return y.call != c.x[0].call ? y : apply(c, y, {"affine", 1, 0, true}, "");
}

Value prelu(const LayerCall& c) {
  const Value& x = c.only();
  std::vector<double> shared;
  if (c.has("shared_axes")) shared = c.numbers(c.config["shared_axes"], "shared_axes");
  std::sort(shared.begin(), shared.end());
  const bool by_channel = shared == std::vector<double>{1, 2} || x.rank == 2;
  c.require(by_channel || shared.empty(), "slopes shared along these axes are not supported");
  return c.add("prelu", "", {x}, {{"shared", by_channel}}, x.rank, {{"alpha", {}, {"alpha"}}});
}

Value merge(const LayerCall& c, const char* op) {
  c.require(!c.x.empty(), "it has no input");
  int rank = 0;
  for (const Value& x : c.x) rank = std::max(rank, x.rank);
  return c.add(op, "", c.x, {}, rank);
}

Value concatenate(const LayerCall& c) {
  c.require(!c.x.empty(), "it has no input");
  for (const Value& x : c.x)
    c.require(x.rank == c.x[0].rank, "its inputs have different numbers of axes");
  c.require(c.is_last_axis("axis", c.x[0].rank, -1), "only the last axis is supported");
  return c.add("concatenate", "", c.x, {}, c.x[0].rank);
}

Value batch_normalization(const LayerCall& c) {
  const Value& x = c.only();
  c.require(c.is_last_axis("axis", x.rank, -1), "only the last axis is supported");
  const bool scale = c.flag("scale", true), center = c.flag("center", true);
  if (!scale || !center)
    c.note("'" + c.name + "' has no " +
           (scale    ? "beta"
            : center ? "gamma"
                     : "gamma and beta") +
           " in Keras; here it has, and training changes it");
  return c.add("batch_normalization", "", {x},
               {{"epsilon", c.number("epsilon", 1e-3)}, {"momentum", c.number("momentum", 0.99)}},
               x.rank,
               {scale ? WeightPlace{"gamma", {}, {"gamma"}} : WeightPlace{"gamma", {}, {}, 1},
                center ? WeightPlace{"beta", {}, {"beta"}} : WeightPlace{"beta", {}, {}, 0},
                {"moving_mean", {}, {"moving_mean"}, 0, {}, 0, true},
                {"moving_variance", {}, {"moving_variance"}, 0, {}, 0, true}});
}

std::vector<float> floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

// gamma (x - mean) / sqrt(variance) + beta with numbers that training leaves alone.
Value fixed_normalization(const LayerCall& c, const Value& x, std::vector<WeightPlace> weights) {
  return c.add("batch_normalization", "", {x}, {{"epsilon", 0.0}}, x.rank, std::move(weights),
               true);
}

Value rescaling(const LayerCall& c) {
  const Value& x = c.only();
  const auto list = [&](const char* key, double fallback) {
    return c.has(key) ? c.numbers(c.config[key], key) : std::vector<double>{fallback};
  };
  const FromInput how{FromInput::Kind::rescale, list("scale", 1), list("offset", 0)};
  const auto channels = static_cast<size_t>(c.shape(x).channels());
  for (const auto* values : {&how.scale, &how.offset})
    c.require(values->size() == 1 || values->size() == channels,
              "its scale and offset are neither one number nor one for each channel");
  Value y;
  if (how.scale.size() == 1 && how.offset.size() == 1)
    y = apply(c, x, {"affine", how.scale[0], how.offset[0], true}, "");
  else
    y = fixed_normalization(c, x,
                            {{"gamma", {}, {}, how.scale[0], floats(how.scale)},
                             {"beta", {}, {}, how.offset[0], floats(how.offset)},
                             {"moving_mean", {}, {}, 0, {}, 0, true},
                             {"moving_variance", {}, {}, 1, {}, 0, true}});
  c.mark(y, how);
  return y;
}

Value normalization(const LayerCall& c) {
  const Value& x = c.only();
  c.require(!c.flag("invert", false), "invert is not supported");
  // Without an axis there is one mean of all.
  const bool of_all =
      c.config.contains("axis") &&
      (c.config["axis"].is_null() || (c.config["axis"].is_array() && c.config["axis"].empty()));
  c.require(of_all || c.is_last_axis("axis", x.rank, -1), "only the last axis is supported");
  WeightPlace mean{"moving_mean", {}, {"mean"}, 0, {}, 0, true};
  WeightPlace variance{"moving_variance", {}, {"variance"}, 0, {}, 0, true};
  if (c.has("mean") && c.has("variance")) {  // given, not measured: no weights of the file
    mean.values = floats(c.numbers(c.config["mean"], "mean"));
    variance.values = floats(c.numbers(c.config["variance"], "variance"));
    mean.keras.clear(), variance.keras.clear();
  }
  variance.least = 1e-14;  // Keras divides by max(sqrt(variance), 1e-7)
  return fixed_normalization(c, x, {mean, variance, {"gamma", {}, {}, 1}, {"beta", {}, {}, 0}});
}

Value dropout(const LayerCall& c, const char* op) {
  const double rate = c.number("rate", 0.5);
  c.require(rate >= 0 && rate < 1, "its rate is not within 0 and 1");
  if (c.has("noise_shape"))
    c.note("'" + c.name + "' drops single elements in training, whatever its noise_shape");
  return c.add(op, "", {c.only()}, {{"rate", rate}}, c.x[0].rank);
}

Value dense(const LayerCall& c) {
  const Value& x = c.only();
  const int64_t units = c.integer("units", 0);
  c.require(units >= 1, "it has no units");
  return activate(
      c,
      c.add("dense", "", {x}, {{"units", units}, {"use_bias", c.flag("use_bias", true)}}, x.rank,
            kernels(c, {{"kernel", {}, {"kernel"}}})),
      "");
}

// What does nothing in inference.
Value inactive(const LayerCall& c) {
  c.only();
  return c.x[0];
}

// ---- extents

std::array<int64_t, 4> margins(const LayerCall& c, const char* key, int64_t fallback) {
  if (!c.has(key)) return {fallback, fallback, fallback, fallback};
  const Json& json = c.config[key];
  const std::vector<double> values = c.numbers(json, key);
  std::array<int64_t, 4> sides{};
  c.require(values.size() == 1 || values.size() == 2 || values.size() == 4,
            std::string("its ") + key + " is not one, two or four numbers");
  for (size_t i = 0; i < 4; i++) {
    const double value = values[values.size() == 4 ? i : values.size() == 2 ? i / 2 : 0];
    c.require(value >= 0 && value <= 1 << 20 && value == std::floor(value),
              std::string("its ") + key + " is impossible");
    sides[i] = static_cast<int64_t>(value);
  }
  return sides;
}

Attributes sides(const std::string& prefix, const std::array<int64_t, 4>& pixels) {
  return {{prefix + "_top", pixels[0]},
          {prefix + "_bottom", pixels[1]},
          {prefix + "_left", pixels[2]},
          {prefix + "_right", pixels[3]}};
}

Value zero_padding2d(const LayerCall& c) {
  c.require_channels_last();
  return c.add("zero_padding2d", "", {c.picture()}, sides("pad", margins(c, "padding", 1)), 4);
}

Value cropping2d(const LayerCall& c) {
  c.require_channels_last();
  return c.add("cropping2d", "", {c.picture()}, sides("crop", margins(c, "cropping", 0)), 4);
}

Value center_crop(const LayerCall& c) {
  c.require_channels_last();
  const Shape x = c.shape(c.picture());
  const int64_t height = c.integer("height", 0), width = c.integer("width", 0);
  c.require(height >= 1 && width >= 1 && height <= x.height() && width <= x.width(),
            "a crop of " + std::to_string(height) + "x" + std::to_string(width) + " of " +
                std::to_string(x.height()) + "x" + std::to_string(x.width()) +
                " pixels, which Keras enlarges, is not supported");
  const int64_t top = (x.height() - height) / 2, left = (x.width() - width) / 2;
  Value y =
      c.add("cropping2d", "", {c.x[0]},
            sides("crop", {top, x.height() - height - top, left, x.width() - width - left}), 4);
  if (height == width && x.height() == x.width())
    c.mark(y, {FromInput::Kind::crop, {}, {}, height});
  return y;
}

// In inference Keras resizes to these extents.
Value random_crop(const LayerCall& c) {
  const Shape x = c.shape(c.picture());
  c.require(c.integer("height", 0) == x.height() && c.integer("width", 0) == x.width(),
            "a crop to other extents than the input's is not supported");
  return c.x[0];
}

std::string interpolation_of(const LayerCall& c, const char* usual) {
  std::string how = c.text("interpolation", usual);
  c.require(how == "nearest" || how == "bilinear",
            "its interpolation '" + how + "' is not supported");
  return how;
}

Value resizing(const LayerCall& c) {
  c.require_channels_last();
  const Shape x = c.shape(c.picture());
  const int64_t height = c.integer("height", 0), width = c.integer("width", 0);
  const bool keeps = c.flag("crop_to_aspect_ratio", false) || c.flag("pad_to_aspect_ratio", false);
  c.require(!keeps || height * x.width() == width * x.height(),
            "keeping the aspect ratio is not supported");
  c.require(!c.flag("antialias", false), "antialias is not supported");
  return c.add(
      "resize", "", {c.x[0]},
      {{"height", height}, {"width", width}, {"interpolation", interpolation_of(c, "bilinear")}},
      4);
}

Value upsampling2d(const LayerCall& c) {
  c.require_channels_last();
  return c.add("upsampling2d", "", {c.picture()},
               {{"size", c.pair("size", 2)}, {"interpolation", interpolation_of(c, "nearest")}}, 4);
}

Value flatten(const LayerCall& c) {
  c.require_channels_last();
  return c.add("flatten", "", {c.only()}, {}, 2);
}

Value reshape(const LayerCall& c) {
  const Shape x = c.shape(c.only());
  c.require(c.has("target_shape"), "it has no target_shape");
  std::vector<int64_t> to;
  for (const double extent : c.numbers(c.config["target_shape"], "target_shape")) {
    c.require(extent >= -1 && extent != 0 && extent <= 1 << 20 && extent == std::floor(extent),
              "its target_shape is impossible");
    to.push_back(static_cast<int64_t>(extent));
  }
  c.require(!to.empty() && to.size() <= 3, "more than three axes are not supported");
  const int rank = static_cast<int>(to.size()) + 1;
  int64_t known = 1;
  for (const int64_t extent : to) known *= extent > 0 ? extent : 1;
  const int64_t elements = x.height() * x.width() * x.channels();
  for (int64_t& extent : to)
    if (extent < 0) extent = elements / known;
  while (to.size() < 3) to.insert(to.begin(), 1);
  return c.add("reshape", "", {c.x[0]}, {{"height", to[0]}, {"width", to[1]}, {"channels", to[2]}},
               rank);
}

}  // namespace

Value activate(const LayerCall& c, const Value& x, const std::string& part) {
  if (!c.has("activation")) return x;
  const Json* json = &c.config["activation"];
  if (json->is_object()) {
    const auto layer = json->find("class_name"), config = json->find("config");
    c.require(layer != json->end() && layer->is_string() && config != json->end(),
              "its activation can't be read");
    if (*layer != "function" && config->is_object())
      return layer_activation(c.with(*config, layer->get<std::string>()), x,
                              part + (c.class_name == "Activation" ? "" : "/activation"));
    json = &*config;
  }
  c.require(json->is_string(), "its activation can't be read");
  const auto name = json->get<std::string>();
  if (name == "linear") return x;
  const auto function = function_of(name, c.major_version());
  c.require(function.has_value(), "the activation '" + name.substr(0, 100) + "' is not supported");
  // A call of its own, so that logits can be reached.
  return apply(c, x, *function, part + (c.class_name == "Activation" ? "" : "/" + name));
}

const std::map<std::string, Converter>& converters() {
  const auto pool = [](const char* op) {
    return [op](const LayerCall& c) { return pooling(c, op); };
  };
  const auto global = [](const char* op) {
    return [op](const LayerCall& c) { return global_pooling(c, op); };
  };
  const auto activation_layer = [](const LayerCall& c) {
    return layer_activation(c, c.only(), "");
  };
  static const std::map<std::string, Converter> table{
      {"Activation", activation},
      {"Add", [](const LayerCall& c) { return merge(c, "add"); }},
      {"AlphaDropout", inactive},
      {"AveragePooling2D", pool("average_pooling2d")},
      {"BatchNormalization", batch_normalization},
      {"CenterCrop", center_crop},
      {"Concatenate", concatenate},
      {"Conv2D", conv2d},
      {"Conv2DTranspose", conv2d_transpose},
      {"Cropping2D", cropping2d},
      {"Dense", dense},
      {"DepthwiseConv2D", depthwise_conv2d},
      {"Dropout", [](const LayerCall& c) { return dropout(c, "dropout"); }},
      {"ELU", activation_layer},
      {"Flatten", flatten},
      {"GaussianDropout", inactive},
      {"GaussianNoise", inactive},
      {"GlobalAveragePooling2D", global("global_average_pooling2d")},
      {"GlobalMaxPooling2D", global("global_max_pooling2d")},
      {"LeakyReLU", activation_layer},
      {"MaxPooling2D", pool("max_pooling2d")},
      {"Multiply", [](const LayerCall& c) { return merge(c, "multiply"); }},
      {"Normalization", normalization},
      {"PReLU", prelu},
      {"RandomBrightness", inactive},
      {"RandomContrast", inactive},
      {"RandomCrop", random_crop},
      {"RandomFlip", inactive},
      {"RandomHeight", inactive},
      {"RandomRotation", inactive},
      {"RandomTranslation", inactive},
      {"RandomWidth", inactive},
      {"RandomZoom", inactive},
      {"ReLU", activation_layer},
      {"Rescaling", rescaling},
      {"Reshape", reshape},
      {"Resizing", resizing},
      {"SeparableConv2D", separable_conv2d},
      {"Softmax", activation_layer},
      {"SpatialDropout2D", [](const LayerCall& c) { return dropout(c, "spatial_dropout2d"); }},
      {"UpSampling2D", upsampling2d},
      {"ZeroPadding2D", zero_padding2d},
  };
  return table;
}

}  // namespace fulmar::keras
