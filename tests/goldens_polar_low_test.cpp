#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "engine/context.h"
#include "engine/ops.h"
#include "model/polar_low.h"
#include "tests/support/golden_network.h"
#include "tests/support/paths.h"

// The polar-low network on the reference device against PyTorch and Keras, both in float64
// (tests/goldens/README.md says what the files hold and how far the two agree).

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::json;

namespace {

constexpr double bound = 1e-9;  // relative, by norm
// Adam divides the rounding noise of a gradient that is exactly 0 (1e-15) by its epsilon (1e-8), so
// such biases wander by 1e-7 in ten steps. The loss does not see them; the running means that they
// shift, and through these the network in eval mode, do.
constexpr double noise_bound = 1e-6;

// Logits, loss and every layer of one forward pass, against files of the same weights and input;
// `prefix` as in the files.
void check_forward(const std::vector<std::string>& files, const std::string& prefix, Mode mode) {
  const Golden first(files[0]);
  Context context;
  Device& device = context.device("reference");
  GoldenNetwork r(first, mode, true);
  Model model(device, *r.tape, 1);
  set_formula_weights(model);

  const std::vector<std::string> layers = first.names(prefix + "layer/");
  REQUIRE(layers.size() == 71);
  std::vector<Val> outputs{r.loss};
  for (const std::string& layer : layers)
    outputs.push_back(layer == "logits" ? r.logits : r.tape->find(layer));
  Session session(context, device, r.tape, outputs, &model);
  r.set_batch(session, first, first.metadata("seed"));
  session.run();
  const Values logits = session.read(r.logits), loss = session.read(r.loss);
  std::vector<Values> values;
  for (size_t i = 0; i < layers.size(); i++) values.push_back(session.read(outputs[i + 1]));

  for (const std::string& file : files) {
    CAPTURE(file);
    const Golden golden(file);
    REQUIRE(golden.metadata("seed") == first.metadata("seed"));
    CHECK(difference(logits, golden.values(prefix + "logits")) <= bound);
    CHECK(difference(loss, golden.values(prefix + "loss")) <= bound);
    for (size_t i = 0; i < layers.size(); i++) {
      CAPTURE(layers[i]);
      CHECK(summary_difference(layers[i], values[i],
                               golden.values(prefix + "layer/" + layers[i])) <= bound);
    }
  }
}

// Gradients and running statistics of the first step.
void check_first_step(const std::string& file, const std::string& prefix, bool unbiased) {
  const Golden golden(file);
  Context context;
  Device& device = context.device("reference");
  GoldenNetwork r(golden, Mode::train, unbiased);
  Model model(device, *r.tape, 1);
  set_formula_weights(model);
  const std::vector<Val> gradients = parameter_gradients(*r.tape, model, r.loss);
  Session session(context, device, r.tape, gradients, &model);
  r.set_batch(session, golden, golden.metadata("seed"));
  session.run();

  const std::string summaries = prefix + "gradient_summary/";
  REQUIRE(golden.names(summaries).size() == gradients.size());
  int checked = 0;
  for (size_t i = 0; i < gradients.size(); i++) {
    const std::string& name = model.parameters()[i].name;
    CAPTURE(name);
    const Values g = session.read(gradients[i]);
    if (has_zero_gradient(golden, name)) {
      CHECK(norm(g) <= zero_gradient_bound * layer_gradient_norm(golden, summaries, name));
      continue;
    }
    CHECK(summary_difference(name, g, golden.values(summaries + name)) <= bound);
    if (golden.has(prefix + "gradient/" + name))
      CHECK(difference(g, golden.values(prefix + "gradient/" + name)) <= bound);
    checked++;
  }
  // But for those that are exactly 0: the biases before a batch normalisation, and of skips that
  // give one pixel.
  CHECK(checked >= 60);
  REQUIRE(model.statistics().size() == 32);
  for (const Model::Statistic& s : model.statistics()) {
    CAPTURE(s.name);
    const Values value = model.read(s.name);
    if (golden.has(prefix + "statistic_summary/" + s.name))
      CHECK(summary_difference(s.name, value,
                               golden.values(prefix + "statistic_summary/" + s.name)) <= bound);
    REQUIRE((golden.has(prefix + "statistic_summary/" + s.name) ||
             golden.has(prefix + "statistic/" + s.name)));
    if (golden.has(prefix + "statistic/" + s.name))
      CHECK(difference(value, golden.values(prefix + "statistic/" + s.name)) <= bound);
  }
}

// Ten losses run freely, then every weight and statistic, then the network in eval mode.
void check_ten_steps(const std::string& file, const std::string& prefix, const Json& how,
                     bool unbiased) {
  const Golden golden(file);
  Context context;
  Device& device = context.device("reference");
  GoldenNetwork r(golden, Mode::train, unbiased);
  Model model(device, *r.tape, 1);
  set_formula_weights(model);
  model.decay_all();
  record_update(*r.tape, model, adamw_of(how), joined_gradients(*r.tape, model, r.loss));
  Session session(context, device, r.tape, std::array{r.loss}, &model);
  const Json seeds = golden.metadata("step_seeds");
  StepState state;
  state.learning_rate = how["lr"];
  Values losses;
  for (size_t step = 0; step < seeds.size(); step++) {
    state.step = static_cast<int64_t>(step) + 1;
    model.set_step_state(state);
    r.set_batch(session, golden, seeds[step]);
    session.run();
    losses.push_back(session.read(r.loss)[0]);
  }
  const Values expected = golden.values(prefix + "losses");
  REQUIRE(expected.size() == 10);
  for (size_t i = 0; i < 10; i++) {
    CAPTURE(i);
    CHECK(std::abs(losses[i] / expected[i] - 1) <= bound);
  }
  const std::vector<std::string> after = golden.names(prefix + "after_ten/");
  REQUIRE(after.size() == model.parameters().size() + model.statistics().size());
  for (const std::string& name : after) {
    CAPTURE(name);
    const bool noisy =
        has_zero_gradient(golden, name) || name.find("/moving_mean") != std::string::npos;
    CHECK(summary_difference(name, model.read(name), golden.values(prefix + "after_ten/" + name)) <=
          (noisy ? noise_bound : bound));
  }
  GoldenNetwork eval(golden, Mode::eval, unbiased);
  Session see(context, device, eval.tape, std::array{eval.logits}, &model);
  eval.set_batch(see, golden, golden.metadata("seed"));
  see.run();
  CHECK(difference(see.read(eval.logits), golden.values(prefix + "after_ten_eval/logits")) <=
        noise_bound);
}

}  // namespace

