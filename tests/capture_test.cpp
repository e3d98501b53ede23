// Runs that a device writes down and replays, on the emulator of CUDA's kernels.
#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "kernels/cuda/queue.h"
#include "tests/support/device_training.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::test;

namespace {

using Values = std::vector<double>;

Backend without_capture(Precision precision) {
  Backend backend = simt_backend(precision);
  backend.begin_capture = nullptr;
  return backend;
}

// A device whose table may be damaged.
struct Emulated {
  simt::StreamOwner owner;
  Backend backend = simt_backend();
  Device device;
  Context context;
  explicit Emulated(simt::Timing timing = simt::Timing::early)
      : owner(timing), device(backend, owner.stream()) {}
};

// y = relu(x) + x over [1,1,2,3]
struct Small {
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  Val x, y;
  Small() {
    x = ops::input(*tape, "x", {{1, 1, 2, 3}});
    const auto scope = tape->scope("hidden");
    y = ops::add(*tape, ops::relu(*tape, x), x);
  }
};

}  // namespace

TEST_CASE("capture: a training by replays has the bits of one run kernel by kernel") {
  struct Row {
    Precision precision;
    bool feeder;
    simt::Timing timing;
  };
  using simt::Timing;
  for (const Row& row :
       {Row{Precision::fp32, false, Timing::early}, Row{Precision::fp32, false, Timing::late},
        Row{Precision::fp32, true, Timing::early}, Row{Precision::fp32, true, Timing::late},
        Row{Precision::bf16, true, Timing::late}}) {
    const bool feeder = row.feeder;
    CAPTURE(name_of(row.precision));
    CAPTURE(feeder);
    CAPTURE(static_cast<int>(row.timing));
    const Backend plain = without_capture(row.precision);
    DeviceTraining training;
    training.backend = &simt_backend(row.precision);
    training.timing = row.timing;
    training.feeder = feeder;
    const Trained captured = training.run(3);
    training.backend = &plain;
    const Trained expected = training.run(3);
    CHECK(captured.values == expected.values);
    // All but the first of each tape, for the first micro-batches of steps and the last ones.
    CHECK(captured.replays == 3 * NoiseSource::batches - 2);
    CHECK(expected.replays == 0);
  }
}

TEST_CASE("capture: a kernel that takes a step's value from its arguments gives other bits") {
  Backend mutant = simt_backend();
  // What changes from step to step is looked up when the launch is written, not when it runs.
  mutant.dropout = [](Stream& stream, const View& x, const View& y, const StepState* state,
                      double rate, uint64_t id) {
    static StepState frozen;
    frozen = *state;
    simt_backend().dropout(stream, x, y, &frozen, rate, id);
  };
  DeviceTraining training;
  const Values expected = training.run(2).values;
  training.backend = &mutant;
  CHECK(training.run(2).values != expected);
  mutant.begin_capture = nullptr;
  CHECK(training.run(2).values == expected);  // only replays show it
}

TEST_CASE("capture: inputs in other places, and an arena that moved, are captured anew") {
  Emulated e;
  const Small s;
  const auto arena = std::make_shared<Arena>();
  Session session(e.context, e.device, s.tape, std::array{s.y}, nullptr, arena);
  std::vector<float> a(6), b(6);
  for (int i = 0; i < 12; i++) {
    std::vector<float>& here = i % 2 == 0 ? a : b;
    here.assign(6, static_cast<float>(i + 1));
    session.bind(s.x, view_of(here.data(), s.tape->shape(s.x), DType::f32));
    session.run();
    CHECK(session.read(s.y) == Values(6, 2.0 * (i + 1)));
  }
  CHECK(session.replays() == 10);
  // A larger session takes the arena elsewhere.
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{1, 64, 64, 3}});
  const Val y = ops::relu(*tape, x);
  Session large(e.context, e.device, tape, std::array{y}, nullptr, arena);
  large.set(x, Values(3 * 64 * 64, 1));
  large.run();
  session.run();
  CHECK(session.read(s.y) == Values(6, 24));
}

