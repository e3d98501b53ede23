#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <functional>

#include "kernels/error.h"
#include "model/evaluate.h"
#include "model/observe.h"
#include "model/polar_low.h"
#include "model/tasks/classification.h"
#include "model/tasks/multilabel.h"
#include "model/tasks/regression.h"
#include "model/tasks/segmentation.h"
#include "tests/support/array.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::model;
using namespace fulmar::test;

namespace {

using Values = std::vector<double>;

// A task on an output that is given, as it runs on the float64 device.
struct Recording {
  Recording(const Task& task, const Shape& output, const TensorSpec& label, bool weighted,
            const LossOptions& options = {}) {
    y = ops::input(*tape, "y", {output});
    Target target;
    const bool raster = label.name == "raster";
    const Role role = raster                     ? Role::source
                      : label.type == DType::f32 ? Role::statistic
                                                 : Role::index;
    target.label = t = ops::input(*tape, "label", {label.shape, role, label.type});
    if (raster)
      target.samples = places =
          ops::input(*tape, "label/samples",
                     {{output.images(), int64_t{sizeof(WarpSample)}}, Role::source, DType::u8});
    if (weighted)
      target.weight = w =
          ops::input(*tape, "weight", {{output.images(), 1, 1, 1}, Role::statistic, DType::f32});
    recorded = task.record(*tape, y, target, options);
    gradient = grad(*tape, recorded.loss_sum, y);
  }

  void run(Context& context, const std::function<void(Session&)>& set) {
    std::vector<Val> outputs = recorded.watched;
    outputs.insert(outputs.end(), {recorded.loss_sum, recorded.loss_weight, recorded.sample_loss,
                                   recorded.sample_weight, gradient});
    for (const auto& result : recorded.results) outputs.push_back(result.second);
    Session session(context, context.device("reference"), tape, outputs);
    set(session);
    session.run();
    loss = session.read(recorded.loss_sum)[0];
    weight = session.read(recorded.loss_weight)[0];
    sample_loss = session.read(recorded.sample_loss);
    dy = session.read(gradient);
    for (const Val value : recorded.watched) watched.push_back(session.read(value));
    for (const auto& result : recorded.results) results.push_back(session.read(result.second));
  }

  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  Val y, t, places, w, gradient;
  Recorded recorded;
  double loss = 0, weight = 0;
  Values sample_loss, dy;
  std::vector<Values> watched, results;
};

double value_of(const NamedValues& values, const std::string& name) {
  for (const auto& [key, value] : values)
    if (key == name) return value;
  FAIL(name);
  return 0;
}

ModelInfo described() {
  return classifier_of(polar_low({1, 2, {4, 8}, 0.5}), Preprocess::of_pictures(0, 16, 1),
                       Classification({"neg", "pos"}, 1, 0.25));
}

std::string refusal(const std::function<void()>& work) { return error_of(ErrorKind::usage, work); }

}  // namespace

TEST_CASE(
    "regression: loss, gradient and metrics by hand; a sample of weight 0 counts for nothing") {
  Context context;
  const Regression task;
  Recording r(task, {3, 1, 1, 2}, {"", DType::f32, {3, 1, 1, 2}}, true);
  r.run(context, [&](Session& s) {
    s.set(r.y, Values{1, 2, 3, 5, 7, 9});
    s.set(r.t, Values{1, 1, 5, 4, 1e6, -1e6});
    s.set(r.w, Values{1, 2, 0});
  });
  CHECK(r.loss == 1 * 1 + 2 * (4 + 1));
  CHECK(r.weight == 2 + 4);
  CHECK(r.sample_loss == Values{1, 10, 0});
  CHECK(r.dy == Values{0, 2, -8, 4, 0, 0});

  const std::unique_ptr<Meter> meter = task.meter();
  CHECK(std::isnan(value_of(meter->metrics(), "rmse")));
  meter->add({3, {}, r.watched});
  const NamedValues metrics = meter->metrics();
  CHECK(value_of(metrics, "mae") == doctest::Approx((1 + 2 * 3) / 6.0));
  CHECK(value_of(metrics, "rmse") == doctest::Approx(std::sqrt(11 / 6.0)));
  // Labels 1 1 5 5 4 4: mean 10/3, Σ(t - mean)² = 84 - 400/6.
  CHECK(value_of(metrics, "r2") == doctest::Approx(1 - 11 / (84 - 400 / 6.0)));
}

