#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "model/tasks/classification.h"
#include "tests/support/error_of.h"
#include "tests/support/keras_import.h"
#include "tools/keras/keras_file.h"
#include "tools/keras/keras_network.h"
#include "tools/keras/keras_weights.h"
#include "tools/keras/layer_call.h"

// What a configuration becomes, and which weights go where; without a file.

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::json;

namespace {

Json layer(const std::string& layer_class, const std::string& name, Json config = Json::object()) {
  config["name"] = name;
  return {{"class_name", layer_class}, {"config", config}};
}

Json input(int64_t size = 8, int64_t channels = 3) {
  return layer("InputLayer", "picture", {{"batch_input_shape", {nullptr, size, size, channels}}});
}

Json conv(const std::string& name, Json more = Json::object()) {
  more.update({{"filters", 2}, {"kernel_size", 1}});
  return layer("Conv2D", name, more);
}

Json sequential(const std::vector<Json>& layers, const std::string& name = "model") {
  return {{"class_name", "Sequential"}, {"config", {{"name", name}, {"layers", layers}}}};
}

// A layer of a graph, called once with each of the lists of names.
Json node(Json what, const std::vector<std::vector<std::string>>& calls) {
  what["name"] = what["config"]["name"];
  what["inbound_nodes"] = Json::array();
  for (const auto& call : calls) {
    Json inputs = Json::array();
    for (const std::string& name : call) inputs.push_back({name, 0, 0, Json::object()});
    what["inbound_nodes"].push_back(inputs);
  }
  return what;
}

Json functional(const std::vector<Json>& layers, const std::string& output) {
  return {{"class_name", "Functional"},
          {"config",
           {{"name", "model"},
            {"layers", layers},
            {"input_layers", {{"picture", 0, 0}}},
            {"output_layers", {{output, 0, 0}}}}}};
}

keras::KerasNetwork read(const Json& model, const keras::NetworkOptions& options = {}) {
  return keras::read_network(model.dump(), "2.15.0", options);
}

std::string refused(const Json& model, const keras::NetworkOptions& options = {},
                    ErrorKind kind = ErrorKind::file) {
  return error_of(kind, [&] { read(model, options); });
}

std::vector<std::string> names_of(const Network& network) {
  std::vector<std::string> names;
  for (const Call& call : network.calls()) names.push_back(call.op + " " + call.name);
  return names;
}

using Names = std::vector<std::string>;

const Json rescale = layer("Rescaling", "scaled", {{"scale", 0.5}, {"offset", 3}});
Json crop_to(int64_t side) {
  return layer("CenterCrop", "crop", {{"height", side}, {"width", side}});
}

}  // namespace

TEST_CASE("keras: crop and scaling behind the input become the record of the pictures") {
  const keras::KerasNetwork n =
      read(sequential({input(9), layer("RandomFlip", "flip"), crop_to(6), rescale, conv("c")}));
  CHECK(names_of(n.network) == Names{"input picture", "conv2d c"});
  CHECK(n.preprocess.size == 9);
  CHECK(n.preprocess.crop == 6);
  CHECK(n.preprocess.resize == Interpolation::nearest);
  CHECK(n.preprocess.scale == std::vector<double>{0.5, 0.5, 0.5});
  CHECK(n.preprocess.offset == std::vector<double>{3, 3, 3});
  CHECK(n.notes.size() == 1);

  // What reached the model was -1...1: that scaling comes first.
  keras::NetworkOptions options;
  options.scale = {-1, 1};
  options.resize = Interpolation::bilinear;
  const keras::KerasNetwork s = read(sequential({input(9), rescale, conv("c")}), options);
  CHECK(s.preprocess.crop == 9);
  CHECK(s.preprocess.resize == Interpolation::bilinear);
  CHECK(s.preprocess.scale[2] == doctest::Approx(1.0 / 255));
  CHECK(s.preprocess.offset[2] == doctest::Approx(2.5));
  CHECK(read(sequential({input(), conv("c")})).preprocess.scale == std::vector<double>{1, 1, 1});

  // By channel too; a second one has nothing to wait for.
  const Json by_channel = layer("Rescaling", "b", {{"scale", {1, 2, 4}}, {"offset", {0, 1, 2}}});
  const keras::KerasNetwork b = read(sequential({input(), by_channel, rescale, conv("c")}));
  CHECK(b.network.calls().size() == 2);
  CHECK(b.preprocess.scale == std::vector<double>{0.5, 1, 2});
  CHECK(b.preprocess.offset == std::vector<double>{3, 3.5, 4});
}

