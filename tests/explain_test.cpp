#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/cuda/emulated.h"
#include "kernels/error.h"
#include "model/explain/methods.h"
#include "model/polar_low.h"
#include "tests/support/error_of.h"
#include "tests/support/explained.h"

using namespace fulmar;
using namespace fulmar::model::explain;
using fulmar::test::error_of;
using fulmar::test::Explained;
using fulmar::test::small_network;

namespace {

double largest(std::span<const float> values) {
  double most = 0;
  for (const float v : values) most = std::max(most, std::abs(static_cast<double>(v)));
  return most;
}

// The largest difference over the largest number.
double difference(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (size_t i = 0; i < a.size(); i++)
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return most / std::max(largest(b), 1e-30);
}

Network linear_network() {
  Network n;
  n.add("input", "input", {}, {{"channels", int64_t{2}}});
  n.add("conv2d", "conv", {"input"}, {{"filters", int64_t{3}}, {"kernel", int64_t{3}}});
  n.add("global_average_pooling2d", "mean", {"conv"});
  n.add("dense", "logits", {"mean"}, {{"units", int64_t{2}}});
  return n;
}

const Shape picture{1, 12, 10, 2};

}  // namespace

TEST_CASE("explain: on a linear model integrated gradients are input times gradient") {
  Explained e("cpu", linear_network(), picture);
  const std::vector<float> x = e.input(1, -1, 1);
  const Target target = class_logit(Shape{1, 1, 1, 2}, 1);
  const Explanation direct = e.explain("input-x-gradient", x, target);
  for (const Rule rule : {Rule::gauss_legendre, Rule::trapezoid, Rule::midpoint}) {
    CAPTURE(name_of(rule));
    Settings settings;
    settings.rule = rule, settings.steps = 7;
    const Explanation integrated = e.explain("integrated-gradients", x, target, settings);
    CHECK(difference(integrated.values, direct.values) < 1e-6);
    CHECK(integrated.relative_error() < 1e-5);
  }
}

TEST_CASE("explain: the completeness error falls at each quadrature's own order") {
  Explained e("reference", small_network(2, "softplus", "average_pooling2d"), picture);
  const std::vector<float> x = e.input(1, -3, 3);
  const Target target = class_logit(Shape{1, 1, 1, 3}, 2);
  const auto error = [&](Rule rule, int64_t steps) {
    const std::vector<float> baseline(x.size(), 0.0F);
    const Quadrature path = quadrature(rule, steps);
    // In double: float32 maps would hide the last orders.
    const std::vector<double> mean =
        e.explainer->gradient_sum(target, x, baseline, path.points, path.weights);
    double sum = 0;
    for (size_t i = 0; i < x.size(); i++) sum += static_cast<double>(x[i]) * mean[i];
    return std::abs(sum - (e.explainer->score(target, x) - e.explainer->score(target, baseline)));
  };
  for (const Rule rule : {Rule::trapezoid, Rule::midpoint}) {
    CAPTURE(name_of(rule));
    const int64_t ends = rule == Rule::trapezoid ? 1 : 0;  // 8 and 16 intervals
    const double ratio = error(rule, 8 + ends) / error(rule, 16 + ends);
    CHECK(ratio > 3.9);
    CHECK(ratio < 4.1);
  }
  // Gauss' rule gains digits with every step; softplus' poles in the complex plane say how many.
  CHECK(error(Rule::gauss_legendre, 2) > 20 * error(Rule::gauss_legendre, 4));
  CHECK(error(Rule::gauss_legendre, 4) > 20 * error(Rule::gauss_legendre, 6));
  CHECK(error(Rule::gauss_legendre, 12) < 1e-10);
}

