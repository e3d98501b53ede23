#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "engine/context.h"
#include "engine/ops.h"
#include "kernels/simt/backend.h"
#include "tests/support/golden_network.h"

// Training steps of the polar-low network with the CUDA kernels on the emulator, crop 64, batch 2,
// against the reference in float64, which meets PyTorch's goldens.

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::json;

namespace {

constexpr double gradient_bound = 1e-4;  // relative, by norm, per tensor
constexpr double loss_bound = 2e-5;      // absolute
constexpr double parameter_bound = 1e-4;

// A network with its loss, gradients and optimiser on a device.
struct Trainee {
  GoldenNetwork network;
  Model model;
  std::vector<Val> gradients;
  std::unique_ptr<Session> session;

  Trainee(Context& context, Device& device, const Golden& golden)
      : network(golden, Mode::train), model(device, *network.tape, 1) {
    gradients = parameter_gradients(*network.tape, model, network.loss);
    std::vector<Val> outputs = gradients;
    outputs.push_back(network.loss);
    session = std::make_unique<Session>(context, device, network.tape, outputs, &model);
  }
  double run(const Golden& golden, int64_t seed) {
    network.set_batch(*session, golden, seed);
    session->run();
    return session->read(network.loss)[0];
  }
};

void copy_state(Model& from, Model& to) {
  for (const Model::Parameter& p : from.parameters()) to.write(p.name, from.read(p.name));
  for (const Model::Statistic& s : from.statistics()) to.write(s.name, from.read(s.name));
}

}  // namespace

TEST_CASE("simt training: at five float64 states, loss and gradients are those of float64") {
  const simt::StreamOwner owner;
  Device device(simt_backend(), owner.stream());
  for (const std::string widths : {"published", "narrow"}) {
    CAPTURE(widths);
    const Golden golden("polar_low_torch_64_" + widths);
    const Json how = golden.metadata("optimizer"), seeds = golden.metadata("step_seeds");
    Context context;
    Device& exact = context.device("reference");
    // The teacher's states come from its own steps.
    GoldenNetwork recorded(golden, Mode::train);
    Model states(exact, *recorded.tape, 1);
    set_formula_weights(states);
    states.decay_all();
    record_adamw(*recorded.tape, states, joined_gradients(*recorded.tape, states, recorded.loss),
                 adamw_of(how));
    Session teach(context, exact, recorded.tape, std::array{recorded.loss}, &states);
    Trainee expected(context, exact, golden), ours(context, device, golden);
    StepState state;
    state.learning_rate = how["lr"];
    double worst_loss = 0, worst_gradient = 0;
    for (int64_t step = 0; step < 5; step++) {
      CAPTURE(step);
      copy_state(states, expected.model);
      copy_state(states, ours.model);
      const double d = std::abs(ours.run(golden, seeds[step]) - expected.run(golden, seeds[step]));
      CHECK(d <= loss_bound);
      worst_loss = std::max(worst_loss, d);
      for (size_t i = 0; i < ours.gradients.size(); i++) {
        const std::string& name = ours.model.parameters()[i].name;
        CAPTURE(name);
        if (has_zero_gradient(golden, name)) continue;
        const double g = difference(ours.session->read(ours.gradients[i]),
                                    expected.session->read(expected.gradients[i]));
        CHECK(g <= gradient_bound);
        worst_gradient = std::max(worst_gradient, g);
      }
      state.step = step + 1;
      states.set_step_state(state);
      recorded.set_batch(teach, golden, seeds[step]);
      teach.run();
    }
    MESSAGE(widths, " widths: worst loss differs by ", worst_loss, ", worst gradient by ",
            worst_gradient);
  }
}
