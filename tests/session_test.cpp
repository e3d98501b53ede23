#include "engine/session.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "engine/optimizer.h"
#include "kernels/error.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using fulmar::test::error_of;

namespace {

using Values = std::vector<double>;

// y = w x + x^2 over [1,1,2,3]
struct Small {
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  Val x, w, square, y;

  Small() {
    x = ops::input(*tape, "x", {{1, 1, 2, 3}});
    w = ops::parameter(*tape, "w", {3}, {ops::Initializer::Kind::ones, 0, 0}, true);
    square = ops::square(*tape, x);
    y = ops::add(*tape, ops::mul(*tape, x, w), square);
  }
};

}  // namespace

TEST_CASE("session: runs what was set, as often as it is asked") {
  Context context;
  const Small s;
  for (const char* name : {"cpu", "reference"}) {
    CAPTURE(name);
    Device& device = context.device(name);
    Model model(device, *s.tape, 1);
    Session session(context, device, s.tape, std::array{s.y}, &model);
    session.set(s.x, Values{1, 2, 3, 4, 5, 6});
    session.run();
    CHECK(session.read(s.y) == Values{2, 6, 12, 20, 30, 42});
    session.set(s.x, std::vector<float>{0, 0, 0, 1, 1, 1});
    model.write("w", Values{1, 2, 3});
    session.run();
    CHECK(session.read(s.y) == Values{0, 0, 0, 2, 3, 4});
    CHECK(session.read(s.x) == Values{0, 0, 0, 1, 1, 1});  // leaves can be read
    CHECK(session.read(s.w) == Values{1, 2, 3});
    CHECK(session.run_timed().size() == session.plan().steps.size());
  }
}

TEST_CASE("a backend whose table has a gap is refused by the kernel's name") {
  const auto refused = [](Backend table) {
    return error_of(ErrorKind::device, [&] { const Device device(table, Stream{}); });
  };
  Backend table = cpu_backend();
  table.moments = nullptr;
  CHECK(refused(table) ==
        "cpu: its table of kernels has no 'moments': add it to the backend, or "
        "build the backend's library anew");
  table = cpu_backend();
  table.conv2d_weight_grad_workspace = nullptr;
  CHECK(refused(table).find("'conv2d_weight_grad_workspace'") != std::string::npos);
}

TEST_CASE("session: memory of the caller is used as it is") {
  Context context;
  Device& device = context.device("cpu");
  const Small s;
  Model model(device, *s.tape, 1);
  Session session(context, device, s.tape, std::array{s.y}, &model);
  std::vector<float> mine{1, 1, 1, 1, 1, 1}, other{2, 2, 2, 2, 2, 2};
  const auto view = [](std::vector<float>& values) {
    return view_of(values.data(), {1, 1, 2, 3}, DType::f32);
  };
  session.bind(s.x, view(mine));
  session.run();
  CHECK(session.read(s.y) == Values(6, 2));
  mine.assign(6, 3);
  session.run();
  CHECK(session.read(s.y) == Values(6, 12));
  session.bind(s.x, view(other));
  session.run();
  CHECK(session.read(s.y) == Values(6, 6));
  CHECK(session.view(s.x).data == other.data());
}

TEST_CASE("session: only an input can be bound, and only to memory that fits it") {
  Context context;
  const Small s;
  Device& device = context.device("cpu");
  Model model(device, *s.tape, 1);
  Session session(context, device, s.tape, std::array{s.y}, &model);
  std::vector<double> memory(64, 1);
  const auto refusal = [&](Val input, const View& view) {
    return error_of(ErrorKind::usage, [&] { session.bind(input, view); });
  };
  const auto view = [&](const Shape& shape, DType type) {
    return view_of(memory.data(), shape, type);
  };
  const View fits = view({1, 1, 2, 3}, DType::f32);
  CHECK(refusal(s.y, fits) == "add is not an input and can't be bound");
  CHECK(refusal(s.w, view({3}, DType::f32)) == "parameter is not an input and can't be bound");
  CHECK(refusal(Val{99, 0}, fits) == "a value that is not on this tape was used");
  CHECK(refusal(s.x, view({1, 1, 3, 2}, DType::f32)) ==
        "input 'x' takes [1,1,2,3] f32, [1,1,3,2] f32 given");
  CHECK(refusal(s.x, view({1, 1, 2, 3}, DType::f64)) ==
        "input 'x' takes [1,1,2,3] f32, [1,1,2,3] f64 given");
  CHECK(refusal(s.x, view_of(nullptr, {1, 1, 2, 3}, DType::f32)) ==
        "input 'x' takes [1,1,2,3] f32, a null pointer given");
  View gaps = fits;
  gaps.stride[2] = 4;
  CHECK(refusal(s.x, gaps) == "input 'x' takes [1,1,2,3] f32, contiguous; a view with gaps given");
  CHECK(error_of(ErrorKind::usage, [&] { session.run(); }) == "input 'x' was not set before run()");
  CHECK(error_of(ErrorKind::usage, [&] { session.set_bytes(s.x, nullptr, 24); }) ==
        "input 'x' was given a null pointer");
}

