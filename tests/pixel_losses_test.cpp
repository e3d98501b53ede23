// The losses of pixels against PyTorch (goldens/README.md), on all CPU devices.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/session.h"
#include "model/tasks/segmentation.h"
#include "tests/support/error_of.h"
#include "tests/support/goldens.h"

using namespace fulmar;
using namespace fulmar::model;
using namespace fulmar::test;

namespace {

constexpr int64_t images = 2, height = 3, width = 5, classes = 3;

std::vector<uint8_t> golden_labels() {
  std::vector<uint8_t> labels;
  for (const double drawn : formula_uniform("labels/loss", images * height * width))
    labels.push_back(drawn < 0.25 ? 255 : static_cast<uint8_t>((drawn - 0.25) / 0.75 * classes));
  return labels;
}

struct Outcome {
  double loss = 0, weight = 0;
  std::vector<double> gradient, classes;  // of loss; the places that pixels are called
};

// The mean loss of a batch whose second sample counts half.
Outcome outcome(const std::string& device, const Segmentation& task,
                const std::vector<uint8_t>& labels) {
  Context context;
  auto tape = std::make_shared<Tape>();
  const Shape shape{images, height, width, task.channels()};
  const Val y = ops::input(*tape, "y", {shape});
  Target target;
  target.label = ops::input(*tape, "label", {{images, height, width, 1}, Role::index, DType::u8});
  target.weight = ops::input(*tape, "weight", {{images, 1, 1, 1}, Role::statistic, DType::f32});
  const Recorded recorded = task.record(*tape, y, target, {});
  const Val mean = ops::div_no_nan(*tape, recorded.loss_sum, recorded.loss_weight);
  const Val gradient = grad(*tape, mean, y);
  const Val called = recorded.results.at(0).second;
  Session session(context, context.device(device), tape,
                  std::vector<Val>{mean, recorded.loss_weight, gradient, called});
  std::vector<double> values;
  for (const double u : formula_uniform("loss/logits", shape.elements()))
    values.push_back(4 * (2 * u - 1));
  session.set(y, values);
  session.set_bytes(target.label, labels.data(), labels.size());
  session.set(target.weight, std::vector<double>{1, 0.5});
  session.run();
  return {session.read(mean)[0], session.read(recorded.loss_weight)[0], session.read(gradient),
          session.read(called)};
}

Segmentation task_of(const std::string& kind, bool weighted) {
  PixelLoss loss;
  loss.kind = kind;
  loss.gamma = 3;
  loss.alpha = 0.3, loss.beta = 0.7;
  if (weighted) loss.class_weights = {1, 3, 0.5};
  return Segmentation({"a", "b", "c"}, 255, {0, 2, 5}, loss);
}

}  // namespace

TEST_CASE("losses of pixels and their gradients are PyTorch's; without a label nothing is lost") {
  const Golden golden("pixel_losses_torch");
  const std::vector<uint8_t> labels = golden_labels(), none(labels.size(), 255);
  for (const char* kind : {"cross-entropy", "focal", "dice", "tversky", "mse", "mae"})
    for (const bool weighted : {false, true}) {
      const std::string name = std::string(kind) + (weighted ? "/weighted" : "/plain");
      CAPTURE(name);
      const Segmentation task = task_of(kind, weighted);
      CHECK(tasks().at("segmentation")(task.to_json())->to_json() == task.to_json());
      for (const char* device : {"reference", "cpu"}) {
        CAPTURE(device);
        const double bound = std::string(device) == "cpu" ? 2e-6 : 1e-12;
        const Outcome found = outcome(device, task, labels);
        CHECK(found.loss == doctest::Approx(golden.value(name + "/loss")).epsilon(bound));
        CHECK(difference(found.gradient, golden.values(name + "/gradient")) <= bound);
        const Outcome nothing = outcome(device, task, none);
        CHECK(nothing.loss == 0);
        CHECK(nothing.weight == 0);
        CHECK(golden.value(name + "/nothing/loss") == 0);
        CHECK(nothing.gradient == golden.values(name + "/nothing/gradient"));
      }
    }
}

TEST_CASE("losses of numbers call a pixel the class whose own number is nearest") {
  const Segmentation task = task_of("mse", false);
  CHECK(task.channels() == 1);
  const Outcome found = outcome("cpu", task, golden_labels());
  const std::vector<double> drawn = formula_uniform("loss/logits", images * height * width);
  for (size_t i = 0; i < drawn.size(); i++) {
    const double y = 4 * (2 * drawn[i] - 1);
    CHECK(found.classes[i] == (y < 1 ? 0 : y < 3.5 ? 1 : 2));
  }
  const auto refused = [](const PixelLoss& loss) {
    return error_of(ErrorKind::usage, [&] { Segmentation({"a", "b"}, 255, {}, loss); });
  };
  PixelLoss loss;
  loss.kind = "tversky";
  loss.alpha = loss.beta = 0;
  CHECK(refused(loss).find("needs an alpha or a beta") != std::string::npos);
  loss.alpha = 11;
  CHECK(refused(loss).find("an alpha and a beta of 0 to 10") != std::string::npos);
}
