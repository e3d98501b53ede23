#include "model/trainer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "kernels/error.h"
#include "kernels/random.h"
#include "kernels/version.h"
#include "model/metrics_csv.h"
#include "model/program.h"
#include "model/run_folder.h"
#include "model/tasks/classification.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::model;
using fulmar::test::error_of;

namespace {

constexpr int64_t side = 8, samples = 20, batch_size = 4, batches = samples / batch_size;

// Pictures of noise; of class 1 those with a bright upper half, or, inverted, the others. They
// depend on (epoch, sample) alone, however many make a batch; the last batch may be filled up.
class Stripes : public BatchSource {
 public:
  explicit Stripes(int64_t batch = batch_size, bool inverted = false)
      : specs_{{"image", DType::u8, {batch, side, side, 1}},
               {"image/samples", DType::u8, {batch, int64_t{sizeof(WarpSample)}}},
               {"label", DType::i32, {batch, 1, 1, 1}},
               {"weight", DType::f32, {batch, 1, 1, 1}}},
        images_(batch * side * side),
        places_(batch),
        labels_(batch),
        weights_(batch),
        size_(batch),
        inverted_(inverted) {
    for (WarpSample& place : places_) place.source_height = place.source_width = side;
    batch_.tensors = {view_of(images_.data(), specs_[0].shape, DType::u8),
                      view_of(places_.data(), specs_[1].shape, DType::u8),
                      view_of(labels_.data(), specs_[2].shape, DType::i32),
                      view_of(weights_.data(), specs_[3].shape, DType::f32)};
  }
  const std::vector<TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override { return (samples + size_ - 1) / size_; }
  void start(int64_t epoch, int64_t first) override {
    epoch_ = epoch;
    next_ = first;
  }
  const Batch* next() override {
    if (next_ == batches_per_epoch()) return nullptr;
    if (on_batch) on_batch(epoch_ * batches_per_epoch() + next_);
    batch_.samples.clear();
    for (int64_t i = 0; i < size_; i++) {
      const int64_t sample = next_ * size_ + i;
      weights_[i] = sample < samples ? 1 : 0;
      if (sample < samples) batch_.samples.push_back(sample);
      fill(i, static_cast<uint64_t>(epoch_ * samples + sample));
    }
    next_++;
    return &batch_;
  }
  std::function<void(int64_t)> on_batch;

 private:
  void fill(int64_t i, uint64_t key) {
    const bool bright = philox(4, key, 0).word[0] % 2 == 1;
    labels_[i] = bright != inverted_ ? 1 : 0;
    for (int64_t p = 0; p < side * side; p++)
      images_[i * side * side + p] = static_cast<uint8_t>(
          philox(6, key, p).word[0] % 128 + (bright && p < side * side / 2 ? 127 : 0));
  }

  std::vector<TensorSpec> specs_;
  std::vector<uint8_t> images_;
  std::vector<WarpSample> places_;
  std::vector<int32_t> labels_;
  std::vector<float> weights_;
  Batch batch_;
  int64_t size_, epoch_ = 0, next_ = 0;
  bool inverted_;
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

// Nothing in it depends on which pictures share a batch.
Network separable_network() {
  Network n;
  n.add("input", "input", {});
  n.add("conv2d", "conv", {"input"}, {{"filters", int64_t{4}}, {"kernel", int64_t{3}}});
  n.add("activation", "relu", {"conv"});
  n.add("global_average_pooling2d", "pool", {"relu"});
  n.add("dense", "dense", {"pool"}, {{"units", int64_t{2}}});
  return n;
}

struct TemporaryFolder {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("fulmar-trainer-" + std::to_string(std::random_device{}())))
                         .string();
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

std::vector<std::vector<double>> weights_of(Model& model) {
  std::vector<std::vector<double>> all;
  for (const auto& p : model.parameters()) all.push_back(model.read(p.name));
  for (const auto& s : model.statistics()) all.push_back(model.read(s.name));
  return all;
}

// A run that can be cut short: all its parts are made anew.
struct Run {
  struct Parts {
    Network network = small_network();
    int64_t batch = batch_size;
    bool inverted_validation = false;
    std::string summary{};
    bool decay_all = false;
  };
  explicit Run(const std::string& folder_path, const TrainerOptions& options = options_of(6))
      : Run(folder_path, options, Parts{}) {}
  Run(const std::string& folder_path, const TrainerOptions& options, const Parts& parts)
      : device(context.device("reference")),
        train(parts.batch),
        validation(parts.batch, parts.inverted_validation),
        info(described(parts)),
        model(model_of(info, device, parts)),
        folder(folder_path),
        trainer(context, device, info, model, train, &validation, folder, options) {}