TEST_CASE("explain: neither the memory nor the size of a batch changes a map") {
  const Network network = small_network(2, "relu", "max_pooling2d");
  const Target target = class_probability(Shape{1, 1, 1, 3}, 0);
  Settings settings;
  settings.steps = 23, settings.samples = 9, settings.masks = 30, settings.cells = 4;
  std::vector<std::vector<Explanation>> all;
  for (const int64_t batch : {1, 4, 16}) {
    Explained e("cpu", network, picture, {.memory = int64_t{1} << 30, .max_batch = batch});
    const std::vector<float> x = e.input(3);
    all.emplace_back();
    for (const Method& m : methods())
      all.back().push_back(m.one(*e.explainer, x, target, settings));
  }
  for (size_t m = 0; m < all[0].size(); m++) {
    CAPTURE(methods()[m].name);
    for (size_t i = 1; i < all.size(); i++)
      // Sums of gradients are grouped by batch, and each group's is rounded to float.
      CHECK(difference(all[i][m].values, all[0][m].values) < 1e-7);
  }
}

TEST_CASE("explain: more steps take no more memory, and no gradient by a weight is computed") {
  const Target target = class_logit(Shape{1, 1, 1, 3}, 0);
  std::vector<size_t> bytes;
  for (const int64_t steps : {20, 200, 2000}) {
    Explained e("cpu", small_network(2, "relu", "max_pooling2d"), picture,
                {.memory = 100'000, .max_batch = 64});
    Settings settings;
    settings.steps = steps;
    e.explain("integrated-gradients", e.input(1), target, settings);
    bytes.push_back(e.explainer->planned_bytes());
  }
  CHECK(bytes[0] == bytes[1]);
  CHECK(bytes[1] == bytes[2]);
  CHECK(bytes[0] <= 100'000);
  CHECK(bytes[0] > 50'000);

  Explained e("cpu", small_network(2, "relu", "max_pooling2d"), picture);
  Wanted wanted;
  wanted.gradient = true;
  const std::vector<std::string> with = e.explainer->steps(target, wanted);
  CHECK(std::count_if(with.begin(), with.end(), [](const std::string& name) {
          return name.find("weight_grad") != std::string::npos;
        }) == 0);
  // One of the three is part of a fused op.
  CHECK(std::count(with.begin(), with.end(), "separable_grad") == 1);
  CHECK(std::count(with.begin(), with.end(), "conv2d_input_grad") == 2);
  // By a layer alone, nothing before it is differentiated.
  wanted = {};
  wanted.layer = "act_1";
  const std::vector<std::string> of_layer = e.explainer->steps(target, wanted);
  CHECK(std::count(of_layer.begin(), of_layer.end(), "depthwise_conv2d_input_grad") == 0);
}

TEST_CASE("explain: every method gives the same map fused and unfused") {
  model::PolarLowOptions network;
  network.widths = {8, 12, 16};
  const Target target = class_logit(Shape{1, 1, 1, 2}, 1);
  const Shape shape{1, 96, 80, 3};
  Explained fused("cpu", model::polar_low(network), shape);
  Explained unfused("cpu", model::polar_low(network), shape, {.fuse = false});
  const std::vector<float> x = fused.input(5);
  Wanted wanted;
  wanted.gradient = true;
  const auto are_fused = [&](Explained& e) {
    const std::vector<std::string> steps = e.explainer->steps(target, wanted);
    return std::count(steps.begin(), steps.end(), "separable_grad");
  };
  CHECK(are_fused(fused) > 4);
  CHECK(are_fused(unfused) == 0);
  for (const Method& method : methods()) {
    CAPTURE(method.name);
    Settings settings;
    settings.steps = 10, settings.samples = 3, settings.masks = 20;
    const Explanation a = method.one(*fused.explainer, x, target, settings);
    const Explanation b = method.one(*unfused.explainer, x, target, settings);
    // Occlusion subtracts scores that are nearly alike.
    const double bound = std::string(method.name) == "occlusion" ? 3e-5 : 3e-6;
    CHECK(difference(a.values, b.values) < bound);
    CHECK(a.score == doctest::Approx(b.score).epsilon(1e-5));
  }
}

TEST_CASE("explain: without noise SmoothGrad is its base, and VarGrad is 0") {
  Explained e("cpu", small_network(2, "relu", "max_pooling2d"), picture);
  const std::vector<float> x = e.input(3);
  const Target target = class_logit(Shape{1, 1, 1, 3}, 1);
  for (const Method& base : methods()) {
    if (std::string(base.name).ends_with("grad") || std::string(base.name) == "rise") continue;
    CAPTURE(base.name);
    Settings settings;
    settings.base = base.name, settings.noise = 0, settings.samples = 3, settings.steps = 5;
    const Explanation smooth = e.explain("smooth-grad", x, target, settings);
    const Explanation plain = base.one(*e.explainer, x, target, settings);
    CHECK(smooth.values == plain.values);
    CHECK(smooth.shape == plain.shape);
    CHECK(largest(e.explain("var-grad", x, target, settings).values) == 0);
  }
  Settings settings;
  settings.noise = 0.2;
  CHECK(largest(e.explain("var-grad", x, target, settings).values) > 0);
  settings.base = "smooth-grad";
  CHECK(error_of(ErrorKind::usage, [&] { e.explain("smooth-grad", x, target, settings); }) ==
        "'smooth-grad' takes noisy samples itself; name a method that doesn't");
}

TEST_CASE("explain: before a mean and a dense layer HiResCAM is Grad-CAM") {
  Explained e("cpu", small_network(2, "relu", "max_pooling2d"), picture);
  const std::vector<float> x = e.input(3);
  const Target target = class_logit(Shape{1, 1, 1, 3}, 1);
  CHECK(e.explainer->last_map().name == "act_1");
  const Explanation cam = e.explain("grad-cam", x, target);
  CHECK(cam.shape == Shape{1, 6, 5, 1});
  CHECK(cam.layer == "act_1");
  CHECK(difference(e.explain("hires-cam", x, target).values, cam.values) < 1e-6);
  CHECK(difference(e.explain("xgrad-cam", x, target).values, cam.values) < 1e-6);
}

TEST_CASE("explain: guided backpropagation and the deconvnet are a network rewritten by hand") {
  Explained e("reference", small_network(2, "relu", "average_pooling2d"), picture);
  const std::vector<float> x = e.input(3, -1, 1);
  const Target target = class_logit(Shape{1, 1, 1, 3}, 2);
  for (const bool guided : {true, false}) {
    CAPTURE(guided);
    // From the logits back to the input, layer by layer.
    Tape& tape = *new Tape;
    const std::shared_ptr<Tape> owner(&tape);
    const Val in = ops::input(tape, "/x", {picture});
    const auto outputs = record(e.info.network, tape, {{"input", in}}, {Mode::eval});
    const Val one = ops::input(tape, "/one", {{1, 1, 1, 3}});
    const auto rectify = [&](Val before, Val dy) {
      const Val above = ops::relu(tape, dy);
      return guided ? ops::gate(tape, before, above) : above;
    };
    const auto back = [&](const char* to, const char* from, Val dy) {
      return grad(tape, tape.find(from), tape.find(to), dy);
    };
    Val d = back("act_1", "logits", one);
    d = rectify(tape.find("sep"), d);
    d = back("act", "sep", d);
    d = rectify(tape.find("conv"), d);
    d = back("input", "conv", d);
    Session session(e.context, *e.device, owner, std::array{d}, e.model.get());
    session.set(in, std::span<const float>(x));
    session.set(one, std::vector<double>{0, 0, 1});
    session.run();
    std::vector<float> expected(x.size());
    session.read(d, expected);
    const char* name = guided ? "guided-backprop" : "deconvnet";
    CHECK(difference(e.explain(name, x, target).values, expected) < 1e-7);
    CHECK(largest(expected) > 0);
  }
}

TEST_CASE("explain: a region's logits and the similarity of features are targets") {
  // Fully convolutional: logits of pixels.
  Network n;
  n.add("input", "input", {}, {{"channels", int64_t{2}}});
  n.add("conv2d", "conv", {"input"}, {{"filters", int64_t{4}}, {"kernel", int64_t{3}}});
  n.add("activation", "act", {"conv"}, {{"function", std::string("tanh")}});
  n.add("conv2d", "logits", {"act"}, {{"filters", int64_t{3}}, {"kernel", int64_t{1}}});
  Explained e("reference", n, picture);
  const std::vector<float> x = e.input(5, -1, 1);
  const Shape& shape = e.explainer->layer("logits").shape;
  std::vector<float> mask(120, 0.0F);
  for (size_t pixel : {3, 17, 64}) mask[pixel] = 1;
  Target features = similarity(e.explainer->value("act", e.input(6, -1, 1)));
  features.value = "act";
  CHECK(e.explainer->score(features, e.input(6, -1, 1)) == doctest::Approx(1).epsilon(1e-6));
  for (const Target& target : {region(shape, 1, mask), features}) {
    const Explanation map = e.explain("saliency", x, target);
    CHECK(map.shape == picture);
    // Against differences of the score.
    for (const size_t i : {0, 34, 35, 101, 239}) {
      std::vector<float> up = x, down = x;
      up[i] += 1e-2F, down[i] -= 1e-2F;
      const double step = static_cast<double>(up[i]) - static_cast<double>(down[i]);
      const double slope =
          (e.explainer->score(target, up) - e.explainer->score(target, down)) / step;
      CHECK(static_cast<double>(map.values[i]) == doctest::Approx(slope).epsilon(1e-3));
    }
  }
  // What lies further than a kernel from the region is not looked at.
  const Explanation map = e.explain("saliency", x, region(shape, 1, mask));
  CHECK(map.values[2 * (9 * 10 + 5)] == 0);
  CHECK(map.values[2 * 3] != 0);
}

TEST_CASE("explain: occlusion and RISE see what the score depends on") {
  // The score is the mean of one quarter.
  Network n;
  n.add("input", "input", {}, {{"channels", int64_t{1}}});
  n.add("cropping2d", "corner", {"input"},
        {{"crop_bottom", int64_t{8}}, {"crop_right", int64_t{8}}});
  n.add("global_average_pooling2d", "mean", {"corner"});
  Explained e("cpu", n, Shape{1, 16, 16, 1});
  const std::vector<float> x(256, 1.0F);
  const Target target = class_logit(Shape{1, 1, 1, 1}, 0);
  Settings settings;
  settings.window = 4, settings.stride = 4;
  const Explanation hidden = e.explain("occlusion", x, target, settings);
  for (size_t pixel = 0; pixel < 256; pixel++) {
    const bool inside = pixel / 16 < 8 && pixel % 16 < 8;
    CHECK(hidden.values[pixel] == doctest::Approx(inside ? 0.25 : 0).epsilon(1e-5));
  }
  // Windows that don't divide the picture end with its edge.
  settings.window = 5, settings.stride = 3;
  const Explanation uneven = e.explain("occlusion", x, target, settings);
  CHECK(uneven.values[0] > 0.2F);
  CHECK(uneven.values[255] == 0);
  settings.masks = 400;
  settings.cells = 4;
  const Explanation random = e.explain("rise", x, target, settings);
  CHECK(random.values[3 * 16 + 3] > random.values[12 * 16 + 12] + 0.05F);
  CHECK(e.explain("rise", x, target, settings).values == random.values);
  settings.seed = 1;
  CHECK(e.explain("rise", x, target, settings).values != random.values);
}

TEST_CASE("explain: every method agrees with the reference device") {
  const Network network = small_network(3, "relu", "max_pooling2d");
  const Shape shape{1, 14, 11, 3};
  simt::StreamOwner owner(simt::Timing::early);
  Device emulated(simt_backend(), owner.stream());
  Explained cpu("cpu", network, shape), simt(emulated, network, shape);
  Explained reference("reference", network, shape);
  const std::vector<float> x = cpu.input(11);
  const Target target = class_probability(Shape{1, 1, 1, 3}, 1);
  Settings settings;
  settings.steps = 8, settings.samples = 5, settings.masks = 40, settings.cells = 5;
  for (const Method& m : methods()) {
    CAPTURE(m.name);
    const Explanation b = m.one(*reference.explainer, x, target, settings);
    for (Explained* each : {&cpu, &simt}) {
      CAPTURE(each->device->describe());
      const Explanation a = m.one(*each->explainer, x, target, settings);
      CHECK(a.shape == b.shape);
      CHECK(difference(a.values, b.values) < 2e-5);
      CHECK(a.score == doctest::Approx(b.score).epsilon(1e-5));
      CHECK(a.baseline_score.has_value() == (std::string(m.name) == "integrated-gradients"));
    }
  }
}

TEST_CASE("explain: what doesn't fit is said") {
  Explained e("cpu", small_network(2, "relu", "max_pooling2d"), picture);
  const std::vector<float> x = e.input(3), few(7);
  const Shape logits{1, 1, 1, 3};
  const Target target = class_logit(logits, 1);
  const auto usage = [](const auto& of) { return error_of(ErrorKind::usage, of); };
  CHECK(usage([&] { class_logit(logits, 3); }) ==
        "there is no class 3: the value [1,1,1,3] has 3, counted from 0");
  CHECK(usage([&] { e.explain("saliency", few, target); }) ==
        "the input has 7 elements, the network's [1,12,10,2] has 240");
  CHECK(usage([&] { method("cam"); }).starts_with("there is no method 'cam': there are saliency"));
  CHECK(usage([&] { similarity(std::vector<float>(4)); }) ==
        "the features to be compared with are all 0, or not finite");
  Settings settings;
  settings.layer = "mean";
  CHECK(usage([&] { e.explain("grad-cam", x, target, settings); }) ==
        "the layer 'mean' [1,1,1,4] has one pixel; a map needs one with more");
  settings.layer = "activation_14";
  CHECK(usage([&] { e.explain("grad-cam", x, target, settings); }) ==
        "the network has no layer 'activation_14'");
  settings = {};
  settings.steps = 0;
  CHECK(usage([&] { e.explain("integrated-gradients", x, target, settings); }) ==
        "the rule gauss-legendre takes at least 1 step, 0 given");
  Target other = target;
  other.value = "act_1";
  CHECK(usage([&] { e.explain("saliency", x, other); }) ==
        "the target has 3 weights, 'act_1' has 120 elements");
}

TEST_CASE("quadrature: weights add up to 1, and Gauss' rule is exact for polynomials") {
  for (const Rule rule : {Rule::gauss_legendre, Rule::trapezoid, Rule::midpoint})
    for (const int64_t steps : {2, 3, 10, 51, 200, 2000}) {
      const Quadrature q = quadrature(rule, steps);
      CHECK(std::accumulate(q.weights.begin(), q.weights.end(), 0.0) ==
            doctest::Approx(1).epsilon(1e-12));
      CHECK(std::is_sorted(q.points.begin(), q.points.end()));
    }
  for (const int64_t steps : {1, 2, 5, 20}) {
    const Quadrature q = quadrature(Rule::gauss_legendre, steps);
    for (int64_t degree = 0; degree < 2 * steps; degree++) {
      double sum = 0;
      for (size_t i = 0; i < q.points.size(); i++)
        sum += q.weights[i] * std::pow(q.points[i], static_cast<double>(degree));
      CHECK(sum == doctest::Approx(1 / static_cast<double>(degree + 1)).epsilon(1e-12));
    }
  }
}
