// A network that no file of the trainer knows: two inputs on two grids, a layer that is used twice,
// one output that calls pixels and one that gives a number.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "kernels/random.h"
#include "model/metrics_csv.h"
#include "model/observe.h"
#include "model/tasks/regression.h"
#include "model/tasks/segmentation.h"
#include "model/trainer.h"
#include "tests/support/array.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::model;
using namespace fulmar::test;

namespace {

constexpr int64_t side = 12, grid = 4, cells = side / grid, count = 4, samples = 18, batches = 5;

Network two_headed() {
  Network n;
  n.add("input", "picture", {}, {{"channels", int64_t{2}}});
  n.add("input", "coarse", {}, {{"channels", int64_t{3}}, {"grid", grid}});
  n.add("conv2d", "lift", {"picture"}, {{"filters", int64_t{4}}});
  n.add("conv2d", "shared", {"lift"}, {{"filters", int64_t{4}}, {"kernel", int64_t{3}}});
  n.add("activation", "relu", {"shared"});
  Call again{"conv2d", "again", {"relu"}, {{"filters", int64_t{4}}, {"kernel", int64_t{3}}},
             "",       "shared"};
  n.add(again);
  n.add("resize", "fine", {"coarse", "picture"});
  n.add("concatenate", "all", {"again", "relu", "fine"});
  n.add("conv2d", "surface", {"all"}, {{"filters", int64_t{3}}});
  n.add("global_average_pooling2d", "pool", {"all"});
  n.add("dense", "height", {"pool"}, {{"units", int64_t{1}}});
  n.set_outputs({"surface", "height"});
  return n;
}

ModelInfo described() {
  ModelInfo info;
  info.network = two_headed();
  info.preprocess["picture"] = Preprocess::of_pictures(0, side, 2);
  set_heads(info, {{std::make_shared<Segmentation>(std::vector<std::string>{"sea", "ice", "land"}),
                    "surface", "surface/label"},
                   {std::make_shared<Regression>(), "height", "height/label", "weight", 0.5}});
  return info;
}

// What a pixel is follows from its first band; the height is the mean of the coarse first band. The
// last batch of an epoch is filled up with slots that hold what nobody may count.
class Scenes final : public BatchSource {
 public:
  const std::vector<TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override { return batches; }
  void start(int64_t epoch, int64_t first) override {
    epoch_ = epoch;
    next_ = first;
  }
  const Batch* next() override {
    if (next_ == batches) return nullptr;
    if (on_batch) on_batch(epoch_ * batches + next_);
    batch_.samples.clear();
    for (int64_t i = 0; i < count; i++) {
      const int64_t sample = next_ * count + i;
      if (sample < samples) batch_.samples.push_back(sample);
      fill(i, static_cast<uint64_t>(sample), sample < samples);
    }
    next_++;
    return &batch_;
  }
  std::function<void(int64_t)> on_batch;

 private:
  void fill(int64_t i, uint64_t sample, bool used) {
    places_[static_cast<size_t>(i)] = {};
    places_[static_cast<size_t>(i)].source_height = side;
    places_[static_cast<size_t>(i)].source_width = side;
    weights_[i] = used ? 1 : 0;
    for (int64_t p = 0; p < side * side; p++) {
      const uint32_t drawn = philox(7, sample, static_cast<uint64_t>(p)).word[0];
      const auto kind = static_cast<uint8_t>(drawn % 3);
      image_[(i * side * side + p) * 2] = static_cast<uint8_t>(40 + 90 * kind);
      image_[(i * side * side + p) * 2 + 1] = static_cast<uint8_t>(drawn >> 8);
      surface_[i * side * side + p] = !used ? 1 : drawn % 11 == 0 ? 255 : kind;
    }
    const double level = 2 * uniform(philox(9, sample, 0).word[0]);
    double sum = 0;
    for (int64_t c = 0; c < cells * cells; c++)
      for (int64_t band = 0; band < 3; band++) {
        const RandomBits bits = philox(8, sample, static_cast<uint64_t>(3 * c + band));
        const auto value = static_cast<float>(level + uniform(bits.word[0]));
        coarse_[(i * cells * cells + c) * 3 + band] = value;
        if (band == 0) sum += value;
      }
    height_[i] = used ? static_cast<float>(sum / (cells * cells)) : 1e6F;
  }

