#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/session.h"
#include "model/deeplab.h"
#include "model/program.h"
#include "model/resnet.h"
#include "model/scene_session.h"
#include "model/summary.h"
#include "model/tasks/segmentation.h"
#include "model/unet.h"
#include "tests/support/error_of.h"
#include "tests/support/golden_network.h"

// Networks that give each pixel classes: against PyTorch in float64 (goldens/README.md), by their
// parameters, and at extents of all kinds.

using namespace fulmar;
using namespace fulmar::model;
using namespace fulmar::test;

namespace {

struct Case {
  std::string name;
  Network network;
  int64_t height, width;
  std::vector<double> weights;  // of the outputs' losses
};

DeeplabOptions pyramid(const std::string& encoder, const PixelOutputs& outputs, int64_t channels,
                       const std::vector<int64_t>& rates, int64_t pool) {
  DeeplabOptions options;
  options.channels = channels;
  options.outputs = outputs;
  options.encoder = encoder;
  options.stages = 2;
  options.rates = rates;
  options.width = 8;
  options.pool = pool;
  options.dropout = 0;
  return options;
}

std::vector<Case> cases() {
  const PixelOutputs tasks{{"SIC", 4}, {"SOD", 3}}, one{{"labels", 2}};
  const std::vector<double> weights{1, 0.5};
  DeeplabOptions dilated = pyramid("resnet18", tasks, 2, {1, 3}, 3);
  dilated.stages = 3;
  dilated.output_stride = 8;
  dilated.shared_decoder = true;
  return {
      {"unet", unet({3, tasks, {4, 6, 8}, false}), 21, 26, weights},
      {"unet_corners", unet({3, tasks, {4, 6, 8}, true}), 21, 26, weights},
      {"unet_even", unet({2, one, {4, 6}, true}), 16, 24, {1}},
      {"aspp_1_2", deeplab(pyramid("resnet18", tasks, 3, {1, 2}, 2)), 50, 41, weights},
      {"aspp_2_4_6", deeplab(pyramid("resnet18", one, 2, {2, 4, 6}, 0)), 50, 41, {1}},
      {"aspp_12_24_36", deeplab(pyramid("resnet18", one, 2, {12, 24, 36}, 2)), 50, 41, {1}},
      {"aspp_dilated", deeplab(dilated), 33, 40, weights},
      {"aspp_bottleneck", deeplab(pyramid("resnet50", one, 2, {1, 2}, 2)), 33, 40, {1}},
  };
}

// A quarter of the pixels has no label, as in the script.
std::vector<uint8_t> labels_of(const std::string& output, int64_t count, int64_t classes) {
  std::vector<uint8_t> labels;
  for (const double drawn : formula_uniform("labels/" + output, count))
    labels.push_back(
        drawn < 0.25 ? 255
                     : static_cast<uint8_t>((drawn - 0.25) / 0.75 * static_cast<double>(classes)));
  return labels;
}

template <class Work>
std::string refusal(const Work& work) {
  return error_of(ErrorKind::usage, work);
}

ModelInfo described(const Case& c) {
  ModelInfo info;
  info.network = c.network;
  Heads heads;
  Tape tape;
  const int64_t channels = std::get<int64_t>(c.network.call("input").attributes.at("channels"));
  const Val x = ops::input(tape, "x", {{1, c.height, c.width, channels}});
  const auto outputs = record(c.network, tape, {{"input", x}}, {Mode::eval});
  for (const std::string& name : c.network.outputs()) {
    std::vector<std::string> classes;
    for (int64_t k = 0; k < tape.shape(outputs.at(name)).channels(); k++)
      classes.push_back(std::to_string(k));
    heads.push_back({std::make_shared<Segmentation>(classes), name, name + "/label", "weight",
                     c.weights[heads.size()]});
  }
  set_heads(info, heads);
  return info;
}

// A network's step on the float64 device, as the script has it.
struct Step {
  static constexpr int64_t batch = 2;

