#include "model/trainer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <random>

#include "engine/ops.h"
#include "kernels/error.h"
#include "kernels/random.h"
#include "model/run_folder.h"

using namespace fulmar;
using namespace fulmar::model;

namespace {

constexpr int64_t side = 8, batch_size = 4, batches = 5;

// Pictures of noise; of class 1 those with a bright upper half. Depends on (epoch, number) alone.
class Stripes : public BatchSource {
 public:
  Stripes()
      : specs_{{"image", DType::u8, {batch_size, side, side, 1}},
               {"image/samples", DType::u8, {batch_size, int64_t{sizeof(WarpSample)}}},
               {"label", DType::i32, {batch_size, 1, 1, 1}}},
        image_(batch_size * side * side),
        samples_(batch_size),
        labels_(batch_size) {
    for (WarpSample& sample : samples_) sample.source_height = sample.source_width = side;
    batch_.samples.resize(batch_size);
    batch_.tensors = {view_of(image_.data(), specs_[0].shape, DType::u8),
                      view_of(samples_.data(), specs_[1].shape, DType::u8),
                      view_of(labels_.data(), specs_[2].shape, DType::i32)};
  }
  const std::vector<TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override { return batches; }
  void start(int64_t epoch, int64_t first) override {
    epoch_ = epoch;
    next_ = first;
  }
  const Batch* next() override {
    if (next_ == batches) return nullptr;
    if (on_batch) on_batch(epoch_ * batches + next_);
    const auto key = static_cast<uint64_t>(epoch_ * batches + next_++);
    for (int64_t i = 0; i < batch_size; i++) {
      labels_[i] = static_cast<int32_t>(philox(5, key, i).word[0] % 2);
      for (int64_t p = 0; p < side * side; p++) {
        const uint32_t noise = philox(6, key, i * side * side + p).word[0] % 128;
        const uint32_t bright = labels_[i] == 1 && p < side * side / 2 ? 127 : 0;
        image_[i * side * side + p] = static_cast<uint8_t>(noise + bright);
      }
    }
    return &batch_;
  }
  std::function<void(int64_t)> on_batch;

 private:
  std::vector<TensorSpec> specs_;
  std::vector<uint8_t> image_;
  std::vector<WarpSample> samples_;
  std::vector<int32_t> labels_;
  Batch batch_;
  int64_t epoch_ = 0, next_ = 0;
};

Network small_network() {
  Network n;
  n.add("input", "input", {});
  n.add("conv2d", "conv", {"input"}, {{"filters", int64_t{4}}, {"kernel", int64_t{3}}});
  n.add("batch_normalization", "bn", {"conv"});
  n.add("activation", "relu", {"bn"});
  n.add("global_average_pooling2d", "pool", {"relu"});
  n.add("dropout", "dropout", {"pool"}, {{"rate", 0.25}});
  n.add("dense", "dense", {"dropout"}, {{"units", int64_t{2}}});
  return n;
}

struct TemporaryFolder {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("fulmar-trainer-" + std::to_string(std::random_device{}())))
                         .string();
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

// A run that can be cut short: all its parts are made anew.
struct Run {
  explicit Run(const std::string& folder_path, TrainerOptions options = options_of(6))
      : device(context.device("reference")),
        info{small_network(), Preprocess::of_pictures(0, side, 1), {"neg", "pos"}, 1},
        model(make_model()),
        folder(folder_path),
        trainer(context, device, info, model, train, &validation, folder, options) {}

  Model make_model() {
    Tape tape;
    record(info.network, tape, ops::input(tape, "x", {{1, side, side, 1}}), {Mode::train});
    return Model(device, tape, 3);
  }
  static TrainerOptions options_of(int64_t epochs) {
    TrainerOptions options;
    options.epochs = epochs;
    options.schedule = PlateauSchedule{0.05, {}};
    options.seed = 9;
    return options;
  }
  std::vector<std::vector<double>> weights() {
    std::vector<std::vector<double>> all;
    for (const auto& p : model.parameters()) all.push_back(model.read(p.name));
    for (const auto& s : model.statistics()) all.push_back(model.read(s.name));
    all.push_back(model.read("moment2"));
    return all;
  }

