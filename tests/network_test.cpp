#include "engine/network.h"

#include <doctest/doctest.h>

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"

// Networks with several inputs and outputs, shared and frozen layers, recorded several times.

using namespace fulmar;
using fulmar::test::error_of;

namespace {

Attributes filters(int64_t count) { return {{"filters", count}}; }

// Two sensors on two grids through one layer; a class for each pixel and a number come out.
Network two_sensors() {
  Network n;
  n.add("input", "sar", {}, {{"channels", int64_t{2}}});
  n.add("input", "amsr", {}, {{"channels", int64_t{3}}, {"grid", int64_t{4}}});
  n.add("conv2d", "fine", {"sar"}, filters(4));
  n.add("conv2d", "coarse", {"amsr"}, filters(4));
  n.add("conv2d", "shared", {"fine"}, filters(5));
  n.add(Call{"conv2d", "again", {"coarse"}, filters(5), "", "shared", true});
  n.add("resize", "up", {"again", "fine"});
  n.add("add", "sum", {"shared", "up"});
  n.add("conv2d", "pixels", {"sum"}, filters(3));
  n.add("global_average_pooling2d", "pool", {"sum"});
  n.add("dense", "number", {"pool"}, {{"units", int64_t{1}}});
  n.set_outputs({"pixels", "number"});
  return n;
}

std::map<std::string, Val> record_sensors(const Network& network, Tape& tape, const Shape& sar,
                                          const Shape& amsr) {
  return record(network, tape,
                {{"sar", ops::input(tape, "x", {sar})}, {"amsr", ops::input(tape, "y", {amsr})}},
                {});
}

// A convolution behind dropout, with batch normalisation.
Network noisy(bool trainable) {
  Network n;
  n.add("input", "input", {});
  n.add("dropout", "dropout", {"input"}, {{"rate", 0.5}});
  n.add(Call{"conv2d", "conv", {"dropout"}, filters(3), "", "", trainable});
  n.add(Call{"batch_normalization", "bn", {"conv"}, {}, "", "", trainable});
  return n;
}

std::vector<std::string> names(const std::vector<Model::Parameter>& parameters) {
  std::vector<std::string> all;
  for (const Model::Parameter& p : parameters) all.push_back(p.name);
  return all;
}

}  // namespace

TEST_CASE("a network with two inputs, a shared layer and two outputs records at any size") {
  const Network network = two_sensors();
  CHECK(network.inputs() == std::vector<std::string>{"sar", "amsr"});
  CHECK(network.outputs() == std::vector<std::string>{"pixels", "number"});
  Tape tape;
  const auto y = record_sensors(network, tape, {2, 8, 12, 2}, {2, 2, 3, 3});
  CHECK(tape.shape(y.at("pixels")) == Shape{2, 8, 12, 3});
  CHECK(tape.shape(y.at("number")) == Shape{2, 1, 1, 1});
  Tape other;
  const auto odd = record_sensors(network, other, {1, 9, 13, 2}, {1, 3, 4, 3});
  CHECK(other.shape(odd.at("pixels")) == Shape{1, 9, 13, 3});

  // One pair of weights for both calls, whose gradients add up.
  Context context;
  const Model model(context.device("reference"), tape, 1);
  CHECK(names(model.parameters()) ==
        std::vector<std::string>{"number/bias", "number/kernel", "pixels/bias", "pixels/kernel",
                                 "shared/bias", "shared/kernel", "coarse/bias", "coarse/kernel",
                                 "fine/bias", "fine/kernel"});
  const Val loss =
      ops::add(tape, ops::sum_all(tape, y.at("pixels")), ops::sum_all(tape, y.at("number")));
  const Val dw = grad(tape, loss, tape.find("shared/kernel"));
  CHECK(tape.node(dw.node).op->name() == "add");
}

TEST_CASE("a network with named outputs, shared and frozen layers survives its JSON") {
  Network network = two_sensors();
  network.add(Call{"conv2d", "frozen", {"sum"}, filters(2), "head", "", false});
  const std::string json = network.to_json();
  const Network again = Network::from_json(json);
  CHECK(again.to_json() == json);
  CHECK(again.outputs() == network.outputs());
  CHECK(again.call("again").weights == "shared");
  CHECK_FALSE(again.call("frozen").trainable);
  CHECK(again.call("frozen").scope == "head");
}