TEST_CASE("multilabel: the loss is the binary cross-entropy of every label") {
  Context context;
  const Multilabel task({"a", "b", "c"});
  Recording r(task, {2, 1, 1, 3}, {"", DType::f32, {2, 1, 1, 3}}, false);
  const Values x{0.5, -1, 2, 0, 3, -40}, t{1, 0, 1, 0, 0, 1};
  r.run(context, [&](Session& s) {
    s.set(r.y, x);
    s.set(r.t, t);
  });
  double expected = 0;
  for (size_t i = 0; i < x.size(); i++) {
    const double p = 1 / (1 + std::exp(-x[i]));
    expected -= t[i] == 1 ? std::log(p) : std::log1p(-p);
    CHECK(r.dy[i] == doctest::Approx(p - t[i]));
    CHECK(r.results[0][i] == doctest::Approx(p));
  }
  CHECK(r.loss == doctest::Approx(expected));
  CHECK(r.weight == 6);

  const std::unique_ptr<Meter> meter = task.meter();
  const std::vector<float> truths(t.begin(), t.end());
  const View labels = view_of(const_cast<float*>(truths.data()), {2, 1, 1, 3}, DType::f32);
  meter->add({2, labels, r.watched});
  // Called: 1 0 1, 1 1 0. Of a one of two is right, of b none, of c one is missed.
  CHECK(value_of(meter->metrics(), "accuracy") == doctest::Approx(3 / 6.0));
  CHECK(value_of(meter->metrics(), "macro_f1") == doctest::Approx((2 / 3.0 + 0 + 2 / 3.0) / 3));
  CHECK(value_of(meter->metrics(), "map") == doctest::Approx(1));  // of a and c; b has no positive
  TrainingState state;
  meter->store(state, "p/");
  const std::unique_ptr<Meter> again = task.meter();
  again->restore(state, "p/");
  CHECK(again->metrics() == meter->metrics());
}

TEST_CASE("segmentation: pixels without a label, and samples of weight 0, count for nothing") {
  Context context;
  const Segmentation task({"sea", "ice", "land"});
  Recording r(task, {2, 1, 4, 3}, {"", DType::u8, {2, 1, 4, 1}}, true);
  const Values logits{5, 0, 0, 0, 5, 0, 0, 0, 5, 5, 0, 0,  //
                      5, 0, 0, 5, 0, 0, 5, 0, 0, 5, 0, 0};
  const std::array<uint8_t, 8> labels{0, 1, 0, 255, 2, 2, 2, 2};
  r.run(context, [&](Session& s) {
    s.set(r.y, logits);
    s.set_bytes(r.t, labels.data(), labels.size());
    s.set(r.w, Values{1, 0});
  });
  CHECK(r.results[0] == Values{0, 1, 2, 0, 0, 0, 0, 0});
  CHECK(r.watched[0] == Values{1, 0, 1, 0, 1, 0, 0, 0, 0});
  CHECK(r.weight == 3);
  const double right = std::log(1 + 2 * std::exp(-5)), wrong = right + 5;
  CHECK(r.loss == doctest::Approx(2 * right + wrong));
  for (size_t i = 9; i < r.dy.size(); i++) CHECK(r.dy[i] == 0);

  const std::unique_ptr<Meter> meter = task.meter();
  CHECK(std::isnan(value_of(meter->metrics(), "miou")));
  meter->add({1, {}, r.watched});
  CHECK(value_of(meter->metrics(), "accuracy") == doctest::Approx(2 / 3.0));
  // sea: 1 of 2 labelled or called; ice: 1 of 1; land: 0 of 1
  CHECK(value_of(meter->metrics(), "miou") == doctest::Approx((0.5 + 1 + 0) / 3));
  CHECK(value_of(meter->metrics(), "macro_f1") == doctest::Approx((2 / 3.0 + 1 + 0) / 3));
}