TEST_CASE("goldens: the network's layers, shapes and parameter count are Keras'") {
  std::ifstream in(golden("polar_low_keras_layers.json"));
  const Json keras = Json::parse(in);
  Context context;
  Tape tape;
  const int64_t crop = keras["crop"];
  record(model::polar_low(), tape, ops::input(tape, "x", {{1, crop, crop, 3}}), {});
  Model model(context.device("reference"), tape, 1);
  CHECK(model.parameter_count() == keras["parameters"].get<int64_t>());
  CHECK(model.trainable_count() == keras["trainable"].get<int64_t>());
  size_t layers = 0, weights = 0;
  for (const Json& layer : keras["layers"]) {
    const std::string name = layer["name"], kind = layer["class"];
    if (kind == "InputLayer" || kind == "Sequential" || kind == "Dropout") continue;
    CAPTURE(name);
    layers++;
    std::vector<int64_t> s = layer["shape"];
    if (s.size() == 1) s = {1, 1, s[0]};  // pooled: Keras drops the picture's axes
    CHECK(tape.shape(tape.find(name)) == Shape{1, s[0], s[1], s[2]});
    for (const auto& [weight, shape] : layer["weights"].items()) {
      weights++;
      std::vector<int64_t> w = shape;
      if (weight.find("depthwise") != std::string::npos) w.pop_back();  // [3,3,C,1]
      const Shape ours = tape.shape(tape.find(weight));
      REQUIRE(ours.rank() == static_cast<int>(w.size()));
      for (int axis = 0; axis < ours.rank(); axis++)
        CHECK(ours[axis] == w[static_cast<size_t>(axis)]);
    }
  }
  CHECK(layers == 71);
  CHECK(weights == model.parameters().size() + model.statistics().size());
}

TEST_CASE("goldens: forward at crop 64 equals PyTorch's and Keras'") {
  for (const std::string widths : {"published", "narrow"}) {
    CAPTURE(widths);
    check_forward({"polar_low_torch_64_" + widths}, "", Mode::train);
    check_forward({"polar_low_keras_64_" + widths}, "train/", Mode::train);
    check_forward({"polar_low_keras_64_" + widths}, "eval/", Mode::eval);
  }
}

TEST_CASE("goldens: forward at crop 512 equals PyTorch's and Keras'") {
  const std::vector<std::string> files{"polar_low_torch_512", "polar_low_keras_512"};
  check_forward(files, "train/", Mode::train);
  check_forward(files, "eval/", Mode::eval);
}

TEST_CASE("goldens: every gradient and running statistic equals PyTorch's and Keras'") {
  for (const std::string widths : {"published", "narrow"}) {
    CAPTURE(widths);
    check_first_step("polar_low_torch_64_" + widths, "", true);
    // Keras' unfused batch normalisation stores the biased variance.
    check_first_step("polar_low_keras_64_" + widths, "train/", false);
  }
}

TEST_CASE("goldens: ten steps of AdamW equal PyTorch's") {
  for (const std::string widths : {"published", "narrow"}) {
    CAPTURE(widths);
    const std::string file = "polar_low_torch_64_" + widths;
    check_ten_steps(file, "", Golden(file).metadata("optimizer"), true);
  }
}

TEST_CASE("goldens: ten steps of AdamW equal Keras' in both its forms") {
  for (const std::string widths : {"published", "narrow"})
    for (const std::string form : {"addons", "keras"}) {
      CAPTURE(widths);
      CAPTURE(form);
      const std::string file = "polar_low_keras_64_" + widths;
      check_ten_steps(file, form + "/", Golden(file).metadata("optimizers")[form], false);
    }
}

TEST_CASE("goldens: running variances are unbiased as in Keras' fused float32 kernel") {
  const Golden golden("polar_low_keras_float32");
  Context context;
  Device& device = context.device("reference");
  GoldenNetwork r(golden, Mode::train, true);
  Model model(device, *r.tape, 1);
  set_formula_weights(model);
  Session session(context, device, r.tape, std::array{r.loss}, &model);
  r.set_batch(session, golden, golden.metadata("seed"));
  session.run();
  CHECK(session.read(r.loss)[0] == doctest::Approx(golden.value("loss")).epsilon(1e-5));
  REQUIRE(golden.names("statistic/").size() == model.statistics().size());
  for (const Model::Statistic& s : model.statistics()) {
    CAPTURE(s.name);
    CHECK(difference(model.read(s.name), golden.values("statistic/" + s.name)) <= 1e-6);
  }
}