TEST_CASE("keras: what others read, or what comes later, stays in the network") {
  const keras::KerasNetwork later =
      read(sequential({input(9), conv("c"), crop_to(6), rescale, layer("Flatten", "f")}));
  CHECK(names_of(later.network) ==
        Names{"input picture", "conv2d c", "cropping2d crop", "activation scaled", "flatten f"});
  CHECK(later.preprocess.crop == 9);
  const keras::KerasNetwork both = read(
      functional({node(input(), {}), node(rescale, {{"picture"}}),
                  node(layer("Add", "sum"), {{"picture", "scaled"}}), node(conv("c"), {{"sum"}})},
                 "c"));
  CHECK(names_of(both.network) ==
        Names{"input picture", "activation scaled", "add sum", "conv2d c"});
  // Of a layer's two calls the second is not the first.
  Json shared = node(conv("c"), {{"picture"}, {"picture"}});
  Json last = node(layer("Flatten", "f"), {{"c"}});
  last["inbound_nodes"][0][0][1] = 1;
  CHECK(read(functional({node(input(8, 2), {}), shared, last}, "f")).network.call("f").inputs ==
        Names{"c_call_2"});
  // A model of nothing else keeps its output.
  CHECK(names_of(read(sequential({input(), rescale})).network) ==
        Names{"input picture", "activation scaled"});
}

TEST_CASE("keras: activations are calls of their own, and a classifier gives its logits") {
  const keras::KerasNetwork n = read(sequential(
      {input(), conv("c", {{"activation", "relu"}}), layer("GlobalAveragePooling2D", "g"),
       layer("Dense", "d", {{"units", 3}, {"activation", "softmax"}})}));
  CHECK(names_of(n.network) == Names{"input picture", "conv2d c", "activation c/relu",
                                     "global_average_pooling2d g", "dense d"});
  CHECK(n.network.output() == "d");
  CHECK(n.output == keras::OutputKind::classes);
  CHECK(n.classes == 3);
  // Layers keep their names; linear ones are there too.
  const keras::KerasNetwork named =
      read(sequential({input(), conv("c"), layer("Activation", "a", {{"activation", "linear"}}),
                       layer("Activation", "activation_14", {{"activation", "relu"}})}));
  CHECK(named.network.output() == "activation_14");
  CHECK(named.network.call("a").inputs[0] == "c");
  CHECK(named.output == keras::OutputKind::unknown);
}

TEST_CASE("keras: one sigmoid unit is two classes, several are labels, a map is pixels") {
  const auto ending = [](const std::string& function, int64_t units, bool pooled) {
    std::vector<Json> layers{input(), conv("c")};
    if (pooled) layers.push_back(layer("GlobalMaxPooling2D", "g"));
    layers.push_back(layer("Dense", "d", {{"units", units}, {"activation", function}}));
    return read(sequential(layers));
  };
  const keras::KerasNetwork one = ending("sigmoid", 1, true);
  CHECK(one.output == keras::OutputKind::classes);
  CHECK(one.classes == 2);
  const Call& two = one.network.call(one.network.output());
  CHECK(two.op == "dense");
  CHECK(two.inputs == Names{"d"});
  CHECK_FALSE(two.trainable);
  CHECK(ending("sigmoid", 4, true).output == keras::OutputKind::labels);
  CHECK(ending("softmax", 4, false).output == keras::OutputKind::pixel_classes);
  CHECK(ending("sigmoid", 4, false).output == keras::OutputKind::unknown);
  CHECK(ending("softmax", 1, true).output == keras::OutputKind::unknown);
  CHECK(ending("linear", 4, true).output == keras::OutputKind::unknown);
}

TEST_CASE("keras: names of nested models' layers step aside, calls share weights") {
  const Json inner = sequential({input(), conv("c"), conv("own")}, "inner");
  Json twice = node(inner, {{"c"}, {"c"}});
  Json sum = node(layer("Add", "sum"), {{"inner", "inner"}});
  sum["inbound_nodes"][0][0][1] = 1, sum["inbound_nodes"][0][1][1] = 2;
  const Json model = functional(
      {node(input(8, 2), {}), node(conv("c", {{"trainable", false}}), {{"picture"}}), twice, sum},
      "sum");
  const keras::KerasNetwork n = read(model);
  CHECK(names_of(n.network) == Names{"input picture", "conv2d c", "conv2d inner/c", "conv2d own",
                                     "conv2d inner/c_call_2", "conv2d own_call_2", "add sum"});
  CHECK_FALSE(n.network.call("c").trainable);
  CHECK(n.network.call("own").trainable);
  CHECK(n.network.call("own").scope == "inner");
  CHECK(n.network.call("own_call_2").weights == "own");
  CHECK(n.network.call("inner/c_call_2").weights == "inner/c");
  CHECK(n.network.call("sum").inputs == Names{"own", "own_call_2"});
  CHECK(n.weights.size() == 3);
  CHECK(n.weights[1].top == "inner");
  CHECK(n.weights[1].archive == "layers/sequential/layers/conv2d");
}

