// Networks as ONNX files. exchange_test.py runs what is written here through ONNX Runtime.
#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "model/deeplab.h"
#include "model/polar_low.h"
#include "model/resnet.h"
#include "model/unet.h"
#include "tests/support/error_of.h"
#include "tests/support/goldens.h"
#include "tests/support/temp_folder.h"
#include "tools/exchange/export_onnx.h"
#include "tools/exchange/onnx_layers.h"

using namespace fulmar;
using namespace fulmar::exchange;
using namespace fulmar::test;

namespace {

// One output for each layer of the vocabulary, of an input [N,13,17,4].
Network every_layer() {
  Network n;
  std::vector<std::string> outputs;
  n.add("input", "input", {}, {{"channels", int64_t{4}}});
  const auto add = [&](const std::string& op, const std::string& name, const Attributes& attributes,
                       const std::vector<std::string>& inputs = {"input"}) {
    outputs.push_back(n.add(op, name, inputs, attributes));
  };
  using List = std::vector<int64_t>;
  const auto text = [](const char* value) { return std::string(value); };
  add("conv2d", "conv",
      {{"filters", int64_t{6}},
       {"kernel", List{3, 2}},
       {"stride", List{2, 1}},
       {"groups", int64_t{2}}});
  add("conv2d", "conv_explicit",
      {{"filters", int64_t{3}},
       {"kernel", int64_t{3}},
       {"dilation", int64_t{2}},
       {"padding", text("explicit")},
       {"pad_top", int64_t{1}},
       {"pad_bottom", int64_t{2}},
       {"pad_left", int64_t{0}},
       {"pad_right", int64_t{3}},
       {"use_bias", false}});
  int number = 0;
  for (const char* padding : {"same", "valid"})
    for (const int64_t stride : {int64_t{1}, int64_t{2}, int64_t{3}})
      for (const int64_t kernel : {int64_t{2}, int64_t{3}})
        add("conv2d_transpose", "transposed" + std::to_string(number++),
            {{"filters", int64_t{3}},
             {"kernel", kernel},
             {"stride", stride},
             {"padding", text(padding)}});
  add("conv2d_transpose", "transposed_padded",
      {{"filters", int64_t{3}},
       {"kernel", int64_t{3}},
       {"stride", int64_t{2}},
       {"padding", text("same")},
       {"output_padding", int64_t{1}}});
  add("depthwise_conv2d", "depthwise", {{"stride", int64_t{2}}});
  add("separable_conv2d", "separable", {{"filters", int64_t{5}}, {"stride", int64_t{2}}});
  for (const char* op : {"max_pooling2d", "average_pooling2d"})
    add(op, op, {{"pool_size", int64_t{3}}, {"stride", int64_t{2}}, {"padding", text("same")}});
  add("average_pooling2d", "halves", {});
  add("batch_normalization", "norm", {{"epsilon", 1e-2}});
  for (const char* function :
       {"relu", "leaky_relu", "sigmoid", "tanh", "softplus", "exp", "square", "abs", "elu", "selu",
        "relu6", "hard_sigmoid", "silu", "gelu", "gelu_tanh", "erf", "softmax", "affine"}) {
    Attributes attributes{{"function", text(function)}};
    if (text(function) == "leaky_relu" || text(function) == "affine") attributes["alpha"] = 0.3;
    add("activation", function, attributes, {"norm"});
  }
  for (const char* function : {"log", "sqrt"})  // of numbers above 0
    add("activation", function, {{"function", text(function)}}, {"exp"});
  add("dense", "dense", {{"units", int64_t{3}}});
  add("prelu", "prelu", {}, {"norm"});
  add("prelu", "prelu_by_element", {{"shared", false}}, {"norm"});
  add("dropout", "dropout", {});
  add("spatial_dropout2d", "spatial_dropout", {});
  add("upsampling2d", "nearest", {{"size", List{2, 3}}});
  add("upsampling2d", "bilinear", {{"interpolation", text("bilinear")}});
  add("upsampling2d", "corners", {{"interpolation", text("bilinear")}, {"align_corners", true}});
  for (const char* how : {"bilinear", "nearest"})
    for (const int64_t height : {int64_t{7}, int64_t{29}})
      add("resize", text(how) + std::to_string(height),
          {{"height", height}, {"width", int64_t{23}}, {"interpolation", text(how)}});
  add("resize", "resize_corners",
      {{"height", int64_t{20}}, {"width", int64_t{9}}, {"align_corners", true}});
  add("resize", "like", {}, {"halves", "input"});
  add("zero_padding2d", "padded", {{"pad_top", int64_t{1}}, {"pad_right", int64_t{2}}});
  add("zero_padding2d", "padded_like", {}, {"halves", "input"});
  add("cropping2d", "cropped", {{"crop_left", int64_t{3}}, {"crop_bottom", int64_t{4}}});
  add("cropping2d", "cropped_like", {}, {"input", "halves"});
  add("reshape", "reshaped",
      {{"height", int64_t{17}}, {"width", int64_t{26}}, {"channels", int64_t{2}}});
  add("flatten", "flat", {}, {"halves"});
  add("add", "sum", {}, {"input", "norm", "prelu"});
  add("multiply", "product", {}, {"input", "norm", "prelu"});
  add("concatenate", "joined", {}, {"input", "norm"});
  add("global_average_pooling2d", "mean", {});
  add("global_max_pooling2d", "maximum", {});
  outputs.push_back(
      n.add(Call{"conv2d", "conv_again", {"input"}, n.call("conv").attributes, "", "conv", true}));
  n.set_outputs(outputs);
  return n;
}

// Writes NAME.onnx of a network with the formula's weights, and NAME.safetensors with an input of
// two images and the outputs, channels first.
void write_onnx(const std::string& folder, const std::string& name, const Network& network,
                std::array<int64_t, 2> side, const char* device = "reference") {
  CAPTURE(name);
  Context context;
  ModelInfo info;
  info.network = network;
  const int64_t channels = std::get<int64_t>(network.call("input").attributes.at("channels"));
  const auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{2, side[0], side[1], channels}});
  const auto recorded = record(network, *tape, {{"input", x}}, {Mode::eval});
  Model model(context.device(device), *tape, 1);
  set_formula_weights(model);
  std::vector<Val> outputs;
  for (const std::string& output : network.outputs()) outputs.push_back(recorded.at(output));
  Session session(context, context.device(device), tape, outputs, &model);
  const std::vector<double> input = formula_signed("onnx", tape->shape(x).elements());
  session.set(x, input);
  session.run();
  export_onnx(folder + "/" + name + ".onnx", info, model, side);
  // Values channels last: their shapes tell the reader.
  std::vector<std::vector<double>> values{input};
  std::vector<StoredTensor> tensors{
      {"x", StoredType::f64, {2, side[0], side[1], channels}, nullptr}};
  for (const std::string& output : network.outputs()) {
    const Shape& y = tape->shape(recorded.at(output));
    tensors.push_back({"y/" + output, StoredType::f64, {y[0], y[1], y[2], y[3]}, nullptr});
    values.push_back(session.read(recorded.at(output)));
  }
  for (size_t i = 0; i < tensors.size(); i++) tensors[i].data = values[i].data();
  write_safetensors(folder + "/" + name + ".safetensors", tensors, {});
}

}  // namespace