  static TrainerOptions options_of(int64_t epochs) {
    TrainerOptions options;
    options.epochs = epochs;
    options.schedule = PlateauSchedule{0.05, {}};
    options.seed = 9;
    return options;
  }
  static ModelInfo described(const Parts& parts) {
    ModelInfo info = classifier_of(parts.network, Preprocess::of_pictures(0, side, 1),
                                   Classification({"neg", "pos"}, 1));
    info.summary = parts.summary;
    return info;
  }
  static Model model_of(const ModelInfo& info, Device& device, const Parts& parts) {
    Model model = new_model(info, device, 3);
    if (parts.decay_all) model.decay_all();
    return model;
  }
  TrainOutcome run() {
    TrainObserver silent;
    return trainer.run(silent);
  }
  std::vector<std::vector<double>> weights() {
    auto all = weights_of(model);
    all.push_back(model.read("/adamw/moment2"));
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

// A run that halves the rate after every epoch but the first, and is stopped after the fourth.
TrainerOptions impatient_options() {
  TrainerOptions options = Run::options_of(6);
  ReduceOnPlateau::Options plateau;
  plateau.patience = 1;
  plateau.min_delta = 10;
  options.schedule = PlateauSchedule{0.05, plateau};
  options.early_stopping = EarlyStopping::Options{3, 10, Goal::lowest};
  return options;
}

TrainerOptions one_cycle_options() {
  TrainerOptions options = Run::options_of(5);
  options.schedule = OneCycle{0.05, 5 * batches};
  return options;
}

double value_in(const MetricsTable& table, size_t row, const std::string& name) {
  const auto found = std::find(table.columns.begin(), table.columns.end(), name);
  REQUIRE_MESSAGE(found != table.columns.end(), name);
  return table.rows.at(row)[static_cast<size_t>(found - table.columns.begin())];
}

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
  Run run(folder.path, Run::options_of(20));
  CHECK(run.run().epochs == 20);
  const MetricsTable table = read_metrics_csv(run.folder.metrics());
  REQUIRE(table.rows.size() == 20);
  CHECK(value_in(table, 19, "val_accuracy") == 1.0);
  CHECK(value_in(table, 19, "val_loss") < 0.5);  // guessing: 0.69
  CHECK(classification_of(Checkpoint::read(run.folder.best())).classes[1] == "pos");
}

TEST_CASE("a run stopped at any batch and resumed gives the same bits") {
  for (const bool impatient : {true, false}) {
    CAPTURE(impatient);
    const TrainerOptions options = impatient ? impatient_options() : one_cycle_options();
    TemporaryFolder whole_folder;
    Run whole(whole_folder.path, options);
    const TrainOutcome outcome = whole.run();
    CHECK(outcome.stopped_early == impatient);
    CHECK(outcome.epochs == (impatient ? 4 : 5));
    const MetricsTable table = read_metrics_csv(whole.folder.metrics());
    CHECK(value_in(table, 0, "learning_rate") != value_in(table, 3, "learning_rate"));
    for (const int64_t stop_at : {0, 7, 9, 10, 17}) {
      CAPTURE(stop_at);
      TemporaryFolder folder;
      {
        Run cut(folder.path, options);
        cut.train.on_batch = [&](int64_t number) {
          if (number == stop_at) cut.context.cancel = true;
        };
        CHECK_THROWS_AS(cut.run(), Error);
      }
      Run resumed(folder.path, options);
      resumed.trainer.resume(Checkpoint::read(resumed.folder.last()));
      const TrainOutcome end = resumed.run();
      CHECK(end.stopped_early == impatient);
      CHECK(end.best_epoch == outcome.best_epoch);
      CHECK(resumed.weights() == whole.weights());
      CHECK(metrics_of(resumed.folder) == metrics_of(whole.folder));
      const bool same_best =
          read_file(resumed.folder.best(), 1 << 20) == read_file(whole.folder.best(), 1 << 20);
      CHECK(same_best);
    }
  }
}

TEST_CASE("a run stopped while it validates and resumed gives the same bits") {
  TemporaryFolder whole_folder, folder;
  Run whole(whole_folder.path);
  whole.run();
  {
    Run cut(folder.path);
    int64_t seen = 0;
    cut.validation.on_batch = [&](int64_t) {
      if (++seen == 2 * batches + 3) cut.context.cancel = true;
    };
    CHECK_THROWS_AS(cut.run(), Error);
  }
  const Checkpoint last = Checkpoint::read(RunFolder(folder.path).last());
  const TrainingState& state = last.info().training_state;
  CHECK(state.json.find("\"epoch\":2,\"batch\":5") != std::string::npos);
  CHECK(state.integers.at("seen/labels").size() == samples);
  CHECK(state.floats.at("seen/probabilities").size() == 2 * samples);
  CHECK(last.info().summary.find("\"epoch\":2,\"metrics\":{") != std::string::npos);
  CHECK(classification_of(last).threshold != 0.5);
  {
    // Stopped again before another epoch ends: what the last whole one gave is still told.
    Run again(folder.path);
    again.trainer.resume(last);
    again.validation.on_batch = [&](int64_t) { again.context.cancel = true; };
    CHECK_THROWS_AS(again.run(), Error);
    const Checkpoint later = Checkpoint::read(again.folder.last());
    CHECK(later.info().task == last.info().task);
    CHECK(later.info().summary == last.info().summary);
  }
  Run resumed(folder.path);
  resumed.trainer.resume(last);
  resumed.run();
  CHECK(resumed.weights() == whole.weights());
  CHECK(metrics_of(resumed.folder) == metrics_of(whole.folder));
}

TEST_CASE("a run stopped while it measures statistics and resumed gives the same bits") {
  TemporaryFolder whole_folder, folder;
  Run whole(whole_folder.path);
  whole.run();
  {
    Run cut(folder.path);
    int64_t seen = 0;  // an epoch reads each batch twice, to train on it and to measure
    cut.train.on_batch = [&](int64_t) {
      if (++seen == 2 * batches + batches + 3) cut.context.cancel = true;
    };
    CHECK_THROWS_AS(cut.run(), Error);
    CHECK(seen == 2 * batches + batches + 3);
  }
  const Checkpoint last = Checkpoint::read(RunFolder(folder.path).last());
  CHECK(last.info().training_state.json.find("\"epoch\":1,\"batch\":5") != std::string::npos);
  Run resumed(folder.path);
  resumed.trainer.resume(last);
  resumed.run();
  CHECK(resumed.weights() == whole.weights());
  CHECK(metrics_of(resumed.folder) == metrics_of(whole.folder));
}

TEST_CASE("validation sees statistics of the weights from the first epoch on") {
  for (const int64_t statistics_samples : {int64_t{512}, int64_t{0}}) {
    CAPTURE(statistics_samples);
    TrainerOptions options = Run::options_of(1);
    options.statistics_samples = statistics_samples;
    TemporaryFolder folder;
    Run run(folder.path, options);
    run.run();
    const std::vector<double> saved = run.model.read("bn/moving_variance");
    Feeder feeder(run.device, run.train);
    StatisticsEstimator(run.context, run.device, run.info, run.model, run.train.tensors(), true)
        .estimate(feeder, 0, batches);
    const std::vector<double> measured = run.model.read("bn/moving_variance");
    for (size_t c = 0; c < saved.size(); c++) {
      CAPTURE(c);
      // Five steps of momentum 0.99 leave 95 % of the initial 1.
      if (statistics_samples > 0)
        CHECK(saved[c] == doctest::Approx(measured[c]).epsilon(1e-9));
      else
        CHECK(saved[c] > 0.95);
    }
    CHECK(measured[0] < 0.5);
  }
}

TEST_CASE("a run that has ended is not trained on, but with more epochs goes on") {
  TemporaryFolder folder, whole_folder;
  Run whole(whole_folder.path);
  whole.run();
  Run(folder.path, Run::options_of(2)).run();
  for (const int64_t epochs : {2, 6}) {
    Run more(folder.path, Run::options_of(epochs));
    more.trainer.resume(Checkpoint::read(more.folder.last()));
    CHECK(more.run().epochs == epochs);
    CHECK((more.weights() == whole.weights()) == (epochs == 6));
  }
  TemporaryFolder stopped;
  Run(stopped.path, impatient_options()).run();
  Run again(stopped.path, impatient_options());
  again.trainer.resume(Checkpoint::read(again.folder.last()));
  CHECK(again.run().epochs == 4);
}

TEST_CASE("resuming with other options, batches or another network is refused with the reason") {
  TemporaryFolder folder;
  TrainerOptions options = Run::options_of(1);
  Run(folder.path, options).run();
  const Checkpoint last = Checkpoint::read(RunFolder(folder.path).last());
  const auto refusal = [&](const std::function<void(TrainerOptions&, Run::Parts&)>& change) {
    TrainerOptions other = options;
    Run::Parts parts;
    change(other, parts);
    Run run(folder.path, other, parts);
    return error_of(ErrorKind::file, [&] { run.trainer.resume(last); });
  };
  const struct {
    std::string message;
    std::function<void(TrainerOptions&, Run::Parts&)> change;
  } rows[] = {
      {"another seed: 9, here 10", [](TrainerOptions& o, Run::Parts&) { o.seed = 10; }},
      {"another micro_batches", [](TrainerOptions& o, Run::Parts&) { o.micro_batches = 2; }},
      {"another adamw",
       [](TrainerOptions& o, Run::Parts&) { o.step.optimizer = AdamW{.weight_decay = 0.1}; }},
      {"a run without sgd", [](TrainerOptions& o, Run::Parts&) { o.step.optimizer = Sgd{}; }},
      {"another decaying_parameters: 2, here 6",
       [](TrainerOptions&, Run::Parts& p) { p.decay_all = true; }},
      {"another label_smoothing",
       [](TrainerOptions& o, Run::Parts&) { o.step.loss.label_smoothing = 0.1; }},
      {"another schedule",
       [](TrainerOptions& o, Run::Parts&) {
         o.schedule = OneCycle{0.1, 5};
       }},
      {"another early_stopping", [](TrainerOptions& o, Run::Parts&) { o.early_stopping.reset(); }},
      {"another monitor_training_loss",
       [](TrainerOptions& o, Run::Parts&) { o.monitor_training_loss = true; }},
      {"another batches_per_epoch: 5, here 3", [](TrainerOptions&, Run::Parts& p) { p.batch = 8; }},
      {"its network, preprocessing or task are not those of this run",
       [](TrainerOptions&, Run::Parts& p) { p.network = separable_network(); }},
  };
  for (const auto& row : rows) {
    const std::string message = refusal(row.change);
    CHECK_MESSAGE(message.find(row.message) != std::string::npos, message);
  }
  CHECK(refusal([](TrainerOptions& o, Run::Parts&) { o.epochs = 9; }) == "no error");
}

TEST_CASE("two micro-batches of 4 make the step of one batch of 8, a last short one too") {
  TemporaryFolder small_folder, large_folder;
  TrainerOptions options = Run::options_of(2);
  Run large(large_folder.path, options, {separable_network(), 8});
  options.micro_batches = 2;
  Run small(small_folder.path, options, {separable_network(), 4});
  large.run();
  small.run();
  const MetricsTable table = read_metrics_csv(small.folder.metrics());
  CHECK(table.rows[1][1] == 6);  // 5 batches an epoch: 2 + 2 + 1
  const auto a = small.weights(), b = large.weights();
  Run fresh(small_folder.path + "/new", options, {separable_network(), 4});
  const auto start = weights_of(fresh.model);
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); i++) {
    for (size_t j = 0; j < a[i].size(); j++) CHECK(std::abs(a[i][j] - b[i][j]) < 1e-12);
    if (i < start.size()) CHECK(a[i] != start[i]);
  }
}

TEST_CASE("best.safetensors: the best epoch's weights, threshold and metrics, and no more") {
  std::vector<size_t> best_rows;
  for (const bool monitor_training_loss : {false, true}) {
    CAPTURE(monitor_training_loss);
    // On inverted pictures the validation loss is lowest where little was learnt.
    TrainerOptions options = Run::options_of(6);
    options.monitor_training_loss = monitor_training_loss;
    const Run::Parts parts{small_network(), batch_size, true, R"({"note": "mine"})"};
    TemporaryFolder folder, short_folder;
    Run run(folder.path, options, parts);
    const TrainOutcome outcome = run.run();
    const MetricsTable table = read_metrics_csv(run.folder.metrics());
    const std::string monitored = monitor_training_loss ? "loss" : "val_loss";
    size_t best = 0;
    for (size_t row = 0; row < 6; row++)
      if (value_in(table, row, monitored) < value_in(table, best, monitored)) best = row;
    CHECK(outcome.best_epoch == static_cast<int64_t>(best) + 1);
    CHECK(outcome.best_value == value_in(table, best, monitored));
    best_rows.push_back(best);

    const Checkpoint file = Checkpoint::read(run.folder.best());
    Model model = load_model(file, run.device);
    options.epochs = outcome.best_epoch;
    Run short_run(short_folder.path, options, parts);
    short_run.run();
    CHECK(weights_of(model) == weights_of(short_run.model));

    Evaluator evaluator(run.context, run.device, file.info(), heads_of(file), model,
                        run.validation.tensors());
    const Evaluated found = evaluator.evaluate(run.validation);
    const Predictions seen =
        dynamic_cast<const ClassificationMeter&>(*found.meters[0]).predictions();
    const BestThreshold threshold = best_f1_threshold(seen.scores_of(1), seen.truth_of(1));
    CHECK(classification_of(file).threshold == threshold.threshold);
    CHECK(value_in(table, best, "threshold") == threshold.threshold);
    CHECK(value_in(table, best, "val_f1") == threshold.f1);

    const auto summary = nlohmann::json::parse(file.info().summary);
    CHECK(summary["note"] == "mine");
    CHECK(summary["epoch"] == outcome.best_epoch);
    CHECK(summary["metrics"]["val_loss"] == value_in(table, best, "val_loss"));
    CHECK(summary["metrics"]["threshold"] == threshold.threshold);
    CHECK(summary["fulmar"] == version());
    CHECK(summary["commit"] == commit());

    CHECK(file.info().training_state.empty());
    const char* moment = "adamw/moment1/conv/kernel";
    CHECK(!Safetensors::read(run.folder.best()).find(moment));
    CHECK(Safetensors::read(run.folder.last()).find(moment));
    Run resumed(folder.path, options, parts);
    const std::string message = error_of(ErrorKind::file, [&] { resumed.trainer.resume(file); });
    CHECK(message.find("resume from last.safetensors") != std::string::npos);
  }
  // A test of what is monitored: the two losses choose differently.
  CHECK(best_rows[0] != best_rows[1]);
  CHECK(best_rows[0] < 5);
}

TEST_CASE("parts of a run that don't go together are refused before it begins") {
  TemporaryFolder folder;
  const auto refusal = [&](const TrainerOptions& options, const Run::Parts& parts) {
    return error_of(ErrorKind::usage, [&] { Run(folder.path, options, parts); });
  };
  const TrainerOptions options = Run::options_of(1);
  Run::Parts parts;
  parts.summary = "[1]";
  CHECK(refusal(options, parts) == "the summary of a model must be a JSON object");
  parts = {};
  parts.network.add("dense", "dense_1", {"dense"}, {{"units", int64_t{3}}});
  CHECK(refusal(options, parts).find("for 2 classes") != std::string::npos);
  TrainerOptions none = options;
  none.micro_batches = 0;
  CHECK(refusal(none, {}) == "a step takes one micro-batch or more");

  Run run(folder.path);
  std::vector<TensorSpec> unlabelled = run.train.tensors();
  unlabelled.resize(2);
  CHECK(error_of(ErrorKind::usage, [&] {
          TrainStep(run.context, run.device, run.info, heads_of(run.info), run.model, unlabelled,
                    {});
        }) == "training needs batches with a tensor 'label'");
}

TEST_CASE("arrays of a training state are kept to the bit, outside the file's header") {
  TemporaryFolder folder;
  Run run(folder.path);
  ModelInfo info = run.info;
  info.training_state.json = "{}";
  const uint32_t odd[] = {0x7FC00123, 1, 0x80000000, 0x3EAAAAAB};  // NaN, subnormal, -0, a third
  std::vector<float>& floats = info.training_state.floats["some"];
  for (const uint32_t bits : odd) floats.push_back(std::bit_cast<float>(bits));
  std::vector<int32_t>& many = info.training_state.integers["many"];
  for (int32_t i = 0; i < 100000; i++) many.push_back(i - 50000);
  info.training_state.floats["none"] = {};
  run.folder.create();
  const std::string path = folder.path + "/state.safetensors";
  save_checkpoint(path, info, run.model);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, read_file(path, 1 << 24).data(), sizeof header_bytes);
  CHECK(header_bytes < 10000);
  const Checkpoint read = Checkpoint::read(path);
  const TrainingState& state = read.info().training_state;
  CHECK(state.integers.at("many") == many);
  std::vector<uint32_t> bits;
  for (const float value : state.floats.at("some")) bits.push_back(std::bit_cast<uint32_t>(value));
  CHECK(bits == std::vector<uint32_t>(std::begin(odd), std::end(odd)));
  CHECK(state.floats.count("none") == 0);
}

TEST_CASE("a diverging run names the first bad layer and keeps its last checkpoint") {
  TemporaryFolder folder;
  Run run(folder.path);
  run.train.on_batch = [&](int64_t number) {
    if (number != 8) return;
    std::vector<double> gamma = run.model.read("bn/gamma");
    gamma[0] = std::numeric_limits<double>::quiet_NaN();
    run.model.write("bn/gamma", gamma);
  };
  std::string message;
  try {
    run.run();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::diverged);
    message = error.what();
  }
  CHECK(message.find("batch_norm_train 'bn'") != std::string::npos);
  CHECK(!Checkpoint::read(run.folder.last()).info().training_state.empty());
}
