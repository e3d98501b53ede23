#include <algorithm>
#include <chrono>
#include <filesystem>

#include "engine/file.h"
#include "kernels/error.h"
#include "model/metrics_csv.h"
#include "model/program.h"
#include "tools/console.h"
#include "tools/memory.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/train.h"

namespace fulmar::tools {
namespace {

void note(const std::string& text) { Console::standard().line(text); }

struct Sources {
  data::Dataset train, validation;  // validation: empty where there is none
  Preprocess preprocess;            // for the pictures' own element type
  std::unique_ptr<data::Loader> train_loader, validation_loader;
};

data::Dataset find_samples(const TrainConfig& config, data::Dataset& validation) {
  const auto rule = config.scenes == "file" ? data::SceneRule::file : data::SceneRule::prefix;
  data::Folder folder = data::scan_folder(config.dataset, rule);
  if (!folder.stray.empty())
    note(std::to_string(folder.stray.size()) + " files are no pictures and are left out, such as " +
         folder.stray.front());
  if (config.validation <= 0) return folder.train;
  data::Split split = data::split_dataset(folder.train, config.validation,
                                          static_cast<uint64_t>(config.split_seed));
  validation = std::move(split.validation);
  return std::move(split.train);
}

std::shared_ptr<const data::Pictures> open(const data::Dataset& dataset, const TrainConfig& config,
                                           const TrainRuntime& runtime, ThreadPool& pool) {
  std::vector<std::string> paths;
  for (const data::Sample& sample : dataset.samples) paths.push_back(sample.path);
  data::PictureOptions options;
  options.bands = config.channels;
  options.limits.max_pixels = runtime.max_pixels;
  options.cache_folder = runtime.cache_folder;
  options.memory_bytes = static_cast<uint64_t>(runtime.memory_gb * 1e9);
  Progress progress(static_cast<int64_t>(paths.size()), "pictures");
  progress.label("decoding");
  options.progress = [&](int64_t done, int64_t) { progress.update(done); };
  std::shared_ptr<const data::Pictures> pictures =
      data::open_pictures(std::move(paths), options, pool);
  if (pictures->dropped_alpha() > 0)
    note("transparency of " + std::to_string(pictures->dropped_alpha()) + " pictures is left out");
  return pictures;
}

std::unique_ptr<data::Sampler> training_sampler(const data::Dataset& dataset,
                                                const TrainConfig& config) {
  const auto seed = static_cast<uint64_t>(config.seed);
  if (config.sampling == "balanced")
    return data::balanced_sampler(dataset.labels(), static_cast<int64_t>(dataset.classes.size()),
                                  config.batch, seed);
  return data::shuffled_sampler(static_cast<int64_t>(dataset.samples.size()), config.batch, seed);
}

Sources open_sources(const TrainConfig& config, const TrainRuntime& runtime, ThreadPool& pool) {
  Sources s;
  s.train = find_samples(config, s.validation);
  data::LoaderOptions options;
  options.batch = config.batch;
  options.threads = static_cast<int>(runtime.loader_threads);
  options.augment = config.augmentation();
  options.seed = static_cast<uint64_t>(config.seed);
  std::shared_ptr<const data::Pictures> pictures = open(s.train, config, runtime, pool);
  s.preprocess = config.preprocess(pictures->type());
  s.train_loader =
      std::make_unique<data::Loader>(std::move(pictures), s.train.labels(),
                                     training_sampler(s.train, config), s.preprocess, options);
  if (s.validation.samples.empty()) return s;
  options.augment.reset();
  s.validation_loader = std::make_unique<data::Loader>(
      open(s.validation, config, runtime, pool), s.validation.labels(),
      data::sequential_sampler(static_cast<int64_t>(s.validation.samples.size()), config.batch),
      s.preprocess, options);
  return s;
}

int64_t positive_class(const std::vector<std::string>& classes) {
  if (classes.size() != 2) return -1;
  return classes[0] == "pos" || classes[0] == "positive" ? 0 : 1;
}

Json counts_of(const data::Dataset& dataset) {
  Json counts = Json::object();
  const std::vector<int64_t> numbers = dataset.class_counts();
  for (size_t i = 0; i < numbers.size(); i++) counts[dataset.classes[i]] = numbers[i];
  return counts;
}

ModelInfo describe(const TrainConfig& config, const Sources& sources, Device& device) {
  ModelInfo info;
  model::PolarLowOptions network;
  network.channels = config.channels;
  network.classes = static_cast<int64_t>(sources.train.classes.size());
  network.widths = config.widths;
  network.dropout = config.dropout;
  info.network = model::polar_low(network);
  info.preprocess = sources.preprocess;
  info.classes = sources.train.classes;
  info.positive_class = positive_class(info.classes);
  const Json summary{{"instruction_set", device.backend().isa()},
                     {"config", config.to_json()},
                     {"training_samples", counts_of(sources.train)},
                     {"validation_samples", counts_of(sources.validation)},
                     {"fingerprint", sources.train.fingerprint()}};
  info.summary = summary.dump();
  return info;
}

double bytes_of(int64_t weights) { return static_cast<double>(weights) * sizeof(float); }

Model make_model(const ModelInfo& info, const TrainConfig& config, Device& device) {
  require_memory_for_weights(info.network, info.preprocess);
  Model model =
      model::new_model(info.network, info.preprocess, device, static_cast<uint64_t>(config.seed));
  if (config.adamw == "tfa") model.decay_all();  // as tensorflow-addons does
  return model;
}

model::TrainerOptions trainer_options(const TrainConfig& config, const TrainRuntime& runtime,
                                      int64_t batches_per_epoch) {
  model::TrainerOptions options;
  options.epochs = config.epochs;
  options.micro_batches = config.accumulate;
  options.step.adamw = config.adamw_options();
  options.step.loss.label_smoothing = config.label_smoothing;
  const int64_t per_epoch = (batches_per_epoch + config.accumulate - 1) / config.accumulate;
  options.schedule = config.schedule_options(per_epoch * config.epochs, per_epoch);
  options.early_stopping.reset();
  if (config.stop_patience > 0)
    options.early_stopping = model::EarlyStopping::Options{config.stop_patience};
  options.monitor_training_loss = config.protocol == "paper";
  options.seed = static_cast<uint64_t>(config.seed);
  options.checkpoint_minutes = runtime.checkpoint_minutes;
  return options;
}

// Progress and one line an epoch, on stderr; after the first steps, how long it will take.
class Reporter : public model::TrainObserver {
 public:
  void on_batch(const Batch& b) override {
    estimate(b);
    if (!bar_ || epoch_ != b.epoch) {
      bar_ = std::make_unique<Progress>(b.of_samples, "images");
      if (epoch_ == 0) bar_->start_at(b.samples);
      epoch_ = b.epoch;
    }
    bar_->label("epoch " + std::to_string(b.epoch) + "/" + std::to_string(b.epochs));
    bar_->detail("loss " + text_of(b.loss));
    bar_->update(b.samples);
  }
  void on_epoch(const model::NamedValues& metrics, bool best) override {
    bar_.reset();
    std::string line;
    for (const auto& [name, value] : metrics) {
      if (name == "epoch")
        line = "epoch " + std::to_string(static_cast<int64_t>(value));
      else if (name == "loss" || name == "accuracy" || name == "val_loss" ||
               name == "val_accuracy" || name == "val_f1" || name == "learning_rate")
        line += "  " + name + " " + text_of(value);
      else if (name == "seconds")
        line += "  " + text_of(value) + " s";
    }
    note(line + (best ? "  (best so far)" : ""));
  }