TEST_CASE("session: what is used wrongly is said") {
  Context context;
  Device& device = context.device("cpu");
  const Small s;
  Model model(device, *s.tape, 1);
  CHECK(error_of(ErrorKind::usage, [&] { Session(context, device, s.tape, std::array{s.y}); }) ==
        "the tape uses 'w', which lives in a Model, and none was given");
  Session session(context, device, s.tape, std::array{s.y}, &model);
  CHECK(error_of(ErrorKind::usage, [&] { session.run(); }) == "input 'x' was not set before run()");
  CHECK(error_of(ErrorKind::usage, [&] { session.read(s.x); }) == "input 'x' was not set");
  CHECK(error_of(ErrorKind::usage, [&] { session.set(s.x, Values(5)); }) ==
        "input 'x' takes 24 bytes ([1,1,2,3] f32), 20 given");
  CHECK(error_of(ErrorKind::usage, [&] { session.set_bytes(s.x, nullptr, 0); }) ==
        "input 'x' takes 24 bytes ([1,1,2,3] f32), 0 given");
  CHECK(error_of(ErrorKind::usage, [&] { session.set(s.x, std::vector<int32_t>(6)); }) ==
        "i32 values for an input of f32");
  CHECK(error_of(ErrorKind::usage, [&] { session.set(s.w, Values(3)); }) ==
        "parameter is not an input and can't be set");
  CHECK(error_of(ErrorKind::usage, [&] { session.set(s.y, Values(6)); }) ==
        "add is not an input and can't be set");
  session.set(s.x, Values(6, 1));
  session.run();
  CHECK(error_of(ErrorKind::usage, [&] { session.read(s.square); }) ==
        "square is not an output of this session: its memory may be in use for something else");
  CHECK(error_of(ErrorKind::usage, [&] {
          session.read(Val{99, 0});
        }) == "a value that is not on this tape was used");

  Tape labels;
  const Val label = ops::input(labels, "label", {{1, 1, 1, 1}, Role::index, DType::i32});
  const auto shared = std::shared_ptr<const Tape>(&labels, [](const Tape*) {});
  Session index(context, device, shared, std::array{label});
  CHECK(error_of(ErrorKind::usage, [&] { index.set(label, Values(1)); }) ==
        "float values for an input of i32");
}

TEST_CASE("session: results exist after a run, until another one in the same arena") {
  Context context;
  for (const char* name : {"cpu", "reference"}) {
    CAPTURE(name);
    Device& device = context.device(name);
    const Small s;
    Model model(device, *s.tape, 1);
    const auto arena = std::make_shared<Arena>();
    Session first(context, device, s.tape, std::array{s.y}, &model, arena);
    first.set(s.x, Values(6, 1));
    const std::string never = "add has no value: run() the session first";
    CHECK(error_of(ErrorKind::usage, [&] { first.read(s.y); }) == never);
    CHECK(error_of(ErrorKind::usage, [&] { (void)first.view(s.y); }) == never);
    first.run();
    CHECK(first.read(s.y) == Values(6, 2));

    // A larger one: the arena moves.
    auto tape = std::make_shared<Tape>();
    const Val x = ops::input(*tape, "x", {{1, 300, 300, 3}});
    const Val y = ops::softmax(*tape, x);
    Session second(context, device, tape, std::array{y}, nullptr, arena);
    second.set(x, Values(270000, 1));
    CHECK(first.read(s.y) == Values(6, 2));  // nothing has run since
    second.run();
    const std::string stale =
        "add has no value: another session has run in the arena since; run() again";
    CHECK(error_of(ErrorKind::usage, [&] { first.read(s.y); }) == stale);
    CHECK(error_of(ErrorKind::usage, [&] { (void)first.view(s.y); }) == stale);
    CHECK(first.read(s.x) == Values(6, 1));  // inputs are its own
    CHECK(std::abs(second.read(y)[0] - 1.0 / 3) < 1e-6);
    first.run();
    CHECK(first.read(s.y) == Values(6, 2));
    CHECK(error_of(ErrorKind::usage, [&] { second.read(y); }).find("another session has run") !=
          std::string::npos);
  }
}