TEST_CASE(
    "segmentation: focal and Dice's loss and class weights; without a label nothing is lost") {
  Context context;
  const std::vector<std::string> classes{"sea", "ice", "land"};
  const Values logits{1, 0, -1, 0.5, 2, 0, 0, 0, 3, 800, -800, 0, -2, 1, 1, 4, 0, 0};
  const std::array<uint8_t, 6> labels{0, 1, 0, 0, 255, 2};
  // By hand, as model/tasks/segmentation.h has the formulas.
  const auto by_hand = [&](const PixelLoss& how, const Values& x) {
    double sum = 0;
    for (size_t i = 0; i < labels.size(); i++) {
      if (labels[i] == 255) continue;
      const double most = std::max({x[3 * i], x[3 * i + 1], x[3 * i + 2]});
      double all = 0;
      for (size_t k = 0; k < 3; k++) all += std::exp(x[3 * i + k] - most);
      const double surprise = std::log(all) + most - x[3 * i + labels[i]];
      const double missed = -std::expm1(-surprise);
      const double c = how.class_weights.empty() ? 1 : how.class_weights[labels[i]];
      sum += c * (how.kind == "dice"    ? missed
                  : how.kind == "focal" ? std::pow(missed, how.gamma) * surprise
                                        : surprise);
    }
    return sum;
  };
  for (const char* kind : {"cross-entropy", "focal", "dice"})
    for (const bool weighted : {false, true}) {
      CAPTURE(kind);
      CAPTURE(weighted);
      const PixelLoss how{kind, 3, weighted ? Values{1, 3, 0.5} : Values{}};
      const Segmentation task(classes, 255, {}, how);
      CHECK(tasks().at("segmentation")(task.to_json())->to_json() == task.to_json());
      const auto run = [&](const std::array<uint8_t, 6>& of) {
        Recording r(task, {1, 2, 3, 3}, {"", DType::u8, {1, 2, 3, 1}}, false);
        r.run(context, [&](Session& session) {
          session.set(r.y, logits);
          session.set_bytes(r.t, of.data(), of.size());
        });
        return r;
      };
      const Recording r = run(labels);
      CHECK(r.loss == doctest::Approx(by_hand(how, logits)).epsilon(1e-12));
      CHECK(r.weight == (weighted ? 1 * 3 + 3 + 0.5 : 5));
      for (size_t i = 0; i < logits.size(); i++) {
        Values up = logits, down = logits;
        up[i] += 1e-5;
        down[i] -= 1e-5;
        CHECK(r.dy[i] ==
              doctest::Approx((by_hand(how, up) - by_hand(how, down)) / 2e-5).epsilon(1e-5));
      }
      const Recording none = run({255, 255, 255, 255, 255, 255});
      CHECK(none.loss == 0);
      CHECK(none.weight == 0);
      CHECK(none.dy == Values(18, 0));
    }
  // A class of weight 0 teaches nothing, and is counted all the same.
  const Segmentation some(classes, 255, {}, {"focal", 2, {1, 0, 1}});
  Recording r(some, {1, 2, 3, 3}, {"", DType::u8, {1, 2, 3, 1}}, false);
  r.run(context, [&](Session& session) {
    session.set(r.y, logits);
    session.set_bytes(r.t, labels.data(), labels.size());
  });
  CHECK(r.weight == 4);
  CHECK(r.watched[0] == Values{2, 0, 1, 0, 1, 0, 1, 0, 0});
  CHECK(refusal([&] {
          Segmentation(classes, 255, {}, {"hinge", 2, {}});
        }).find("none of cross-entropy, focal, dice, tversky") != std::string::npos);
  CHECK(refusal([&] {
          Segmentation(classes, 255, {}, {"focal", 0, {}});
        }).find("a gamma of 1 to 10") != std::string::npos);
  CHECK(refusal([&] {
          Segmentation(classes, 255, {}, {"dice", 2, {1, 2}});
        }).find("2 class weights for 3") != std::string::npos);
  CHECK(refusal([&] {
          Recording(some, {1, 2, 3, 3}, {"", DType::u8, {1, 2, 3, 1}}, false, {0.1});
        }).find("label smoothing goes with cross-entropy") != std::string::npos);
}