  explicit Step(const Case& c) : info(described(c)), heads(heads_of(info)) {
    const int64_t channels = std::get<int64_t>(c.network.call("input").attributes.at("channels"));
    std::vector<TensorSpec> tensors{{"input", DType::f32, {batch, c.height, c.width, channels}}};
    for (const Head& head : heads)
      tensors.push_back({head.label, DType::u8, {batch, c.height, c.width, 1}});
    program = record_program(info, heads, tensors, {Mode::train});
    model = std::make_unique<Model>(device, *program.tape, 1);
    set_formula_weights(*model);
    std::vector<Val> outputs = parameter_gradients(*program.tape, *model, program.loss);
    gradients = outputs;
    for (const Head& head : heads) outputs.push_back(program.outputs.at(head.output));
    outputs.push_back(program.loss);
    session = std::make_unique<Session>(context, device, program.tape, outputs, model.get());
    session->set(program.inputs[0],
                 formula_uniform("input/" + c.name, batch * c.height * c.width * channels));
    for (size_t i = 0; i < heads.size(); i++) {
      const auto* task = dynamic_cast<const Segmentation*>(heads[i].task.get());
      const auto labels =
          labels_of(heads[i].output, batch * c.height * c.width, std::ssize(task->classes));
      session->set_bytes(program.inputs[1 + i], labels.data(), labels.size());
    }
  }

  Context context;
  Device& device = context.device("reference");
  ModelInfo info;
  Heads heads;
  Program program;
  std::unique_ptr<Model> model;
  std::vector<Val> gradients;  // by parameter
  std::unique_ptr<Session> session;
};

void check_step(const Case& c, const Golden& golden) {
  constexpr double bound = 1e-9;
  Step step(c);
  Session& session = *step.session;
  session.run();
  CHECK(difference(session.read(step.program.loss), golden.values(c.name + "/loss")) <= bound);
  for (const Head& head : step.heads)
    CHECK(summary_difference("logits/" + head.output,
                             session.read(step.program.outputs.at(head.output)),
                             golden.values(c.name + "/logits/" + head.output)) <= bound);
  REQUIRE(golden.names(c.name + "/gradient/").size() == step.gradients.size());
  for (size_t i = 0; i < step.gradients.size(); i++) {
    const std::string& name = step.model->parameters()[i].name;
    CAPTURE(name);
    CHECK(summary_difference(name, session.read(step.gradients[i]),
                             golden.values(c.name + "/gradient/" + name)) <= bound);
  }
}

// Ten steps of SGD with momentum and coupled decay, by hand; gradients are the program's.
void check_training(const Case& c, const Golden& golden) {
  constexpr double bound = 1e-9, rate = 0.02, momentum = 0.9, decay = 1e-2;
  Step step(c);
  const size_t count = step.gradients.size();
  std::vector<std::vector<double>> weights(count), moments(count);
  for (size_t i = 0; i < count; i++)
    weights[i] = step.model->read(step.model->parameters()[i].name);
  const std::vector<double> losses = golden.values(c.name + "/sgd/losses");
  REQUIRE(losses.size() == 10);
  for (size_t turn = 0; turn < losses.size(); turn++) {
    step.session->run();
    const double loss = step.session->read(step.program.loss)[0];
    CAPTURE(turn);
    CHECK(loss == doctest::Approx(losses[turn]).epsilon(bound));
    for (size_t i = 0; i < count; i++) {
      const std::vector<double> g = step.session->read(step.gradients[i]);
      moments[i].resize(g.size(), 0.0);
      for (size_t k = 0; k < g.size(); k++) {
        moments[i][k] = momentum * moments[i][k] + g[k] + decay * weights[i][k];
        weights[i][k] -= rate * moments[i][k];
      }
    }
    for (size_t i = 0; i < count; i++)
      step.model->write(step.model->parameters()[i].name, weights[i]);
  }
  for (size_t i = 0; i < count; i++) {
    const std::string& name = step.model->parameters()[i].name;
    CAPTURE(name);
    CHECK(summary_difference(name, weights[i], golden.values(c.name + "/sgd/after/" + name)) <=
          1e-8);
  }
}

int64_t trainable(const Network& network, int64_t side) {
  Context context;
  ModelInfo info;
  info.network = network;
  return summarize(info, 1, context.device("cpu"), {}, side).trainable;
}

}  // namespace

TEST_CASE("a step of pixel networks equals PyTorch's: logits, loss, every gradient") {
  const Golden golden("pixel_networks_torch");
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    check_step(c, golden);
  }
}

TEST_CASE("ten steps of SGD of a U-Net and of atrous pyramids are PyTorch's") {
  const Golden golden("pixel_networks_torch");
  size_t trained = 0;
  for (const Case& c : cases()) {
    if (!golden.has(c.name + "/sgd/losses")) continue;
    CAPTURE(c.name);
    check_training(c, golden);
    trained++;
  }
  CHECK(trained == 3);
}