TEST_CASE("capture: debug runs are not captured, and a cancelled session doesn't run") {
  Emulated e;
  const Small s;
  Session debug(e.context, e.device, s.tape, std::array{s.y}, nullptr, nullptr, {.debug = true});
  Session session(e.context, e.device, s.tape, std::array{s.y});
  for (Session* each : {&debug, &session}) {
    each->set(s.x, Values(6, 1));
    for (int i = 0; i < 4; i++) each->run();
  }
  CHECK(debug.replays() == 0);
  CHECK(session.replays() == 3);
  e.context.cancel = true;
  CHECK(error_of(ErrorKind::cancelled, [&] { session.run(); }) == "interrupted");
  CHECK(session.replays() == 3);
}

TEST_CASE("capture: where one fails, it is said once, and the training goes on kernel by kernel") {
  // A table that knows when it is captured, and takes memory in the first capture's nth kernel.
  struct Failing {
    static int& kernels_left() {
      static int count = 0;
      return count;
    }
    static bool& capturing() {
      static bool is = false;
      return is;
    }
    static Backend backend() {
      Backend b = simt_backend();
      b.begin_capture = [](Stream& stream) {
        simt_backend().begin_capture(stream);
        capturing() = true;
      };
      b.end_capture = [](Stream& stream) {
        capturing() = false;
        return simt_backend().end_capture(stream);
      };
      b.pointwise = [](Stream& stream, int functor, std::span<const View> x, const View& y,
                       double alpha, double beta) {
        if (capturing() && kernels_left()-- <= 1) simt_backend().allocate(stream, 64);
        simt_backend().pointwise(stream, functor, x, y, alpha, beta);
      };
      return b;
    }
  };
  DeviceTraining training;
  const Backend plain = without_capture(Precision::fp32), failing = Failing::backend();
  training.backend = &plain;
  const Values expected = training.run(2).values;
  training.backend = &failing;
  for (const bool feeder : {false, true})
    for (const int kernels : {1, 2}) {
      CAPTURE(feeder);
      CAPTURE(kernels);
      std::vector<std::string> notes;
      training.feeder = feeder;
      training.log = [&](const std::string& note) { notes.push_back(note); };
      Failing::kernels_left() = kernels;
      const Trained found = training.run(2);
      CHECK(Failing::kernels_left() <= 0);
      CHECK(found.values == expected);
      CHECK(found.replays == 0);
      REQUIRE(notes.size() == 2);  // one for each tape
      CHECK(has(notes[0], "a run can't be captured and goes on kernel by kernel"));
      CHECK(has(notes[0], "an allocation: not permitted when the stream is capturing"));
    }
}

TEST_CASE("capture: what can't be captured is named, and the session can be asked") {
  Emulated e;
  e.backend.pointwise = [](Stream& stream, int functor, std::span<const View> x, const View& y,
                           double alpha, double beta) {
    simt_backend().pointwise(stream, functor, x, y, alpha, beta);
    simt_backend().synchronize(stream);
  };
  const Small s;
  std::string notes;
  Context context({0, [&](const std::string& note) { notes += note; }});
  Session session(context, e.device, s.tape, std::array{s.y});
  session.set(s.x, Values(6, 1));
  session.run();  // as it is written
  CHECK(session.captures());
  CHECK(notes.empty());
  for (int i = 0; i < 3; i++) {
    session.run();
    CHECK(session.read(s.y) == Values(6, 2));
  }
  CHECK(!session.captures());
  CHECK(session.replays() == 0);
  CAPTURE(notes);
  CHECK(has(notes, "'hidden'"));
  CHECK(has(notes, "a wait: not permitted when the stream is capturing"));
}

TEST_CASE("capture: a device that is lost in one is an error; so is a first run that fails") {
  Emulated e;
  static bool lost;
  lost = false;
  e.backend.synchronize = [](Stream& stream) {
    if (lost) device_error("cuda: the device is lost");
    simt_backend().synchronize(stream);
  };
  e.backend.pointwise = [](Stream& stream, int functor, std::span<const View> x, const View& y,
                           double alpha, double beta) {
    if (lost) device_error("cuda: a kernel failed");
    simt_backend().pointwise(stream, functor, x, y, alpha, beta);
  };
  const Small s;
  Session session(e.context, e.device, s.tape, std::array{s.y});
  session.set(s.x, Values(6, 1));
  lost = true;
  CHECK(has(error_of(ErrorKind::device, [&] { session.run(); }), "a kernel failed"));
  lost = false;
  session.run();  // not captured: nothing has run whole
  CHECK(session.replays() == 0);
  lost = true;
  CHECK(has(error_of(ErrorKind::device, [&] { session.run(); }), "the device is lost"));
  lost = false;
  CHECK(session.captures());
  session.run();
  CHECK(session.read(s.y) == Values(6, 2));
  CHECK(session.replays() == 1);
}

