#include "model/classifier.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/context.h"
#include "kernels/error.h"
#include "model/polar_low.h"
#include "tests/support/array.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::test;

namespace {

struct Saved {
  TempFolder folder;
  std::string path = folder.path("model.safetensors");

  explicit Saved(Context& context) {
    ModelInfo info;
    info.network = model::polar_low({1, 3, {4, 8}, 0.5});
    info.preprocess = Preprocess::of_pictures(0, 16, 1);
    info.classes = {"a", "b", "c"};
    Tape tape;
    record(info.network, tape, ops::input(tape, "input", {Shape{1, 16, 16, 1}}), {});
    Model model(context.device("reference"), tape, 7);
    save_checkpoint(path, info, model);
  }
};

Array<uint8_t> pictures(const Shape& shape) {
  Array<uint8_t> array(shape);
  for (int64_t i = 0; i < shape.elements(); i++)
    array[i] = static_cast<uint8_t>(uniform_value(1, i, 0, 256));
  return array;
}

}  // namespace

TEST_CASE("a classifier predicts the centre of pictures from arrays of any size") {
  Context context;
  const Saved saved(context);
  model::Classifier classifier(context, saved.path, "reference");
  CHECK(classifier.info().classes == std::vector<std::string>{"a", "b", "c"});

  Array<uint8_t> large = pictures({2, 20, 24, 1});
  const model::Outputs both = classifier.predict(large.view());
  REQUIRE(both.logits.size() == 6);
  REQUIRE(both.probabilities.size() == 6);
  for (size_t n = 0; n < 2; n++)
    CHECK(both.probabilities[3 * n] + both.probabilities[3 * n + 1] +
              both.probabilities[3 * n + 2] ==
          doctest::Approx(1));

  Array<uint8_t> small({1, 16, 16, 1});
  for (int64_t y = 0; y < 16; y++)
    for (int64_t x = 0; x < 16; x++) small[y * 16 + x] = *large.view().at<uint8_t>(1, y + 2, x + 4);
  const model::Outputs one = classifier.predict(small.view());
  for (size_t k = 0; k < 3; k++)
    CHECK(one.logits[k] == doctest::Approx(both.logits[3 + k]).epsilon(1e-12));

  Array<float> floats({1, 16, 16, 1});
  for (int64_t i = 0; i < 256; i++) floats[i] = small[i];
  const model::Outputs same = classifier.predict(floats.view());
  CHECK(same.logits == one.logits);
  CHECK(classifier.predict(large.view()).logits == both.logits);
}

TEST_CASE("pictures that don't fit the model are refused with what it takes") {
  Context context;
  const Saved saved(context);
  model::Classifier classifier(context, saved.path, "reference");
  Array<uint8_t> colour = pictures({1, 16, 16, 3});
  CHECK_THROWS_WITH_AS(classifier.predict(colour.view()),
                       doctest::Contains("have 3 bands, the model"), Error);
  Array<uint8_t> tiny = pictures({1, 12, 16, 1});
  CHECK_THROWS_AS(classifier.predict(tiny.view()), Error);
  CHECK_THROWS_AS(model::Classifier(context, saved.folder.path("absent"), "cpu"), Error);
}
