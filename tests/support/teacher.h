#pragma once

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/ops.h"
#include "tests/support/golden_network.h"

// Training steps of the polar-low network, each from a state that a teacher in float64 gives.
namespace fulmar::test {

// A network with its loss, gradients and optimiser on a device.
struct Trainee {
  GoldenNetwork network;
  Model model;
  std::vector<Val> gradients;
  std::unique_ptr<Session> session;

  Trainee(Context& context, Device& device, const Golden& golden,
          const SessionOptions& options = {})
      : network(golden, Mode::train), model(device, *network.tape, 1) {
    gradients = parameter_gradients(*network.tape, model, network.loss);
    std::vector<Val> outputs = gradients;
    outputs.push_back(network.loss);
    session =
        std::make_unique<Session>(context, device, network.tape, outputs, &model, nullptr, options);
  }
  void run(const Golden& golden, int64_t seed) {
    network.set_batch(*session, golden, seed);
    session->run();
  }
};

inline void copy_state(Model& from, Model& to) {
  for (const Model::Parameter& p : from.parameters()) to.write(p.name, from.read(p.name));
  for (const Model::Statistic& s : from.statistics()) to.write(s.name, from.read(s.name));
}

// A whole training step, optimiser included. The others are given the states that this one's own
// steps in float64 lead to.
struct Teacher {
  GoldenNetwork recorded;
  Model model;
  std::unique_ptr<Session> session;
  StepState state;

  Teacher(Context& context, Device& device, const Golden& golden,
          const SessionOptions& options = {})
      : recorded(golden, Mode::train), model(device, *recorded.tape, 1) {
    const nlohmann::json how = golden.metadata("optimizer");
    set_formula_weights(model);
    model.decay_all();
    record_update(*recorded.tape, model, adamw_of(how),
                  joined_gradients(*recorded.tape, model, recorded.loss));
    session = std::make_unique<Session>(context, device, recorded.tape, std::array{recorded.loss},
                                        &model, nullptr, options);
    state.learning_rate = how["lr"];
    state.step = 0;
  }
  void set(const Golden& golden, int64_t seed) {
    state.step++;
    model.set_step_state(state);
    recorded.set_batch(*session, golden, seed);
  }
  void step(const Golden& golden, int64_t seed) {
    set(golden, seed);
    session->run();
  }
};

// The worst of one tensor's gradient, and of all gradients as one vector.
struct Differences {
  double loss = 0, worst = 0, all = 0;
  std::string worst_name;

  void add(const Differences& other) {
    loss = std::max(loss, other.loss);
    all = std::max(all, other.all);
    if (other.worst > worst) worst = other.worst, worst_name = other.worst_name;
  }
};

// Of `ours` from `expected`, both after a run.
inline Differences differences(const Golden& golden, Trainee& ours, Trainee& expected) {
  Differences d;
  d.loss = std::abs(ours.session->read(ours.network.loss)[0] -
                    expected.session->read(expected.network.loss)[0]);
  double error = 0, size = 0;
  for (size_t i = 0; i < ours.gradients.size(); i++) {
    const std::string& name = ours.model.parameters()[i].name;
    if (has_zero_gradient(golden, name)) continue;
    const std::vector<double> a = ours.session->read(ours.gradients[i]);
    const std::vector<double> b = expected.session->read(expected.gradients[i]);
    const double g = difference(a, b);
    if (!(g <= d.worst)) d.worst = g, d.worst_name = name;
    error += std::pow(g * norm(b), 2);
    size += std::pow(norm(b), 2);
  }
  d.all = std::sqrt(error / size);
  return d;
}

}  // namespace fulmar::test