 private:
  using Clock = std::chrono::steady_clock;

  // From the second batch on, for the first one also touches memory anew.
  void estimate(const Batch& b) {
    if (++batches_ > 2) return;
    if (batches_ == 1) {
      first_batch_ = Clock::now();
      first_samples_ = b.samples;
      return;
    }
    if (b.samples <= first_samples_) return;  // an epoch of one batch
    const double seconds = std::chrono::duration<double>(Clock::now() - first_batch_).count();
    const double epoch = seconds / static_cast<double>(b.samples - first_samples_) *
                         static_cast<double>(b.of_samples);
    note("takes about " + duration(epoch) + " an epoch, and " +
         duration(epoch * static_cast<double>(b.epochs - b.epoch + 1)) + " to epoch " +
         std::to_string(b.epochs) + ", validation not counted");
  }

  static std::string duration(double seconds) {
    return seconds < 60 ? text_of(seconds) + " s" : readable_seconds(seconds);
  }

  static std::string text_of(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
  }

  std::unique_ptr<Progress> bar_;
  int64_t epoch_ = 0;
  int64_t batches_ = 0, first_samples_ = 0;
  Clock::time_point first_batch_;
};

void say_needs(model::Trainer& trainer, const Sources& sources, Model& model) {
  const double weights = bytes_of(model.flat_size());
  const double memory = static_cast<double>(trainer.arena_bytes()) + 4 * weights +
                        4 * static_cast<double>(sources.train_loader->batch_bytes());
  const int64_t batches = sources.train_loader->batches_per_epoch();
  require_memory(memory,
                 "training with batches of " +
                     std::to_string(sources.train_loader->tensors()[0].shape.images()) +
                     " pictures",
                 "use a smaller --batch (with --accumulate the step stays the same), --crop or "
                 "--widths");
  note("training on " + std::to_string(sources.train.samples.size()) + " pictures (" +
       std::to_string(batches) + " batches an epoch), validating on " +
       std::to_string(sources.validation.samples.size()));
  note("needs about " + readable_bytes(static_cast<uint64_t>(memory)) +
       " of memory beside the pictures, and " + readable_bytes(static_cast<uint64_t>(4 * weights)) +
       " on disk");
}

void restore(model::Trainer& trainer, const model::RunFolder& folder, const ModelInfo& info) {
  const Checkpoint last = Checkpoint::read(folder.last());
  for (const std::string& text : last.notes()) note(text);
  const Json before = Json::parse(last.info().summary, nullptr, false);
  const Json now = Json::parse(info.summary);
  if (!before.is_object() || !before.contains("fingerprint") ||
      !before.value("instruction_set", Json()).is_string())
    file_error(folder.last() +
               ": not written by 'fulmar train'; put the run's own file back, or train into "
               "another folder");
  if (before.at("fingerprint") != now.at("fingerprint"))
    file_error(folder.last() +
               ": the pictures of the dataset are no longer those of this run; "
               "restore them, or train into another folder");
  if (before.at("instruction_set") != now.at("instruction_set"))
    note("this run began on a processor with " + before.at("instruction_set").get<std::string>() +
         "; here it is " + now.at("instruction_set").get<std::string>() +
         ": it goes on, but not with the same bits");
  trainer.resume(last);
}

void initialize(Model& model, const std::string& path) {
  const std::vector<std::string> missing = Checkpoint::read(path).initialize(model);
  const auto stray = std::find_if(missing.begin(), missing.end(), [](const std::string& name) {
    return name.rfind("dense/", 0) != 0;
  });
  if (stray != missing.end())
    file_error(path + ": its weights don't fit this network, such as " + *stray +
               "; take the --widths and --channels of that model ('fulmar info " + path +
               "' tells), only the classes may be others");
  if (!missing.empty()) note("the last layer starts anew: the classes of " + path + " are others");
}

model::NamedValues metrics_of_epoch(const model::RunFolder& folder, int64_t epoch) {
  const model::MetricsTable table = model::read_metrics_csv(folder.metrics());
  model::NamedValues metrics;
  if (epoch < 1 || epoch > static_cast<int64_t>(table.rows.size())) return metrics;
  const std::vector<double>& row = table.rows[static_cast<size_t>(epoch - 1)];
  for (size_t i = 0; i < row.size(); i++) metrics.emplace_back(table.columns[i], row[i]);
  return metrics;
}

}  // namespace

// Trains, and says of what ends it how to go on.
model::TrainOutcome run_trainer(model::Trainer& trainer, const TrainConfig& config,
                                const model::RunFolder& folder) {
  Reporter reporter;
  try {
    return trainer.run(reporter);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::diverged)
      throw Error(ErrorKind::diverged, error.what() + std::string("; use a smaller --lr than ") +
                                           Json(config.learning_rate).dump());
    if (error.kind() == ErrorKind::file && std::filesystem::exists(folder.last()))
      file_error(error.what() + std::string("; then 'fulmar train --out ") + folder.path() +
                 " --resume' goes on");
    throw;
  }
}