TEST_CASE("device errors: the call, the node and the device; later ones, at or before it") {
  Emulated now, later(simt::Timing::late);
  const Small s;
  const auto broken = [](Stream& stream, int, std::span<const View>, const View&, double, double) {
    simt::submit(cuda::queue_of(stream).stream,
                 [] { device_error("cuda: cudaLaunchKernel: cudaErrorIllegalAddress"); });
  };
  now.backend.pointwise = later.backend.pointwise = broken;
  const auto run = [&](Emulated& e, bool debug) {
    Session session(e.context, e.device, s.tape, std::array{s.y}, nullptr, nullptr,
                    {.debug = debug});
    session.set(s.x, Values(6, 1));
    return error_of(ErrorKind::device, [&] {
      session.run();
      session.read(s.y);
    });
  };
  CHECK(run(later, false) ==
        "simt, in add 'hidden' or before it: cuda: cudaLaunchKernel: cudaErrorIllegalAddress");
  CHECK(run(later, true) ==
        "simt, in relu 'hidden': cuda: cudaLaunchKernel: cudaErrorIllegalAddress");
  CHECK(has(run(now, false), "simt, in relu 'hidden' or before it: "));
}

TEST_CASE("out of memory: what was planned, and which batch fits") {
  struct Short {
    static void* allocate(Stream& stream, size_t bytes) {
      if (bytes > left()) device_error("cuda: cudaMalloc: out of memory");
      return simt_backend().allocate(stream, bytes);
    }
    static size_t& left() {
      static size_t bytes = 0;
      return bytes;
    }
    static MemoryInfo memory(Stream&) { return {left(), 16 << 20}; }
  };
  Emulated e;
  e.backend.allocate = Short::allocate;
  e.backend.memory = Short::memory;
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{16, 64, 64, 8}});  // 2 MiB
  const Val y = ops::relu(*tape, ops::add(*tape, x, x));
  Session session(e.context, e.device, tape, std::array{y});
  Short::left() = 4 << 20;
  session.set(x, Values(x ? 16 * 64 * 64 * 8 : 0, 1));
  Short::left() = 1 << 20;
  const std::string text = error_of(ErrorKind::device, [&] { session.run(); });
  CAPTURE(text);
  CHECK(has(text,
            "out of memory on simt: the run plans 2 MiB for activations and scratch, 2 MiB "
            "for its inputs"));
  CHECK(has(text, "1 MiB of 16 MiB are free"));
  CHECK(has(text, "a batch of about 8 instead of 16 fits"));
  CHECK(has(text, "cudaMalloc: out of memory"));
  Short::left() = 100;
  CHECK(has(error_of(ErrorKind::device, [&] { session.run(); }), "not even a batch of 1 fits"));
  Short::left() = 4 << 20;
  session.run();
  CHECK(session.read(y)[0] == 2);
}

TEST_CASE("capture: what depends on the model alone is no part of the graph, and kept beside it") {
  Emulated e;
  const auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{1, 1, 1, 3}});
  const Val w = ops::parameter(*tape, "w", {1, 1, 1, 3}, {}, true);
  const Val twice = ops::as_role(*tape, ops::affine(*tape, w, 2, 0), Role::activation);
  const Val y = ops::mul(*tape, x, twice);
  Model model(e.device, *tape, std::nullopt);
  model.write("w", Values{1, 2, 3});
  Session session(e.context, e.device, tape, std::array{y}, &model);
  REQUIRE(session.plan().once > 0);
  session.set(x, Values{1, 1, 1});
  for (int run = 0; run < 3; run++) session.run();
  CHECK(session.replays() == 2);
  CHECK(session.read(y) == Values{2, 4, 6});
  model.write("w", Values{0, 1, 0});
  session.run();
  CHECK(session.replays() == 3);
  CHECK(session.read(y) == Values{0, 2, 0});
}
