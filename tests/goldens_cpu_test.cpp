#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/context.h"
#include "engine/ops.h"
#include "tests/support/golden_network.h"

// The polar-low network in float32 on the cpu against float64: the reference device, which meets
// PyTorch's and Keras' goldens, and the goldens themselves. The seed keeps every ReLU input and
// pooling tie far enough from switching.

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::json;

namespace {

constexpr double gradient_bound = 1e-4;  // relative, by norm, per tensor
constexpr double loss_bound = 2e-5;      // absolute

// One training step's loss and gradients on a device.
struct FirstStep {
  double loss = 0;
  std::vector<std::string> names;
  std::vector<Values> gradients;

  FirstStep(Context& context, const std::string& device_name, const Golden& golden,
            bool fuses = false) {
    Device& device = context.device(device_name);
    GoldenNetwork r(golden, Mode::train);
    Model model(device, *r.tape, 1);
    set_formula_weights(model);
    if (fuses) r.fuse(device);
    std::vector<Val> outputs = parameter_gradients(*r.tape, model, r.loss);
    outputs.push_back(r.loss);
    Session session(context, device, r.tape, outputs, &model);
    r.set_batch(session, golden, golden.metadata("seed"));
    session.run();
    loss = session.read(r.loss)[0];
    for (size_t i = 0; i < model.parameters().size(); i++) {
      names.push_back(model.parameters()[i].name);
      gradients.push_back(session.read(outputs[i]));
    }
  }
};

}  // namespace

TEST_CASE("goldens: float32 gradients on the cpu are those of float64") {
  for (const std::string widths : {"published", "narrow"}) {
    CAPTURE(widths);
    const Golden golden("polar_low_torch_64_" + widths);
    Context context;
    const FirstStep exact(context, "reference", golden);
    for (const bool fuses : {false, true}) {
      CAPTURE(fuses);
      const FirstStep ours(context, "cpu", golden, fuses);
      CHECK(std::abs(ours.loss - golden.value("loss")) <= loss_bound);
      double worst = 0;
      for (size_t i = 0; i < ours.names.size(); i++) {
        const std::string& name = ours.names[i];
        CAPTURE(name);
        if (has_zero_gradient(golden, name)) {
          CHECK(norm(ours.gradients[i]) <=
                zero_gradient_bound * layer_gradient_norm(golden, "gradient_summary/", name));
          continue;
        }
        const double d = difference(ours.gradients[i], exact.gradients[i]);
        CHECK(d <= gradient_bound);
        worst = std::max(worst, d);
      }
      MESSAGE(widths, std::string(fuses ? " widths, fused" : " widths"),
              ": worst gradient differs by ", worst);
    }
  }
}

TEST_CASE("goldens: at each of ten float64 states the float32 loss on the cpu is the same") {
  for (const std::string widths : {"published", "narrow"}) {
    CAPTURE(widths);
    const Golden golden("polar_low_torch_64_" + widths);
    const Json how = golden.metadata("optimizer"), seeds = golden.metadata("step_seeds");
    const Values losses = golden.values("losses");
    Context context;
    Device &exact = context.device("reference"), &device = context.device("cpu");
    GoldenNetwork teacher(golden, Mode::train), pupil(golden, Mode::train);
    Model states(exact, *teacher.tape, 1), model(device, *pupil.tape, 1);
    GoldenNetwork fused = pupil;
    fused.fuse(device);
    set_formula_weights(states);
    states.decay_all();
    record_update(*teacher.tape, states, adamw_of(how),
                  joined_gradients(*teacher.tape, states, teacher.loss));
    Session teach(context, exact, teacher.tape, std::array{teacher.loss}, &states);
    Session learn(context, device, pupil.tape, std::array{pupil.loss}, &model);
    Session learn_fused(context, device, fused.tape, std::array{fused.loss}, &model);
    StepState state;
    state.learning_rate = how["lr"];
    double worst = 0;
    for (size_t step = 0; step < losses.size(); step++) {
      CAPTURE(step);
      const auto loss_of = [&](const GoldenNetwork& network, Session& session) {
        for (const Model::Parameter& p : model.parameters())
          model.write(p.name, states.read(p.name));
        for (const Model::Statistic& s : model.statistics())
          model.write(s.name, states.read(s.name));
        network.set_batch(session, golden, seeds[step]);
        session.run();
        return session.read(network.loss)[0];
      };
      for (const double loss : {loss_of(pupil, learn), loss_of(fused, learn_fused)}) {
        CHECK(std::abs(loss - losses[step]) <= loss_bound);
        worst = std::max(worst, std::abs(loss - losses[step]));
      }

      state.step = static_cast<int64_t>(step) + 1;
      states.set_step_state(state);
      teacher.set_batch(teach, golden, seeds[step]);
      teach.run();
    }
    MESSAGE(widths, " widths: worst loss differs by ", worst);
  }
}

TEST_CASE("goldens: float32 running statistics on the cpu are Keras' own float32 ones") {
  const Golden golden("polar_low_keras_float32");
  Context context;
  Device& device = context.device("cpu");
  for (const bool fuses : {false, true}) {
    CAPTURE(fuses);
    GoldenNetwork r(golden, Mode::train);
    Model model(device, *r.tape, 1);
    set_formula_weights(model);
    if (fuses) r.fuse(device);
    Session session(context, device, r.tape, std::array{r.loss}, &model);
    r.set_batch(session, golden, golden.metadata("seed"));
    session.run();
    for (const Model::Statistic& s : model.statistics()) {
      CAPTURE(s.name);
      CHECK(difference(model.read(s.name), golden.values("statistic/" + s.name)) <= 1e-6);
    }
  }
}

TEST_CASE("goldens: float32 logits on the cpu at crop 512 are those of float64") {
  const Golden golden("polar_low_torch_512");
  Context context;
  Device& device = context.device("cpu");
  for (const bool fuses : {false, true})
    for (const Mode mode : {Mode::train, Mode::eval}) {
      const std::string prefix = mode == Mode::train ? "train/" : "eval/";
      CAPTURE(prefix);
      CAPTURE(fuses);
      GoldenNetwork r(golden, mode);
      Model model(device, *r.tape, 1);
      set_formula_weights(model);
      if (fuses) r.fuse(device);
      Session session(context, device, r.tape, std::array{r.logits, r.loss}, &model);
      r.set_batch(session, golden, golden.metadata("seed"));
      session.run();
      CHECK(difference(session.read(r.logits), golden.values(prefix + "logits")) <= gradient_bound);
      CHECK(std::abs(session.read(r.loss)[0] - golden.value(prefix + "loss")) <= loss_bound);
    }
}