TEST_CASE("keras: what isn't supported is named with its layer and class") {
  const auto with = [](const Json& more) { return refused(sequential({input(), more})); };
  const auto said = [](const std::string& text, const std::string& part) {
    CAPTURE(part);
    CAPTURE(text);
    CHECK(has(text, part));
  };
  said(with(layer("LSTM", "memory")),
       "layer 'memory' (LSTM): layers of this class are not supported");
  said(with(layer("Lambda", "l")), "layer 'l' (Lambda)");
  said(with(layer("TFOpLambda", "tf.math.add")), "layer 'tf.math.add' (TFOpLambda)");
  Json add = node(layer("TFOpLambda", "tf.math.add"), {{"picture"}});
  add["inbound_nodes"][0][0][3] = {{"y", {"picture", 0, 0}}};
  said(refused(functional({node(input(), {}), add}, "tf.math.add")),
       "layer 'tf.math.add' (TFOpLambda): layers of this class are not supported");
  said(with(layer("InputLayer", "second")),
       "layer 'second' (InputLayer): an input within the model");
  said(with(conv("c", {{"activation", "softsign"}})), "the activation 'softsign'");
  said(with(conv("c", {{"data_format", "channels_first"}})), "channels come first");
  said(with(conv("c", {{"padding", "causal"}})), "padding 'causal'");
  said(with(layer("Conv2D", "c", {{"filters", 2}, {"kernel_size", {1, 2, 3}}})),
       "its kernel_size is neither a whole number nor two");
  said(with(conv("c", {{"groups", 2}})), "can't be split into 2 groups");
  said(with(layer("ReLU", "r", {{"threshold", 1.0}})), "a threshold other than 0");
  said(with(layer("PReLU", "p", {{"shared_axes", {1}}})), "slopes shared along these axes");
  said(with(layer("BatchNormalization", "b", {{"axis", 1}})), "only the last axis");
  said(with(layer("Normalization", "n", {{"axis", {1, 3}}})), "only the last axis");
  said(with(layer("Concatenate", "k", {{"axis", 1}})), "only the last axis");
  said(with(layer("Resizing", "z", {{"height", 4}, {"width", 3}, {"crop_to_aspect_ratio", true}})),
       "keeping the aspect ratio");
  said(with(layer("Resizing", "z", {{"height", 4}, {"width", 4}, {"interpolation", "bicubic"}})),
       "interpolation 'bicubic'");
  said(with(crop_to(10)), "which Keras enlarges");
  said(with(layer("RandomCrop", "z", {{"height", 4}, {"width", 4}})), "to other extents");
  said(with(layer("Dropout", "d", {{"rate", 1.0}})), "rate is not within");
  said(with(layer("Reshape", "r", {{"target_shape", {5, 5}}})), "layer 'r'");
  said(with(layer("Cropping2D", "o", {{"cropping", 4}})), "nothing is left of x");
  said(refused(sequential({input(), layer("Flatten", "f"), conv("c")})), "takes pictures (4 axes)");
  said(refused({{"class_name", "MyModel"}, {"config", Json::object()}}),
       "the model is a 'MyModel', only Sequential and Functional");
}