TEST_CASE("what does not fit a network with several ends is refused by name") {
  const Network network = two_sensors();
  Tape tape;
  const Val x = ops::input(tape, "x", {{1, 8, 8, 2}}), y = ops::input(tape, "y", {{1, 2, 2, 3}});
  const Val fine = ops::input(tape, "z", {{1, 8, 8, 3}});
  const auto refusal = [&](const std::map<std::string, Val>& inputs) {
    return error_of(ErrorKind::usage, [&] { record(network, tape, inputs, {}); });
  };
  CHECK(refusal({{"sar", x}}) == "the network's input 'amsr' is missing");
  CHECK(refusal({{"sar", x}, {"amsr", y}, {"z", y}}) == "the network has no layer 'z'");
  CHECK(refusal({{"sar", x}, {"amsr", y}, {"sum", y}}) ==
        "'sum' is a layer of the network, not an input");
  CHECK(refusal({{"sar", x}, {"amsr", fine}}) ==
        "input 'amsr': x [1,8,8,3] is not 2 x 2, which the first input [1,8,8,2] gives on a grid "
        "of 4");
  CHECK(error_of(ErrorKind::usage, [&] { record(network, tape, x, {}); }) ==
        "the network has 2 outputs, one is expected");
  Network n = two_sensors();
  const auto added = [&](const Call& call) {
    return error_of(ErrorKind::usage, [&] { n.add(call); });
  };
  CHECK(added({"dense", "d", {"pool"}, {}, "", "shared", true}) ==
        "dense 'd': there is no dense 'shared' before it whose weights it could use");
  CHECK(added({"resize", "r", {"sum", "sum", "sum"}, {}, "", "", true}) ==
        "resize 'r': takes 1 to 2 inputs, 3 given");
  CHECK(error_of(ErrorKind::usage, [&] {
          n.set_outputs({"pixels", "pixels"});
        }) == "the output 'pixels' is named twice");
  CHECK(error_of(ErrorKind::usage, [&] { n.set_outputs({"nothing"}); }) ==
        "the network has no layer 'nothing'");
}

TEST_CASE("frozen layers have no gradient and normalise as in evaluation") {
  Context context;
  for (const bool trainable : {false, true}) {
    CAPTURE(trainable);
    Tape tape;
    record(noisy(trainable), tape, ops::input(tape, "x", {{1, 4, 4, 2}}), {Mode::train});
    const Model model(context.device("reference"), tape, 1);
    CHECK(model.parameters().size() == (trainable ? 4 : 0));
    CHECK(model.statistics().size() == (trainable ? 2 : 6));
    CHECK(ops::running_updates(tape).size() == (trainable ? 1 : 0));
    // A model file holds the same tensors, frozen or not.
    for (const char* name : {"conv/kernel", "conv/bias", "bn/gamma", "bn/beta", "bn/moving_mean",
                             "bn/moving_variance"})
      CHECK(model.has(name));
  }
}

TEST_CASE("recorded several times on a tape, a network has one set of weights and other masks") {
  Context context;
  Device& device = context.device("reference");
  const auto tape = std::make_shared<Tape>();
  const Network network = noisy(true);
  const Val x = ops::input(*tape, "x", {{1, 6, 6, 2}});
  const RecordOptions options{Mode::train, true, "first/"};
  const Val first = record(network, *tape, x, options);
  const Val second = record(network, *tape, x, {Mode::train, true, "second/"});
  CHECK(tape->find("first/bn") == first);
  CHECK(tape->find("second/bn") == second);
  CHECK(error_of(ErrorKind::usage, [&] {
          record(network, *tape, x, options);
        }).find("another value on the tape has this name") != std::string::npos);
  Model model(device, *tape, 3);
  CHECK(model.parameters().size() == 4);
  model.set_step_state({});
  const std::array wanted{tape->find("first/dropout"), tape->find("second/dropout"), first, second};
  Session session(context, device, tape, wanted, &model);
  session.set(x, std::vector<double>(72, 1));
  session.run();
  CHECK(session.read(wanted[0]) != session.read(wanted[1]));
  CHECK(session.read(first) != session.read(second));
}