TEST_CASE("session: debugging names the first node whose values are not finite") {
  Context context;
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{1, 1, 1, 4}});
  Val y;
  {
    const auto scope = tape->scope("layer 2");
    y = ops::square(*tape, ops::log(*tape, x));
  }
  for (const char* name : {"cpu", "reference"}) {
    Device& device = context.device(name);
    Session session(context, device, tape, std::array{y}, nullptr, nullptr, {.debug = true});
    session.set(x, Values{1, 0, 2, -1});
    CHECK_THROWS_WITH_AS(session.run(), "log 'layer 2': 2 of 4 values are NaN or infinite", Error);
  }
}

TEST_CASE("session: a raised flag stops a run that may be stopped") {
  Context context;
  const Small s;
  Device& device = context.device("cpu");
  Model model(device, *s.tape, 1);
  Session session(context, device, s.tape, std::array{s.y}, &model);
  Session step(context, device, s.tape, std::array{s.y}, &model, nullptr, {.cancellable = false});
  session.set(s.x, Values(6));
  step.set(s.x, Values(6));
  context.cancel = true;
  CHECK_THROWS_WITH_AS(session.run(), "interrupted", Error);
  CHECK(error_of(ErrorKind::usage, [&] { session.read(s.y); }) ==
        "add has no value: run() the session first");
  CHECK_NOTHROW(step.run());
  context.cancel = false;
  CHECK_NOTHROW(session.run());
  CHECK(session.read(s.y) == Values(6));
}

TEST_CASE("model: a weight may be called as a buffer of the training is") {
  Context context;
  Device& device = context.device("cpu");
  const char* const names[] = {"parameters", "adamw/moment1", "adamw/moment2",
                               "segments",   "step_state",    "gradient_sum"};
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{1, 1, 1, 3}});
  Val y = x;
  for (const char* name : names)
    y = ops::mul(*tape, y, ops::parameter(*tape, name, {3}, {ops::Initializer::Kind::ones}, false));
  y = ops::dropout(*tape, y, 0, 1);
  Model model(device, *tape, 1);
  CHECK(model.parameters().size() == 6);
  record_update(*tape, model, AdamW{}, joined_gradients(*tape, model, ops::sum_all(*tape, y)));
  Session session(context, device, tape, std::array{y}, &model);
  StepState state;
  state.learning_rate = 0.125;
  model.set_step_state(state);
  session.set(x, Values{1, 1, 1});
  session.run();
  for (const char* name : names) {
    CAPTURE(name);
    for (const double value : model.read(name)) CHECK(value == doctest::Approx(0.875));
  }

  for (const std::string name : {"/adamw/moment1", "/lars/velocity", "/weight_sum", "/segments"}) {
    Tape taken;
    ops::parameter(taken, name, {3}, {}, false);
    CHECK(error_of(ErrorKind::usage, [&] { Model(device, taken, 1); }) ==
          "a weight is named '" + name + "', as one of the model's own buffers is");
  }
}

TEST_CASE("model: an optimiser's buffers are zeros from when they are asked for, and listed") {
  Context context;
  Device& device = context.device("cpu");
  Tape tape;
  ops::parameter(tape, "w", {3}, {}, true);
  Model model(device, tape, 1);
  CHECK(model.states().empty());
  const size_t before = model.bytes();
  CHECK(model.read("/sgd/velocity") == Values(static_cast<size_t>(model.flat_size())));
  CHECK(model.bytes() == before + static_cast<size_t>(model.flat_size()) * sizeof(float));
  model.view("/adamw/moment2", model.flat_info());
  CHECK(model.states() == std::vector<std::string>{"/adamw/moment2", "/sgd/velocity"});
  CHECK(model.read("/weight_sum") == Values{0});
  CHECK(error_of(ErrorKind::usage, [&] { model.read("/adam/moment1"); }) ==
        "the model has no '/adam/moment1': was it made from another network?");
  for (const Optimizer& kind : {Optimizer(AdamW{}), Optimizer(Sgd{}), Optimizer(Lars{})})
    for (const std::string& name : state_names(kind))
      CHECK(name.starts_with(std::string("/") + name_of(kind) + "/"));
}

TEST_CASE("session: two runs at once in one arena are refused") {
  Context context;
  Device& device = context.device("cpu");
  const Small s;
  Model model(device, *s.tape, 1);
  const auto arena = std::make_shared<Arena>();
  Session session(context, device, s.tape, std::array{s.y}, &model, arena);
  session.set(s.x, Values(6, 1));
  arena->busy() = true;  // as while another thread runs
  const std::string expected =
      "a Session, or an Arena that several share, was used by two threads at once: give each its "
      "own, or let them take turns";
  CHECK(error_of(ErrorKind::usage, [&] { session.run(); }) == expected);
  CHECK(error_of(ErrorKind::usage, [&] { session.run_timed(); }) == expected);
  arena->busy() = false;
  session.run();
  CHECK(session.read(s.y) == Values(6, 2));
}

