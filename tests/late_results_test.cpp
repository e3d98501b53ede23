// A training step on a device that works while the host goes on: the emulator of CUDA's kernels.
#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "model/running_statistics.h"
#include "tests/support/device_training.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::test;

namespace {

// What the host asked of the device.
struct Calls {
  int64_t waits = 0, kernels = 0, replays = 0;
};
Calls& calls() {
  static Calls counted;
  return counted;
}

// Counts what makes the host wait for all work, and kernels that are called one by one.
Backend counting() {
  Backend b = simt_backend();
  b.synchronize = [](Stream& s) {
    calls().waits++;
    simt_backend().synchronize(s);
  };
  b.copy_in = [](Stream& s, void* device, const void* host, size_t bytes) {
    calls().waits++;
    simt_backend().copy_in(s, device, host, bytes);
  };
  b.copy_out = [](Stream& s, void* host, const void* device, size_t bytes) {
    calls().waits++;
    simt_backend().copy_out(s, host, device, bytes);
  };
  b.replay = [](Stream& s, void* graph) {
    calls().replays++;
    simt_backend().replay(s, graph);
  };
  b.conv2d = [](Stream& s, const View& x, const View& w, const View& bias, const View& y,
                const Window& window, int64_t groups, void* work) {
    calls().kernels++;
    simt_backend().conv2d(s, x, w, bias, y, window, groups, work);
  };
  b.adamw = [](Stream& s, const View& g, const View& weight, const View& nonfinite,
               const View& theta, const View& m, const View& v, const Segment* segments,
               int64_t count, const StepState* state, const AdamW& how) {
    calls().kernels++;
    simt_backend().adamw(s, g, weight, nonfinite, theta, m, v, segments, count, state, how);
  };
  return b;
}

struct Training {
  explicit Training(const Backend& backend, simt::Timing timing)
      : owner(timing), device(backend, owner.stream()) {}
  simt::StreamOwner owner;
  Device device;
  Context context;
  NoiseSource source;
  ModelInfo info =
      model::classifier_of(model::polar_low({NoiseSource::bands, 2, {4, 8}, 0.5}),
                           Preprocess::of_pictures(0, NoiseSource::crop, NoiseSource::bands),
                           model::Classification({"a", "b"}, 1));
  Model model = model::new_model(info, device, 5);
  model::TrainStep step{context, device, info, model::heads_of(info), model, source.tensors(), {}};
  Feeder feeder{device, source};
  StepState state;

  const model::TrainStep::Result* run() {
    state.learning_rate = 0.01;
    const Batch* batch = feeder.next();
    if (!batch) {
      feeder.start(0, 0);
      batch = feeder.next();
    }
    const auto* result = step.run(feeder, *batch, state, true);
    state.step++;
    state.draw++;
    return result;
  }
};

}  // namespace

TEST_CASE("a step of one micro-batch is one graph, and the host waits for no work but the last's") {
  for (const simt::Timing timing : {simt::Timing::early, simt::Timing::late}) {
    const Backend backend = counting();
    Training t(backend, timing);
    t.feeder.start(0, 0);
    CHECK(!t.run());  // what it gave is told with the next
    // Batches lie in two places in turn: each has run kernel by kernel and then been captured.
    for (int i = 1; i < 4; i++) CHECK(t.run());
    for (int i = 0; i < 5; i++) {
      calls() = {};
      REQUIRE(t.run());
      CHECK(calls().replays == 1);
      CHECK(calls().kernels == 0);
      CHECK(calls().waits == 0);
    }
    CHECK(t.step.finish());
    CHECK(!t.step.finish());
  }
}

TEST_CASE("a divergence that is told one run late has changed nothing, nor has the run after it") {
  for (const simt::Timing timing : {simt::Timing::early, simt::Timing::late}) {
    Training t(simt_backend(), timing);
    t.feeder.start(0, 0);
    t.run();
    t.run();
    std::vector<double> gamma = t.model.read("batch_normalization/gamma");
    const std::vector<double> good = gamma;
    const model::KeptStatistics statistics(t.model);
    gamma[0] = std::numeric_limits<double>::quiet_NaN();
    t.model.write("batch_normalization/gamma", gamma);
    const std::vector<double> before = t.model.read("dense/kernel");
    const std::vector<double> moments = t.model.read("/adamw/moment1");
    CHECK(t.run());  // the last good one's
    const std::string message = error_of(ErrorKind::diverged, [&] { t.run(); });
    // The first value that is kept of those that gamma spoils: it is applied on load.
    CHECK(message.find("separable 'separable_conv2d' (block 1)") == 0);
    CHECK(t.model.read("dense/kernel") == before);
    CHECK(t.model.read("/adamw/moment1") == moments);
    // Mended, the training goes on.
    t.model.write("batch_normalization/gamma", good);
    statistics.restore();
    t.step.finish();
    t.run();
    CHECK(t.step.finish());
    CHECK(t.model.read("dense/kernel") != before);
  }
}