TEST_CASE("keras: inputs that pictures can't be are refused, open ones ask for an option") {
  const auto of = [](const Json& shape) {
    return sequential({layer("InputLayer", "i", {{"batch_shape", shape}}), conv("c")});
  };
  const Json open{nullptr, nullptr, nullptr, nullptr};
  CHECK(has(refused(of(open), {}, ErrorKind::usage), "leaves its size open: say it with --size"));
  keras::NetworkOptions options;
  options.size = 16;
  CHECK(has(refused(of(open), options, ErrorKind::usage), "with --channels"));
  options.channels = 1;
  CHECK(read(of(open), options).preprocess.crop == 16);
  CHECK(has(refused(of({nullptr, 8, 8, 1}), options, ErrorKind::usage),
            "its size is 8, not the 16 of --size: leave that out"));
  CHECK(has(refused(of({nullptr, 8, 16, 3})), "8x16 pixels, only square ones"));
  CHECK(has(refused(of({nullptr, 8})), "the input is no picture: it has 2 axes"));
  CHECK(has(refused(of({nullptr, 8, 8, -3})), "its number of channels is impossible"));
  CHECK(has(refused(sequential({conv("c")})), "doesn't say what its input is like"));
  // A model that was built later says what for; a model within says it for the outer one.
  Json built = sequential({conv("c")});
  built["config"]["build_input_shape"] = {nullptr, 8, 8, 3};
  CHECK(names_of(read(built).network) == Names{"input c_input", "conv2d c"});
  const Json within = sequential({sequential({input(), conv("a")}, "b")}, "m");
  CHECK(names_of(read(sequential({within, conv("c")})).network) ==
        Names{"input picture", "conv2d a", "conv2d c"});
  // Sequential models of old have it in their first layer, and were lists.
  const Json first = conv("c", {{"batch_input_shape", {nullptr, 8, 8, 3}}});
  CHECK(names_of(read({{"class_name", "Sequential"}, {"config", Json::array({first})}}).network) ==
        Names{"input c_input", "conv2d c"});
}