  Array<uint8_t> image_{{count, side, side, 2}}, surface_{{count, side, side, 1}};
  Array<float> coarse_{{count, cells, cells, 3}}, height_{{count, 1, 1, 1}},
      weights_{{count, 1, 1, 1}};
  std::vector<WarpSample> places_{count};
  std::vector<TensorSpec> specs_{
      {"picture", DType::u8, {count, side, side, 2}},
      {"picture/samples", DType::u8, {count, int64_t{sizeof(WarpSample)}}},
      {"coarse", DType::f32, {count, cells, cells, 3}},
      {"surface/label", DType::u8, {count, side, side, 1}},
      {"height/label", DType::f32, {count, 1, 1, 1}},
      {"weight", DType::f32, {count, 1, 1, 1}}};
  Batch batch_{{image_.view(), view_of(places_.data(), specs_[1].shape, DType::u8), coarse_.view(),
                surface_.view(), height_.view(), weights_.view()},
               {}};
  int64_t epoch_ = 0, next_ = 0;
};

struct Run {
  explicit Run(const std::string& path) : folder(path) {}
  Context context{{1, {}}};
  Device& device = context.device("reference");
  const ModelInfo info = described();
  Model model = new_model(info, device, 3);
  Scenes train, validation;
  RunFolder folder;
  Trainer trainer{context, device, info, model, train, &validation, folder, options()};

  static TrainerOptions options() {
    TrainerOptions options;
    options.epochs = 60;
    options.micro_batches = 2;
    options.schedule = OneCycle{0.05, 60 * 3};
    return options;
  }
  void run() {
    TrainObserver silent;
    trainer.run(silent);
  }
};

// Without the wall clock.
std::vector<std::vector<double>> rows_of(const RunFolder& folder) {
  MetricsTable table = read_metrics_csv(folder.metrics());
  for (auto& row : table.rows) row.pop_back();
  return table.rows;
}

}  // namespace

TEST_CASE("two inputs and two heads train, evaluate, save, resume and predict") {
  TempFolder folder;
  Run whole(folder.path("whole"));
  whole.run();
  const MetricsTable table = read_metrics_csv(whole.folder.metrics());
  CHECK(table.columns == std::vector<std::string>{"epoch",
                                                  "step",
                                                  "learning_rate",
                                                  "loss",
                                                  "surface_accuracy",
                                                  "surface_macro_f1",
                                                  "surface_weighted_f1",
                                                  "surface_miou",
                                                  "height_mae",
                                                  "height_rmse",
                                                  "height_r2",
                                                  "val_loss",
                                                  "val_surface_accuracy",
                                                  "val_surface_macro_f1",
                                                  "val_surface_weighted_f1",
                                                  "val_surface_miou",
                                                  "val_height_mae",
                                                  "val_height_rmse",
                                                  "val_height_r2",
                                                  "seconds"});
  const auto last = [&](const std::string& name) {
    const auto at = std::find(table.columns.begin(), table.columns.end(), name);
    return table.rows.back()[static_cast<size_t>(at - table.columns.begin())];
  };
  CHECK(last("val_surface_miou") > 0.95);
  CHECK(last("val_height_r2") > 0.5);

  // Stopped in the middle of an epoch and resumed, to the bit.
  {
    Run cut(folder.path("cut"));
    cut.train.on_batch = [&](int64_t number) { cut.context.cancel = number == 3 * batches + 1; };
    CHECK_THROWS_AS(cut.run(), Error);
  }
  Run resumed(folder.path("cut"));
  resumed.trainer.resume(Checkpoint::read(resumed.folder.last()));
  resumed.run();
  CHECK(rows_of(resumed.folder) == rows_of(whole.folder));

  const Checkpoint best = Checkpoint::read(whole.folder.best());
  const Heads heads = heads_of(best);
  REQUIRE(heads.size() == 2);
  CHECK(heads[0].task->kind() == "segmentation");
  CHECK(heads[1].loss_weight == 0.5);
  Model model = load_model(best, whole.device);
  Evaluator evaluator(whole.context, whole.device, best.info(), heads, model,
                      whole.validation.tensors());
  const Evaluated found = evaluator.evaluate(whole.validation);
  CHECK(found.sample.size() == samples);
  CHECK(found.meters[0]->metrics()[2].second > 0.95);

  // Without labels: the classes of pixels, and the number.
  const std::vector<TensorSpec> tensors(whole.train.tensors().begin(),
                                        whole.train.tensors().begin() + 3);
  const Program program = record_program(best.info(), heads, tensors, {});
  CHECK(!program.loss);
  const Val classes = program.tape->find("surface/classes"), height = program.outputs.at("height");
  Session session(whole.context, whole.device, program.tape, std::vector{classes, height}, &model);
  whole.train.start(0, 0);
  const Batch& batch = *whole.train.next();
  set_inputs(session, program, {{batch.tensors.begin(), batch.tensors.begin() + 3}, {}});
  session.run();
  const std::vector<double> called = session.read(classes);
  int64_t right = 0, labelled = 0;
  for (size_t i = 0; i < called.size(); i++) {
    const uint8_t label = batch.tensors[3].as<const uint8_t>()[i];
    labelled += label != 255;
    right += label == called[i];
  }
  CHECK(static_cast<double>(right) > 0.95 * static_cast<double>(labelled));
  CHECK(std::abs(session.read(height)[0] - batch.tensors[4].as<const float>()[0]) < 0.3);
}