TrainedRun run_in(model::RunFolder& folder, Context& context, Device& device,
                  const TrainConfig& config, const TrainRuntime& runtime) {
  Sources sources = open_sources(config, runtime, context.pool());
  const ModelInfo info = describe(config, sources, device);
  Model model = make_model(info, config, device);
  if (!runtime.init.empty()) initialize(model, runtime.init);
  model::Trainer trainer(
      context, device, info, model, *sources.train_loader, sources.validation_loader.get(), folder,
      trainer_options(config, runtime, sources.train_loader->batches_per_epoch()));
  const bool has_checkpoint = std::filesystem::exists(folder.last());
  if (runtime.resume && has_checkpoint) restore(trainer, folder, info);
  say_needs(trainer, sources, model);
  TrainedRun run;
  run.outcome = run_trainer(trainer, config, folder);
  run.best = metrics_of_epoch(folder, run.outcome.best_epoch);
  return run;
}

TrainedRun train_run(Context& context, Device& device, const TrainConfig& config,
                     const TrainRuntime& runtime, const std::string& path) {
  model::RunFolder folder(path);
  if (runtime.resume) return run_in(folder, context, device, config, runtime);
  if (folder.begun())
    file_error(path + " holds a run already: go on with --resume, or choose another folder");
  try {
    // First of all, so that a place that can't be written is told of before pictures are read.
    write_file(folder.config(), config.to_json().dump(2) + "\n");
    return run_in(folder, context, device, config, runtime);
  } catch (...) {
    folder.discard();
    throw;
  }
}

}  // namespace fulmar::tools