TEST_CASE("parameters: the challenge's starter, two published pyramids, torchvision's encoders") {
  const PixelOutputs charts{{"SIC", 12}, {"SOD", 7}, {"FLOE", 8}};
  CHECK(trainable(unet({24, charts, {16, 32, 64, 64}, true}), 64) == 491'723);

  DeeplabOptions small;
  small.channels = 7;
  small.outputs = charts;
  small.stages = 3;
  small.width = 32;
  small.pool = 2;
  CHECK(trainable(deeplab(small), 128) / 10'000 == 355);  // 3.55 M
  DeeplabOptions large = small;
  large.encoder = "resnet152";
  large.channels = 18;
  large.outputs[0].channels = 1;
  CHECK((trainable(deeplab(large), 128) + 5'000) / 10'000 == 4'612);  // 46.12 M

  // As torchvision counts them, with 1000 classes.
  const std::vector<std::pair<std::string, int64_t>> known{{"resnet18", 11'689'512},
                                                           {"resnet34", 21'797'672},
                                                           {"resnet50", 25'557'032},
                                                           {"resnet101", 44'549'160},
                                                           {"resnet152", 60'192'808}};
  for (const auto& [name, count] : known) {
    ResnetOptions options = resnet_named(name);
    options.classes = 1000;
    CHECK(trainable(resnet(options), 64) == count);
  }
}

TEST_CASE("dilation keeps extents where strides would halve them") {
  for (const auto& [stride, side] :
       std::vector<std::pair<int64_t, int64_t>>{{8, 8}, {16, 4}, {32, 2}}) {
    ResnetOptions options = resnet_named("resnet18");
    options.output_stride = stride;
    Network network;
    add_resnet_features(network, network.add("input", "input", {}), options);
    Tape tape;
    const Val y = record(network, tape, ops::input(tape, "x", {{1, 64, 64, 3}}), {Mode::eval});
    CHECK(tape.shape(y) == Shape{1, side, side, 512});
  }
}

TEST_CASE("pixel networks keep any extents, and know their coarsest stride") {
  const Network u = unet({1, {{"labels", 2}}, {2, 3, 4, 5}, false});
  CHECK(coarsest_stride(u) == 16);
  DeeplabOptions options;
  options.channels = 1;
  CHECK(coarsest_stride(deeplab(options)) == 16);
  options.pool = 2;
  CHECK(coarsest_stride(deeplab(options)) == 32);
  for (const Network& network : {u, deeplab(options)})
    for (const auto& [height, width] :
         std::vector<std::pair<int64_t, int64_t>>{{32, 32}, {33, 47}, {64, 32}, {95, 50}}) {
      Tape tape;
      const Val x = ops::input(tape, "x", {{1, height, width, 1}});
      const auto outputs = record(network, tape, {{"input", x}}, {Mode::train});
      CHECK(tape.shape(outputs.at("labels")) == Shape{1, height, width, 2});
    }
}

TEST_CASE("parts of a scene are cut out by whole pixels, and a network's first layer may do so") {
  ModelInfo info;
  info.network = unet({1, {{"labels", 2}}, {2, 3}, false});
  info.preprocess["input"] = Preprocess::of_pictures(0, 16, 1);
  set_heads(info,
            {{std::make_shared<Segmentation>(std::vector<std::string>{"sea", "ice"}), "labels"}});
  const View part = view_of(nullptr, {1, 24, 20, 1}, DType::u8);
  ProgramOptions options;
  options.extents = {24, 20};
  const Program program = record_program(
      info, heads_of(info), scene_tensors("input", {"", part.type, part.shape}), options);
  int64_t warps = 0;
  for (int node = 0; node < program.tape->size(); node++) {
    const Op& op = *program.tape->node(node).op;
    if (op.name() != "warp") continue;
    CHECK(op.attributes().count("cuts") == 1);
    warps++;
  }
  CHECK(warps == 1);
}

TEST_CASE("what can't be a network of pixels is refused with the reason") {
  CHECK(refusal([] {
          unet({1, {}, {4}, false});
        }).find("at least one output") != std::string::npos);
  CHECK(refusal([] {
          unet({1, {{"a", 2}, {"a", 3}}, {4}, false});
        }).find("two outputs 'a'") != std::string::npos);
  CHECK(refusal([] {
          unet({1, {{"a", 2}}, {}, false});
        }).find("at least one width") != std::string::npos);
  CHECK(refusal([] { resnet_named("resnet19"); }).find("no network 'resnet19'") !=
        std::string::npos);
  DeeplabOptions options;
  options.rates = {0};
  CHECK(refusal([&] { deeplab(options); }).find("rate must be at least 1") != std::string::npos);
  options = {};
  options.stages = 5;
  CHECK(refusal([&] { deeplab(options); }).find("1 to 4 stages") != std::string::npos);
}