TEST_CASE("segmentation: a label raster is read through its own map, and is unlabelled outside") {
  Context context;
  const Segmentation task({"sea", "ice"}, 9);
  Recording r(task, {1, 2, 2, 2}, {"raster", DType::u8, {1, 3, 4, 1}}, false);
  // Pixel (row, column) of the output lies at (row, column + 1) of a raster of 2x2 pixels.
  WarpSample place;
  place.source_height = place.source_width = 2;
  place.map.a = {1, 0, 1, 0, 1, 0};
  const std::array<uint8_t, 12> raster{0, 1, 7, 7, 1, 0, 7, 7, 7, 7, 7, 7};
  r.run(context, [&](Session& s) {
    s.set(r.y, Values{1, 0, 1, 0, 1, 0, 1, 0});
    s.set_bytes(r.t, raster.data(), raster.size());
    s.set_bytes(r.places, &place, sizeof place);
  });
  CHECK(r.weight == 2);  // the left column; the right one is outside
  CHECK(r.watched[0] == Values{1, 0, 1, 0});
}

TEST_CASE("a description keeps its heads; one classification has the entries that files had") {
  ModelInfo info = described();
  CHECK(info.task == std::map<std::string, std::string>{{"classes", R"(["neg","pos"])"},
                                                        {"positive_class", "1"},
                                                        {"threshold", "0.25"}});
  CHECK(classification_of(info).threshold == 0.25);
  const Heads heads = heads_of(info);
  const auto other = heads[0].task->with({{"threshold", 0.75}});
  CHECK(other->settings() == NamedValues{{"threshold", 0.75}});

  set_heads(info, {{std::make_shared<Multilabel>(std::vector<std::string>{"a", "b"}), "dense"}});
  CHECK(info.task.size() == 1);
  CHECK(heads_of(info)[0].task->to_json() == R"({"labels":["a","b"]})");
  CHECK(refusal([&] { classification_of(info); }) == "it is no classifier (dense: multilabel)");
}

TEST_CASE("what can't be a task is refused with the reason") {
  CHECK(refusal([] { Classification({"a"}, -1); }).find("fewer than two classes") !=
        std::string::npos);
  CHECK(refusal([] {
          Classification({"a", "b"}, -1);
        }).find("a positive class goes with two") != std::string::npos);
  CHECK(refusal([] {
          Classification({"a", "b"}, 1, 1.5);
        }).find("threshold is outside") != std::string::npos);
  CHECK(refusal([] {
          Segmentation({"a", "b"}, 1);
        }).find("must be above the classes") != std::string::npos);
  CHECK(refusal([] { Multilabel({}); }).find("names no label") != std::string::npos);

  ModelInfo info = described();
  const auto task = std::make_shared<Regression>();
  CHECK(refusal([&] {
          set_heads(info, {{task, "head"}});
        }).find("no output of its network") != std::string::npos);
  CHECK(refusal([&] {
          set_heads(info, {{task, "dense"}, {task, "dense"}});
        }).find("has two heads") != std::string::npos);
  const auto with = [&](const char* heads) {
    info.task = {{"heads", heads}};
    return refusal([&] { heads_of(info); });
  };
  CHECK(with("[{]").find("not the JSON expected") != std::string::npos);
  CHECK(with(R"([{"task": "regression"}])").find("not the JSON expected") != std::string::npos);
  CHECK(with(R"([{"task": "poetry", "output": "dense", "label": "label", "weight": "weight",
                  "loss_weight": 1, "settings": {}}])")
            .find("'poetry', which this version of fulmar doesn't know") != std::string::npos);
  info.task = {{"classes", "[\"a\", \"b\"]"}};
  CHECK(refusal([&] { heads_of(info); }) == "it has no 'positive_class'");

  Tape tape;
  const Val y = ops::input(tape, "y", {{2, 1, 1, 3}});
  const Val t = ops::input(tape, "t", {{2, 1, 1, 2}, Role::statistic, DType::f32});
  CHECK(refusal([&] {
          Regression().record(tape, y, {t, {}, {}}, {});
        }).find("labels of a regression must be f32 [2,1,1,3]") != std::string::npos);
  CHECK(refusal([&] {
          Multilabel({"a", "b"}).record(tape, y, {t, {}, {}}, {});
        }).find("gives [2,1,1,3] for 2 labels") != std::string::npos);
  CHECK(refusal([&] {
          Segmentation({"a", "b"}).record(tape, y, {}, {});
        }).find("gives [2,1,1,3] for 2 classes of pixels") != std::string::npos);
}