TEST_CASE("keras: damaged and hostile configurations end with an error") {
  const auto text = [](const std::string& json) {
    return error_of(ErrorKind::file, [&] { keras::read_network(json, "2.15.0", {}); });
  };
  CHECK(has(text(""), "not JSON"));
  CHECK(has(text(R"({"class_name": "Sequential", "config": NaN})"), "not JSON"));
  CHECK(has(text("[1, 2]"), "without class or settings"));
  CHECK(has(text(R"({"class_name": "Sequential", "config": {"layers": 7}})"), "lists no layers"));
  CHECK(text(std::string(100'000, '[')) != "no error");
  CHECK(text(R"({"class_name": "Sequential", "config": )" + std::string(100'000, '[') +
             std::string(100'000, ']') + "}") != "no error");
  // Numbers nested deep within a setting, models within models.
  const std::string deep = std::string(100'000, '[') + "1" + std::string(100'000, ']');
  Json model = sequential({input(), layer("Rescaling", "r", {{"scale", "DEEP"}}), conv("c")});
  std::string json = model.dump();
  json.replace(json.find("\"DEEP\""), 6, deep);
  CHECK(keras::read_network(json, "", {}).preprocess.scale[0] == 1);
  Json nested = sequential({conv("c")}, "m0");
  for (int i = 1; i < 40; i++) nested = sequential({nested}, "m" + std::to_string(i));
  CHECK(has(refused(sequential({input(), nested})), "nested too deep"));
  // Each level calls the one below twice.
  Json wide = conv("c");
  for (int i = 0; i < 30; i++) {
    const std::string name = wide["config"]["name"];
    Json twice = functional({node(input(8, 2), {}), node(wide, {{"picture"}, {"picture"}}),
                             node(layer("Add", "sum"), {{name, name}})},
                            "sum");
    twice["config"]["name"] = "m" + std::to_string(i);
    wide = twice;
  }
  CHECK(has(refused(sequential({input(8, 2), wide})), "more than"));
  CHECK(has(refused(functional(
                {node(input(), {}), node(conv("a"), {{"b"}}), node(conv("b"), {{"a"}})}, "b")),
            "goes in a circle"));
  CHECK(has(refused(functional({node(input(), {}), node(conv("a"), {{"picture"}})}, "z")),
            "the model's output 'z' is none of its layers'"));
  CHECK(has(refused(sequential({input(), conv("c"), conv("c")})), "two layers"));
  CHECK(has(refused(sequential(
                {input(1 << 20), layer("Flatten", "f"), layer("Dense", "d", {{"units", 1}})})),
            "more weights than can be read"));
  Json training = functional({node(input(), {}), node(layer("Dropout", "a"), {{"picture"}})}, "a");
  training["config"]["layers"][1]["inbound_nodes"][0][0][3] = {{"training", true}};
  CHECK(has(refused(training), "training=True"));
}

namespace {

// A file as keras_file reads it: weights of layers, of the outermost model's groups.
keras::KerasFile file_of(const std::string& group, const std::vector<std::string>& names,
                         const std::vector<std::vector<int64_t>>& shapes) {
  keras::KerasFile file;
  file.path = "model.h5";
  file.attributes["/model_weights\nlayer_names"] = {group};
  file.attributes["/model_weights/" + group + "\nweight_names"] = names;
  float value = 0;
  for (size_t i = 0; i < names.size(); i++) {
    keras::Array array{shapes[i], {}};
    int64_t elements = 1;
    for (const int64_t extent : shapes[i]) elements *= extent;
    for (int64_t k = 0; k < elements; k++) array.values.push_back(value++);
    file.arrays["/model_weights/" + group + "/" + names[i]] = array;
  }
  return file;
}

keras::LayerWeights layer_weights(const std::string& top, const std::string& name,
                                  const std::vector<std::string>& weights, bool trainable = true) {
  keras::LayerWeights layer{top, name, "layers/" + name, trainable, {}};
  for (const std::string& weight : weights)
    layer.weights.push_back(
        {name + "/" + weight, {2}, {weight}, 0, {}, 0, weight.rfind("moving", 0) == 0});
  return layer;
}

}  // namespace

TEST_CASE("keras: weights are found by Keras' order, or else by their names") {
  // What is trained stands first; numbers of names may differ from the layers'.
  const std::vector<keras::LayerWeights> layers{
      layer_weights("inner", "bn", {"gamma", "moving_mean"}),
      layer_weights("inner", "frozen", {"kernel"}, false), layer_weights("inner", "d", {"kernel"})};
  const keras::KerasFile ordered =
      file_of("inner", {"bn_7/gamma:0", "d_1/kernel:0", "bn_7/moving_mean:0", "frozen_1/kernel:0"},
              {{2}, {2}, {2}, {2}});
  auto placed = keras::place_weights(ordered, layers);
  CHECK(placed.values.at("d/kernel") == std::vector<float>{2, 3});
  CHECK(placed.values.at("bn/moving_mean") == std::vector<float>{4, 5});
  CHECK(placed.values.at("frozen/kernel") == std::vector<float>{6, 7});
  CHECK(placed.left_over.empty());

  const keras::KerasFile named =
      file_of("inner",
              {"inner/frozen/kernel", "inner/d/kernel", "inner/bn/moving_mean", "inner/bn/gamma",
               "inner/other/kernel"},
              {{2}, {2}, {2}, {2}, {5}});
  placed = keras::place_weights(named, layers);
  CHECK(placed.values.at("d/kernel") == std::vector<float>{2, 3});
  CHECK(placed.values.at("bn/gamma") == std::vector<float>{6, 7});
  CHECK(placed.left_over == Names{"/model_weights/inner/inner/other/kernel"});
}

TEST_CASE("keras: weights that are missing, of other shapes or not finite are named") {
  const std::vector<keras::LayerWeights> layers{layer_weights("d", "d", {"kernel", "bias"})};
  const auto error = [&](const keras::KerasFile& file) {
    return error_of(ErrorKind::file, [&] { keras::place_weights(file, layers); });
  };
  CHECK(error(file_of("d", {"d/kernel:0"}, {{2}})) == "weights are missing: d/bias");
  CHECK(error({}) == "weights are missing: d/kernel, d/bias");
  CHECK(error(file_of("d", {"d/kernel:0", "d/bias:0"}, {{2}, {3}})) ==
        "weights have other shapes: /model_weights/d/d/bias:0 is [3] where layer 'd' takes [2]");
  keras::KerasFile file = file_of("d", {"d/kernel:0", "d/bias:0"}, {{2}, {2}});
  CHECK(error(file) == "no error");
  file.arrays.at("/model_weights/d/d/bias:0").values[1] = NAN;
  CHECK(has(error(file), "d/bias:0 holds NaN or infinity"));
  file.arrays.erase("/model_weights/d/d/bias:0");
  CHECK(has(error(file), "which its group names, is missing"));
}

TEST_CASE("keras: every class of layer is in a file that Keras wrote") {
  if (!reads_keras()) {
    MESSAGE("skipped: built without HDF5");
    return;
  }
  std::string configs;
  for (const char* name :
       {"windows_2_15.h5", "transposed_2_15.h5", "pools_2_15.h5", "activations_2_15.h5",
        "extents_2_15.h5", "numbers_2_15.h5", "merges_2_15.h5", "classifier_2_15.h5"})
    configs += keras::read_keras_file(golden(std::string("keras/") + name)).config();
  for (const auto& entry : keras::converters()) {
    // Not in inference, or as another one of the list.
    if (entry.first == "GaussianDropout" || entry.first == "AlphaDropout" ||
        entry.first == "RandomHeight" || entry.first == "RandomWidth" ||
        entry.first == "RandomCrop")
      continue;
    CAPTURE(entry.first);
    CHECK(has(configs, "\"class_name\": \"" + entry.first + "\""));
  }
}
