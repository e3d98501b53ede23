#include "model/classifier.h"
#include "model/tasks/classification.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "engine/context.h"
#include "kernels/error.h"
#include "model/polar_low.h"
#include "tests/support/array.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::test;

namespace {

struct Saved {
  TempFolder folder;
  std::string path = folder.path("model.safetensors");

  explicit Saved(Context& context, DType type = DType::u8) {
    Preprocess preprocess = Preprocess::of_pictures(0, 16, 1);
    preprocess.type = type;
    const ModelInfo info = model::classifier_of(model::polar_low({1, 3, {4, 8}, 0.5}), preprocess,
                                                model::Classification({"a", "b", "c"}));
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
  CHECK(classifier.task().classes == std::vector<std::string>{"a", "b", "c"});

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

TEST_CASE("a null pointer, or pictures with gaps, are refused, prepared shape or not") {
  Context context;
  const Saved saved(context);
  model::Classifier classifier(context, saved.path, "reference");
  Array<uint8_t> fine = pictures({1, 16, 16, 1}), wide = pictures({1, 16, 17, 1});
  const View null = view_of(nullptr, {1, 16, 16, 1}, DType::u8);
  View gaps = wide.view();
  gaps.shape = fine.view().shape;
  for (int time = 0; time < 2; time++) {
    CAPTURE(time);
    CHECK(error_of(ErrorKind::usage, [&] { classifier.predict(null); }) ==
          "pictures [1,16,16,1] given by a null pointer");
    CHECK(error_of(ErrorKind::usage, [&] { classifier.predict({}); }) ==
          "pictures [] given, contiguous [N,H,W,bands] expected");
    CHECK(error_of(ErrorKind::usage, [&] { classifier.predict(gaps); }) ==
          "pictures [1,16,16,1] given, contiguous [N,H,W,bands] expected");
    classifier.predict(fine.view());
  }
}

TEST_CASE("arrays are of the type that the model was trained on, or f32 in the same units") {
  Context context;
  std::vector<double> memory(256);
  for (const DType trained : {DType::u8, DType::u16, DType::f32}) {
    const Saved saved(context, trained);
    model::Classifier classifier(context, saved.path, "reference");
    for (const DType given :
         {DType::u8, DType::u16, DType::f32, DType::f64, DType::i32, DType::bf16}) {
      CAPTURE(name_of(trained));
      CAPTURE(name_of(given));
      const std::string said = error_of(ErrorKind::usage, [&] {
        classifier.predict(view_of(memory.data(), {1, 16, 16, 1}, given));
      });
      if (given == trained || given == DType::f32)
        CHECK(said == "no error");
      else
        CHECK(said == std::string("pictures of ") + name_of(given) + " given, the model " +
                          saved.path + " was trained on " + name_of(trained) +
                          "; give it that, or f32 in the same units");
    }
  }
}

TEST_CASE("a classifier that two threads use at once says so, and answers none wrongly") {
  Context context;
  const Saved saved(context);
  model::Classifier classifier(context, saved.path, "cpu");
  Array<uint8_t> a = pictures({2, 16, 16, 1}), b = pictures({1, 20, 24, 1});
  const auto logits_a = classifier.predict(a.view()).logits;
  const auto logits_b = classifier.predict(b.view()).logits;
  std::atomic<int> refused{0}, wrong{0};
  const auto use = [&](const View& view, const std::vector<double>& expected) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (refused == 0 && std::chrono::steady_clock::now() < end) {
      try {
        if (classifier.predict(view).logits != expected) wrong++;
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::usage ||
            !has(error.what(), "a Classifier was used by two threads at once"))
          wrong++;
        refused++;
      }
    }
  };
  std::thread other([&] { use(a.view(), logits_a); });
  use(b.view(), logits_b);
  other.join();
  CHECK(refused > 0);
  CHECK(wrong == 0);
  CHECK(classifier.predict(a.view()).logits == logits_a);  // one after the other is fine
}
