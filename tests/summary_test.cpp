#include "model/summary.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "model/polar_low.h"
#include "model/tasks/classification.h"

using namespace fulmar;

namespace {

Device& reference() {
  static Device device(reference_backend(), Stream{});
  return device;
}

ModelInfo described(const Network& network, const Preprocess& preprocess,
                    const std::vector<std::string>& classes = {"neg", "pos"}) {
  return model::classifier_of(network, preprocess,
                              model::Classification(classes, classes.size() == 2 ? 1 : -1));
}

}  // namespace

TEST_CASE("the published network has the published parameters and arithmetic") {
  const model::Summary s = model::summarize(
      described(model::polar_low(), Preprocess::of_pictures(1536, 1024, 3)), 2, reference());
  CHECK(s.parameters() == 1260322);
  CHECK(s.statistics == 6128);
  CHECK(s.training_flops == doctest::Approx(1.88e9).epsilon(0.005));

  const auto layer = [&](const std::string& name) {
    return *std::find_if(s.layers.begin(), s.layers.end(),
                         [&](const model::LayerSummary& l) { return l.name == name; });
  };
  CHECK(layer("conv2d").trainable == 3 * 3 * 3 * 8 + 8);
  CHECK(layer("conv2d").flops == 2.0 * 512 * 512 * 3 * 3 * 3 * 8);
  CHECK(layer("conv2d").scope == "stem");
  CHECK(layer("separable_conv2d_5").flops == 2.0 * 128 * 128 * (9 * 32 + 32 * 32));
  CHECK(layer("batch_normalization").statistics == 16);
  CHECK(layer("activation_14").output == Shape{1, 8, 8, 512});
  CHECK(layer("dense").trainable == 2050);
  CHECK(layer("dense").op == "dense");
}

TEST_CASE("a crop that leaves a block fewer than 2x2 pixels to halve is found") {
  const auto layer_at = [](int64_t crop, const std::vector<int64_t>& widths) {
    const Network network = model::polar_low({1, 2, widths, 0.5});
    const model::Summary s =
        model::summarize(described(network, Preprocess::of_pictures(0, crop, 1)), 1, reference());
    const model::LayerSummary* layer = model::layer_without_pixels(network, s);
    return layer ? layer->name : "";
  };
  const std::vector<int64_t> seven{4, 4, 4, 4, 4, 4, 4};
  CHECK(layer_at(256, seven).empty());  // block 7 makes 1x1 of 2x2
  CHECK(layer_at(128, seven) == "max_pooling2d_6");
  CHECK(layer_at(100, seven) == "max_pooling2d_6");
  CHECK(layer_at(64, seven) == "max_pooling2d_5");
  CHECK(layer_at(8, {4, 4}).empty());
  CHECK(layer_at(4, {4, 4}) == "max_pooling2d_1");
}

TEST_CASE("memory: a training batch costs more than inference, and grows with the batch") {
  const Network network = model::polar_low({1, 3, {4, 8}, 0.5});
  const auto of_batch = [&](int64_t batch) {
    return model::summarize(described(network, Preprocess::of_pictures(40, 32, 1), {"a", "b", "c"}),
                            batch, reference());
  };
  const model::Summary two = of_batch(2), four = of_batch(4);
  CHECK(two.inference.activations == four.inference.activations);
  CHECK(two.training.activations > 2 * two.inference.activations);
  CHECK(four.training.activations > two.training.activations);
  CHECK(four.training.pictures > 4 * 40 * 40);
  CHECK(four.training.optimizer == two.training.optimizer);
  CHECK(two.training.optimizer >= 3 * sizeof(double) * static_cast<size_t>(two.trainable));
  CHECK(two.training.weights == sizeof(double) * static_cast<size_t>(two.parameters()));
  CHECK(two.inference.optimizer == 0);
}