TEST_CASE("model: what doesn't fit is said") {
  Context context;
  const Small s;
  Model model(context.device("cpu"), *s.tape, 1);
  CHECK(error_of(ErrorKind::usage, [&] { model.read("v"); }) ==
        "the model has no 'v': was it made from another network?");
  CHECK(error_of(ErrorKind::usage, [&] { model.write("w", Values(2)); }) ==
        "'w' has 3 elements, 2 given");
  CHECK(error_of(ErrorKind::usage, [&] { model.read("/step_state"); }) ==
        "'/step_state' holds no float values");
  CHECK(error_of(ErrorKind::usage, [&] {
          model.view("w", {{4}, Role::parameter});
        }) == "'w' is [3] in the model, [4] on the tape");
  Tape other;
  const Val w = ops::parameter(other, "w", {4}, {}, true);
  const auto shared = std::shared_ptr<const Tape>(&other, [](const Tape*) {});
  CHECK(error_of(ErrorKind::usage, [&] {
          Session(context, context.device("cpu"), shared, std::array{w}, &model);
        }) == "'w' is [3] in the model, [4] on the tape");
}

TEST_CASE("session: what depends on the model alone is computed again when the model has changed") {
  Context context;
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{1, 1, 1, 4}});
  const Val w = ops::parameter(*tape, "w", {4}, {ops::Initializer::Kind::ones, 0, 0}, true);
  const Val twice = ops::affine(*tape, w, 2, 0);
  const Val y = ops::mul(*tape, x, twice);
  for (const char* name : {"cpu", "reference"}) {
    CAPTURE(name);
    Device& device = context.device(name);
    Model model(device, *tape, 1);
    // Counts how often affine runs.
    const auto arena = std::make_shared<Arena>();
    Session session(context, device, tape, std::array{y}, &model, arena);
    REQUIRE(session.plan().once > 0);
    session.set(x, Values{1, 2, 3, 4});
    session.run();
    CHECK(session.read(y) == Values{2, 4, 6, 8});
    CHECK(session.run_timed()[0] == 0);  // it did not run again

    // Another tape in the same arena doesn't disturb what is kept.
    auto other = std::make_shared<Tape>();
    const Val z = ops::input(*other, "z", {{1, 8, 8, 4}});
    const Val gone = ops::exp(*other, z);
    Session second(context, device, other, std::array{gone}, nullptr, arena);
    second.set(z, Values(256, 1));
    second.run();
    for (int run = 0; run < 3; run++) {
      session.run();
      CHECK(session.read(y) == Values{2, 4, 6, 8});
    }

    model.write("w", Values{1, 0, 1, 0});
    session.run();
    CHECK(session.read(y) == Values{2, 0, 6, 0});

    // Weights that another session updates: w = w - 0.5 (1 - 0) / 1, by plain SGD.
    auto step = std::make_shared<Tape>();
    const Val v = ops::parameter(*step, "w", {4}, {ops::Initializer::Kind::ones, 0, 0}, true);
    const Val loss = ops::sum_all(*step, v);
    Sgd sgd;
    sgd.momentum = 0;
    record_update(*step, model, sgd, joined_gradients(*step, model, loss));
    StepState state;
    state.learning_rate = 0.5;
    model.set_step_state(state);
    Session update(context, device, step, {}, &model);
    update.run();
    session.run();
    const std::vector<double> updated = model.read("w");
    CHECK(updated[0] < 1);
    for (size_t i = 0; i < 4; i++)
      CHECK(session.read(y)[i] == 2 * static_cast<double>(i + 1) * updated[i]);
  }
}

TEST_CASE("session: outputs are read into the caller's memory") {
  Context context;
  const Small s;
  Device bf16(test::emulated_bf16(), context.device("reference").stream());
  for (Device* each : {&context.device("cpu"), &context.device("reference"), &bf16}) {
    Device& device = *each;
    CAPTURE(device.describe());
    Model model(device, *s.tape, 1);
    Session session(context, device, s.tape, std::array{s.y}, &model);
    session.set(s.x, Values{1, 2, 3, 4, 5, 6});
    session.run();
    std::vector<float> floats(6);
    session.read(s.y, floats);
    CHECK(floats == std::vector<float>{2, 6, 12, 20, 30, 42});
    std::vector<std::byte> bytes(session.view(s.y).bytes());
    session.read_bytes(s.y, bytes);
    CHECK(std::memcmp(bytes.data(), session.view(s.y).data, bytes.size()) == 0);
    CHECK(error_of(ErrorKind::usage, [&] { session.read(s.y, std::span(floats).first(5)); }) ==
          "add has 6 elements, room for 5 was given");
    CHECK(error_of(ErrorKind::usage, [&] {
            session.read_bytes(s.y, std::span(bytes).first(3));
          }).starts_with("add has " + std::to_string(bytes.size()) + " bytes ([1,1,2,3] "));
  }
}