  Context context{{1, {}}};
  Device& device;
  Stripes train, validation;
  ModelInfo info;
  Model model;
  RunFolder folder;
  Trainer trainer;
};

// All columns but the wall clock's.
std::vector<std::vector<double>> metrics_of(const RunFolder& folder) {
  MetricsTable table = read_metrics_csv(folder.metrics());
  for (auto& row : table.rows) row.pop_back();
  CHECK(table.columns.back() == "seconds");
  return table.rows;
}

}  // namespace

TEST_CASE("a small network learns a simple task") {
  TemporaryFolder folder;
  Run run(folder.path);
  TrainObserver silent;
  const TrainOutcome outcome = run.trainer.run(silent);
  CHECK(outcome.epochs == 6);
  const MetricsTable table = read_metrics_csv(run.folder.metrics());
  REQUIRE(table.rows.size() == 6);
  const auto column = [&](const std::string& name) {
    return std::find(table.columns.begin(), table.columns.end(), name) - table.columns.begin();
  };
  CHECK(table.rows.back()[column("val_accuracy")] == 1.0);
  CHECK(table.rows.back()[column("loss")] < table.rows.front()[column("loss")]);
  CHECK(Checkpoint::read(run.folder.best()).info().classes[1] == "pos");
}

TEST_CASE("a run stopped at any batch and resumed gives the same bits") {
  TemporaryFolder whole_folder;
  Run whole(whole_folder.path);
  TrainObserver silent;
  whole.trainer.run(silent);
  for (const int64_t stop_at : {0, 7, 9, 10, 22}) {
    CAPTURE(stop_at);
    TemporaryFolder folder;
    {
      Run cut(folder.path);
      cut.train.on_batch = [&](int64_t number) {
        if (number == stop_at) cut.context.cancel = true;
      };
      CHECK_THROWS_AS(cut.trainer.run(silent), Error);
    }
    Run resumed(folder.path);
    resumed.trainer.resume(Checkpoint::read(resumed.folder.last()));
    resumed.trainer.run(silent);
    CHECK(resumed.weights() == whole.weights());
    CHECK(metrics_of(resumed.folder) == metrics_of(whole.folder));
  }
}

TEST_CASE("a run stopped while it validates and resumed gives the same bits") {
  TemporaryFolder whole_folder, folder;
  Run whole(whole_folder.path);
  TrainObserver silent;
  whole.trainer.run(silent);
  {
    Run cut(folder.path);
    int64_t seen = 0;
    cut.validation.on_batch = [&](int64_t) {
      if (++seen == 2 * batches + 3) cut.context.cancel = true;
    };
    CHECK_THROWS_AS(cut.trainer.run(silent), Error);
  }
  const Checkpoint last = Checkpoint::read(RunFolder(folder.path).last());
  CHECK(last.info().training_state.find("\"epoch\":2,\"batch\":5") != std::string::npos);
  Run resumed(folder.path);
  resumed.trainer.resume(last);
  resumed.trainer.run(silent);
  CHECK(resumed.weights() == whole.weights());
  CHECK(metrics_of(resumed.folder) == metrics_of(whole.folder));
}

TEST_CASE("micro-batches are averaged into one step") {
  TemporaryFolder folder;
  TrainerOptions options = Run::options_of(1);
  options.micro_batches = 2;
  Run run(folder.path, options);
  TrainObserver silent;
  run.trainer.run(silent);
  const MetricsTable table = read_metrics_csv(run.folder.metrics());
  CHECK(table.rows[0][1] == 3);  // 5 batches: 2 + 2 + 1
}

TEST_CASE("a diverging run names the first bad layer and keeps its last checkpoint") {
  TemporaryFolder folder;
  Run run(folder.path);
  TrainObserver silent;
  run.train.on_batch = [&](int64_t number) {
    if (number != 8) return;
    std::vector<double> gamma = run.model.read("bn/gamma");
    gamma[0] = std::numeric_limits<double>::quiet_NaN();
    run.model.write("bn/gamma", gamma);
  };
  std::string message;
  try {
    run.trainer.run(silent);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::diverged);
    message = error.what();
  }
  CHECK(message.find("batch_norm_train 'bn'") != std::string::npos);
  CHECK(Checkpoint::read(run.folder.last()).info().training_state.size() > 0);
}