// exchange_test.py runs this case, and ONNX Runtime on what it writes.
TEST_CASE("networks of every layer are written to ONNX") {
  const TempFolder own;
  const char* given = std::getenv("FULMAR_ONNX_FOLDER");
  const std::string folder = given ? given : own.path();
  write_onnx(folder, "layers", every_layer(), {13, 17});
  write_onnx(folder, "polar_low", model::polar_low({3, 2, {4, 6, 8}, 0.5}), {64, 64});
  write_onnx(folder, "unet", model::unet({2, {{"a", 3}, {"b", 2}}, {4, 6, 8}, false}), {37, 42});
  write_onnx(folder, "unet_corners", model::unet({2, {{"a", 3}}, {4, 6}, true}), {37, 42});
  model::DeeplabOptions deeplab;
  deeplab.channels = 2;
  deeplab.stages = 2;
  deeplab.rates = {1, 2};
  deeplab.width = 4;
  write_onnx(folder, "deeplab", model::deeplab(deeplab), {50, 41}, "cpu");
  if (given) {
    write_onnx(folder, "polar_low_published", model::polar_low(), {256, 256}, "cpu");
    write_onnx(folder, "resnet50", model::resnet(), {224, 224}, "cpu");
  }
  const std::string file = read_file(folder + "/layers.onnx", 1 << 24);
  for (const char* word : {"ConvTranspose", "BatchNormalization", "HardSigmoid", "conv.weight"})
    CHECK(has(file, word));
}

TEST_CASE("every layer of the vocabulary has a converter to ONNX, and a row in the test") {
  const Network network = every_layer();
  for (const auto& entry : layers()) {
    const std::string& op = entry.first;
    CAPTURE(op);
    bool is_tested = false;
    for (const Call& call : network.calls()) is_tested = is_tested || call.op == op;
    CHECK(is_tested);
    CHECK((op == "input" || onnx_layers().count(op) == 1));
  }
}

TEST_CASE("what ONNX has no word for is refused, naming the layer") {
  const TempFolder folder;
  const auto refused = [&](const std::string& op, const Attributes& attributes,
                           std::optional<std::array<int64_t, 2>> side) {
    ModelInfo info;
    info.network.add("input", "input", {}, {{"channels", int64_t{2}}});
    info.network.add(op, "odd", {"input"}, attributes);
    Context context;
    Tape tape;
    record(info.network, tape, ops::input(tape, "x", {{1, 9, 9, 2}}), {Mode::eval});
    Model model(context.device("reference"), tape, 1);
    return error_of(ErrorKind::usage,
                    [&] { export_onnx(folder.path("n.onnx"), info, model, side); });
  };
  const std::array<int64_t, 2> nine{9, 9};
  CHECK(has(refused("average_pooling2d", {{"dilation", int64_t{2}}}, nine),
            "average_pooling2d 'odd': ONNX's opset 17 has none with dilation"));
  CHECK(has(refused("resize",
                    {{"height", int64_t{5}},
                     {"width", int64_t{5}},
                     {"align_corners", true},
                     {"interpolation", std::string("nearest")}},
                    nine),
            "resize 'odd': the nearest pixel with aligned corners"));
  CHECK(has(refused("flatten", {}, {}), "no preprocessing that says how large it is"));
  CHECK_FALSE(std::filesystem::exists(folder.path("n.onnx")));
}
