// Residual networks against PyTorch in float64 (goldens/README.md); how their weights begin, and
// which shapes they have.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/session.h"
#include "model/resnet.h"
#include "tests/support/error_of.h"
#include "tests/support/goldens.h"
#include "tests/support/slow_build.h"

using namespace fulmar;
using namespace fulmar::model;
using namespace fulmar::test;

namespace {

struct Case {
  std::string name, network;
  int64_t channels, batch;
  std::vector<int64_t> widths;
};

Network network_of(const Case& c) {
  ResnetOptions options = resnet_named(c.network);
  options.channels = c.channels;
  if (!c.widths.empty()) options.widths = c.widths;
  return resnet(options);
}

// How far two right programs may be from each other: as far as PyTorch's own result goes from noise
// of 1e-15 in its input (one draw of it, so some twenty times that), and 1e-9.
double bound_of(double noise) { return std::max(1e-9, 20 * noise); }

// Steps of SGD from the formula's weights, beside PyTorch's.
void check_training(const Case& c, const Golden& golden) {
  constexpr double bound = 1e-9;
  CAPTURE(c.name);
  const int64_t batch = c.batch, side = golden.metadata("side");
  const auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{batch, side, side, c.channels}});
  const Val labels = ops::input(*tape, "labels", {{batch, 1, 1, 1}, Role::index, DType::i32});
  const Val logits = record(network_of(c), *tape, x, {Mode::train});
  const Val loss = ops::softmax_cross_entropy(*tape, logits, labels).mean;
  Context context;
  Device& device = context.device("reference");
  Model model(device, *tape, 1);
  set_formula_weights(model);
  model.decay_all();
  const Val gradient = joined_gradients(*tape, model, loss);
  record_update(*tape, model, Sgd{golden.metadata("momentum"), golden.metadata("decay")}, gradient);
  Session session(context, device, tape, std::array{logits, loss, gradient}, &model);
  session.set(x, formula_uniform("input/" + c.name, batch * side * side * c.channels));
  std::vector<int32_t> classes;
  for (int64_t i = 0; i < batch; i++) classes.push_back(static_cast<int32_t>(i % 2));
  session.set(labels, classes);
  StepState state;
  state.learning_rate = golden.metadata("lr");
  const Values losses = golden.values(c.name + "/losses"),
               noise = golden.values(c.name + "/noise/losses");
  double moved = 0;  // so far
  for (size_t step = 0; step < losses.size(); step++) {
    state.step = static_cast<int64_t>(step) + 1;
    model.set_step_state(state);
    session.run();
    CAPTURE(step);
    moved = std::max(moved, noise[step]);
    CHECK(std::abs(session.read(loss)[0] / losses[step] - 1) <= bound_of(moved));
    if (step > 0) continue;
    CHECK(difference(session.read(logits), golden.values(c.name + "/logits")) <= bound);
    const Values flat = session.read(gradient);
    REQUIRE(golden.names(c.name + "/gradient/").size() == model.parameters().size());
    for (const Model::Parameter& p : model.parameters()) {
      CAPTURE(p.name);
      const std::span<const double> own(flat.data() + p.begin,
                                        static_cast<size_t>(p.shape.elements()));
      CHECK(summary_difference(p.name, own, golden.values(c.name + "/gradient/" + p.name)) <=
            bound);
      if (golden.has(c.name + "/full/" + p.name))
        CHECK(difference(own, golden.values(c.name + "/full/" + p.name)) <= bound);
    }
  }
  const std::vector<std::string> after = golden.names(c.name + "/after/");
  REQUIRE(after.size() == model.parameters().size() + model.statistics().size());
  for (const std::string& name : after) {
    CAPTURE(name);
    CHECK(summary_difference(name, model.read(name), golden.values(c.name + "/after/" + name)) <=
          bound_of(golden.value(c.name + "/noise/after")));
  }
}

std::array<double, 2> mean_and_variance(const std::vector<double>& x) {
  double mean = 0, square = 0;
  for (const double v : x) mean += v, square += v * v;
  mean /= static_cast<double>(x.size());
  return {mean, square / static_cast<double>(x.size()) - mean * mean};
}

Model new_weights(const ResnetOptions& options, Device& device, uint64_t seed) {
  Tape tape;
  const Val x = ops::input(tape, "x", {{1, 32, 32, options.channels}});
  record(resnet(options), tape, x, {Mode::eval});
  return {device, tape, seed};
}

}  // namespace

