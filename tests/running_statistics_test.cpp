#include "model/running_statistics.h"
#include "model/tasks/classification.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kernels/cuda/emulated.h"
#include "model/observe.h"
#include "tests/support/noise_source.h"

using namespace fulmar;
using namespace fulmar::model;
using fulmar::test::NoiseSource;

namespace {

// Two normalised layers, the second behind dropout.
Network network() {
  Network n;
  n.add("input", "input", {});
  n.add("conv2d", "conv", {"input"}, {{"filters", int64_t{4}}, {"kernel", int64_t{3}}});
  n.add("batch_normalization", "bn", {"conv"});
  n.add("activation", "relu", {"bn"});
  n.add("dropout", "dropout", {"relu"}, {{"rate", 0.5}});
  n.add("conv2d", "conv_1", {"dropout"}, {{"filters", int64_t{3}}, {"kernel", int64_t{1}}});
  n.add("batch_normalization", "bn_1", {"conv_1"}, {{"momentum", 0.5}});
  n.add("global_average_pooling2d", "pool", {"bn_1"});
  n.add("dense", "dense", {"pool"}, {{"units", int64_t{2}}});
  return n;
}

ModelInfo described() {
  return classifier_of(network(), Preprocess::of_pictures(0, NoiseSource::crop, NoiseSource::bands),
                       Classification({"a", "b"}, 1));
}

struct Measured {
  std::vector<double> mean, variance, mean_1, variance_1;
};

Measured measure(Device& device, bool unbiased, int64_t batches) {
  Context context({1, {}});
  NoiseSource source;
  const ModelInfo info = described();
  Model model = new_model(info, device, 5);
  Feeder feeder(device, source);
  StatisticsEstimator estimator(context, device, info, model, source.tensors(), unbiased);
  estimator.estimate(feeder, 1, batches);
  return {model.read("bn/moving_mean"), model.read("bn/moving_variance"),
          model.read("bn_1/moving_mean"), model.read("bn_1/moving_variance")};
}

// Of all values of each channel in `batches` batches, each value read from the convolution.
Measured expected(Device& device, int64_t batches) {
  Context context({1, {}});
  NoiseSource source;
  const ModelInfo info = described();
  Model model = new_model(info, device, 5);
  Program p = record_program(info, {}, source.tensors(), {Mode::eval});
  const Val conv = p.tape->find("conv");
  Session session(context, device, p.tape, std::vector{conv}, &model);
  std::vector<double> all;
  source.start(1, 0);
  for (int64_t i = 0; i < batches; i++) {
    set_inputs(session, p, *source.next());
    session.run();
    const std::vector<double> values = session.read(conv);
    all.insert(all.end(), values.begin(), values.end());
  }
  const size_t values = all.size() / 4;
  const auto n = static_cast<double>(values);
  Measured m;
  for (size_t c = 0; c < 4; c++) {
    double mean = 0, squares = 0;
    for (size_t i = c; i < all.size(); i += 4) mean += all[i] / n;
    for (size_t i = c; i < all.size(); i += 4) squares += (all[i] - mean) * (all[i] - mean);
    m.mean.push_back(mean);
    m.variance.push_back(squares / (n - 1));
  }
  return m;
}

void check_near(const std::vector<double>& a, const std::vector<double>& b, double bound) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); i++) CHECK(std::abs(a[i] - b[i]) <= bound * std::abs(b[i]));
}

}  // namespace

TEST_CASE("measured statistics are those of all values of the batches together") {
  Context context({1, {}});
  Device& device = context.device("reference");
  for (const int64_t batches : {1, 3, 4}) {
    CAPTURE(batches);
    const Measured m = measure(device, true, batches), all = expected(device, batches);
    check_near(m.mean, all.mean, 1e-9);
    check_near(m.variance, all.variance, 1e-9);
    const auto n = static_cast<double>(batches * NoiseSource::batch * 16 * 16);
    const Measured biased = measure(device, false, batches);
    for (size_t c = 0; c < 4; c++)
      CHECK(m.variance[c] / biased.variance[c] == doctest::Approx(n / (n - 1)).epsilon(1e-10));
    // No dropout is drawn: a second measurement is the same.
    CHECK(measure(device, true, batches).variance_1 == m.variance_1);
  }
}

TEST_CASE("what was measured can be taken back") {
  Context context({1, {}});
  Device& device = context.device("cpu");
  NoiseSource source;
  const ModelInfo info = described();
  Model model = new_model(info, device, 5);
  const KeptStatistics before(model);
  Feeder feeder(device, source);
  StatisticsEstimator(context, device, info, model, source.tensors(), true).estimate(feeder, 0, 2);
  CHECK(model.read("bn/moving_variance") != std::vector<double>(4, 1));
  before.restore();
  CHECK(model.read("bn/moving_variance") == std::vector<double>(4, 1));
  CHECK(model.read("bn_1/moving_mean") == std::vector<double>(3, 0));
}

TEST_CASE("every device measures the same statistics") {
  Context context({1, {}});
  const Measured exact = measure(context.device("reference"), true, 4);
  const simt::StreamOwner owner;
  Device simt(simt_backend(), owner.stream());
  for (Device* device : {&context.device("cpu"), &simt}) {
    CAPTURE(device->name());
    const Measured m = measure(*device, true, 4);
    check_near(m.variance, exact.variance, 1e-4);
    check_near(m.variance_1, exact.variance_1, 1e-4);
    for (size_t c = 0; c < m.mean_1.size(); c++)
      CHECK(std::abs(m.mean_1[c] - exact.mean_1[c]) < 1e-4 * std::sqrt(exact.variance_1[c]));
  }
}