TEST_CASE("narrow residual networks: logits, gradients and five steps of SGD are PyTorch's") {
  const Golden golden("resnet_torch");
  check_training({"resnet18_narrow", "resnet18", 2, 8, {4, 6, 8, 12}}, golden);
  check_training({"resnet50_narrow", "resnet50", 1, 8, {4, 6, 8, 12}}, golden);
}

TEST_CASE("ResNet-50: logits, all gradients and steps of SGD are PyTorch's" *
          doctest::skip(sanitized)) {
  check_training({"resnet50", "resnet50", 3, 2, {}}, Golden("resnet_torch"));
}

TEST_CASE("residual networks begin as torchvision's do") {
  Context context;
  Device& device = context.device("reference");
  ResnetOptions options = resnet_named("resnet18");
  options.channels = 1;
  options.classes = 100;
  Model model = new_weights(options, device, 3);
  for (const char* name : {"layer1.0.conv1/kernel", "layer3.1.conv2/kernel",
                           "layer4.1.conv1/kernel", "layer4.0.downsample.0/kernel"}) {
    CAPTURE(name);
    const std::vector<double> kernel = model.read(name);
    const std::string layer = std::string(name).substr(0, std::string(name).find('/'));
    // 2 / fan_out, fan_out = taps times filters.
    const bool one = layer.find("downsample") != std::string::npos;
    const double filters = layer[5] == '1' ? 64 : layer[5] == '3' ? 256 : 512;
    const double expected = 2 / ((one ? 1 : 9) * filters),
                 count = static_cast<double>(kernel.size());
    const auto [mean, variance] = mean_and_variance(kernel);
    CHECK(std::abs(mean) <= 4 * std::sqrt(expected / count));
    CHECK(std::abs(variance / expected - 1) <= 4 * std::sqrt(2 / count));
    // Normal, not uniform: a kurtosis of 3.
    double fourth = 0;
    for (const double v : kernel) fourth += v * v * v * v;
    CHECK(fourth / count / (variance * variance) == doctest::Approx(3).epsilon(0.1));
  }
  const double limit = 1 / std::sqrt(512.0);
  for (const char* name : {"fc/kernel", "fc/bias"}) {
    CAPTURE(name);
    const std::vector<double> values = model.read(name);
    double largest = 0;
    for (const double v : values) largest = std::max(largest, std::abs(v));
    CHECK(largest <= limit);
    CHECK(largest > 0.9 * limit);
    CHECK(mean_and_variance(values)[1] == doctest::Approx(limit * limit / 3).epsilon(0.3));
  }
  for (const double gamma : model.read("layer2.0.bn2/gamma")) REQUIRE(gamma == 1);
  CHECK(new_weights(options, device, 3).read("conv1/kernel") == model.read("conv1/kernel"));
  CHECK(new_weights(options, device, 4).read("conv1/kernel") != model.read("conv1/kernel"));
}

TEST_CASE("zero gamma: the last norm of each block, and no other") {
  Context context;
  Device& device = context.device("reference");
  for (const char* name : {"resnet18", "resnet50"}) {
    ResnetOptions options = resnet_named(name);
    options.widths = {2, 3, 4, 5};
    options.zero_gamma = true;
    Model model = new_weights(options, device, 1);
    int64_t zeros = 0;
    for (const Model::Parameter& p : model.parameters()) {
      if (p.name.find("/gamma") == std::string::npos) continue;
      const bool last =
          p.name.find(options.block == ResnetOptions::Block::basic ? ".bn2/" : ".bn3/") !=
          std::string::npos;
      for (const double gamma : model.read(p.name)) CHECK(gamma == (last ? 0 : 1));
      zeros += last;
    }
    CHECK(zeros == (std::string(name) == "resnet18" ? 8 : 16));
  }
}

TEST_CASE("without classes a residual network gives its features") {
  ResnetOptions options = resnet_named("resnet50");
  options.classes = 0;
  Tape tape;
  const Val x = ops::input(tape, "x", {{2, 33, 47, 3}});
  const Val y = record(resnet(options), tape, x, {Mode::eval});
  CHECK(tape.shape(y) == Shape{2, 1, 1, 2048});
  CHECK(resnet(options).output() == "avgpool");
  options.classes = -1;
  CHECK(error_of(ErrorKind::usage, [&] { resnet(options); }).find("can't be negative") !=
        std::string::npos);
}
