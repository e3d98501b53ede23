#include "tools/run/train_run.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <utility>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "kernels/version.h"
#include "model/metrics_csv.h"
#include "model/program.h"
#include "model/resnet.h"
#include "model/summary.h"
#include "model/tasks/classification.h"
#include "tools/run/after_training.h"
#include "tools/run/init_model.h"
#include "tools/run/machine.h"
#include "tools/run/memory.h"
#include "tools/run/patches.h"
#include "tools/run/results.h"
#include "tools/run/run_pictures.h"
#include "tools/run/run_record.h"
#include "tools/run/text.h"
#include "tools/run/train_data.h"
#include "tools/run/training_words.h"

namespace fulmar::tools {
namespace {

// The positive class of two; what was chosen goes into the configuration.
int64_t choose_positive(TrainConfig& config, const std::vector<std::string>& classes,
                        Observer& observer) {
  if (classes.size() != 2) {
    if (config.positive)
      usage_error("--positive goes with two classes, and " + config.dataset + " has " +
                  std::to_string(classes.size()) + ": leave it out");
    return -1;
  }
  if (config.positive) {
    const auto found = std::find(classes.begin(), classes.end(), *config.positive);
    if (found == classes.end())
      usage_error("--positive " + *config.positive + ": the classes of " + config.dataset +
                  " are " + classes[0] + " and " + classes[1]);
    return found - classes.begin();
  }
  for (const char* usual : {"pos", "positive"}) {
    const auto found = std::find(classes.begin(), classes.end(), usual);
    if (found == classes.end()) continue;
    config.positive = usual;
    return found - classes.begin();
  }
  config.positive = classes[1];
  observer.on_note("the positive class, which F1 and the threshold are about, is '" + classes[1] +
                   "'; --positive chooses");
  return 1;
}

Json counts_of(const data::Dataset& dataset) {
  Json counts = Json::object();
  const std::vector<int64_t> numbers = dataset.class_counts();
  for (size_t i = 0; i < numbers.size(); i++) counts[dataset.classes[i]] = numbers[i];
  return counts;
}

// A network that isn't Fulmar's own stands in the file that the run began with, and in its state.
std::optional<ModelInfo> foreign_of_run(const TrainConfig& config, const model::RunFolder& folder) {
  if (!config.init) return {};
  return foreign_model(std::filesystem::exists(folder.last()) ? folder.last() : *config.init);
}

Network new_network(const TrainConfig& config, int64_t classes) {
  if (model::is_resnet_name(*config.network)) {
    model::ResnetOptions network = model::resnet_named(*config.network);
    network.channels = *config.channels;
    network.classes = classes;
    network.zero_gamma = config.zero_gamma;
    return model::resnet(network);
  }
  model::PolarLowOptions network;
  network.channels = *config.channels;
  network.classes = classes;
  network.widths = config.widths;
  network.dropout = config.dropout;
  return model::polar_low(network);
}

// All but the summary; and which layer has no weights in the model that the run starts from.
StartedModel describe(TrainConfig& config, const RunSamples& samples,
                      const model::RunFolder& folder, Observer& observer) {
  const data::Dataset& train = samples.train.dataset;
  const auto classes = static_cast<int64_t>(train.classes.size());
  if (config.by_pixel()) return {pixel_model(config, train.layers, samples.train.type()), ""};
  if (const auto foreign = foreign_of_run(config, folder)) {
    StartedModel started =
        started_from(*foreign, *config.init, config, classes, samples.train.type());
    started.info = model::classifier_of(
        started.info.network, started.info.picture(),
        model::Classification(train.classes, choose_positive(config, train.classes, observer)));
    return started;
  }
  const ModelInfo info = model::classifier_of(
      new_network(config, classes), config.preprocess(samples.train.type()),
      model::Classification(train.classes, choose_positive(config, train.classes, observer)));
  return {info, info.network.output()};
}

std::string summary_of(const TrainConfig& config, const RunSamples& samples, Device& device) {
  const data::Dataset& train = samples.train.dataset;
  // A model file goes to others, whom this machine's paths don't concern.
  Json settings = config.to_json();
  for (const char* path : {"dataset", "init"}) settings.erase(path);
  const Json summary{{"device", device.name()},
                     {"hardware", device.hardware()},
                     {"config", settings},
                     {"training_samples", counts_of(train)},
                     {"validation_samples", counts_of(samples.validation.dataset)},
                     {"fingerprint", train.fingerprint()}};
  return summary.dump();
}

Model make_model(const ModelInfo& info, const TrainConfig& config, Device& device) {
  require_memory_for_weights(info, device);
  Model model = model::new_model(info, device, static_cast<uint64_t>(config.seed));
  if (config.adamw == "tfa") model.decay_all();  // as tensorflow-addons does
  return model;
}

int64_t steps_per_epoch(const TrainConfig& config, int64_t batches_per_epoch) {
  return (batches_per_epoch + config.accumulate - 1) / config.accumulate;
}

model::TrainStepOptions step_options(const TrainConfig& config, const TrainRuntime& runtime) {
  model::TrainStepOptions options;
  options.optimizer = config.optimizer_options();
  options.loss.label_smoothing = config.label_smoothing;
  options.fuse = config.fuse == "on";
  options.recompute = runtime.recompute;
  options.debug = runtime.debug;
  return options;
}

model::TrainerOptions trainer_options(const TrainConfig& config, const TrainRuntime& runtime,
                                      int64_t batches_per_epoch) {
  model::TrainerOptions options;
  options.epochs = config.epochs;
  options.micro_batches = config.accumulate;
  options.step = step_options(config, runtime);
  const int64_t per_epoch = steps_per_epoch(config, batches_per_epoch);
  options.schedule = config.schedule_options(per_epoch * config.epochs, per_epoch);
  options.early_stopping.reset();
  if (config.stop_patience.value_or(0) > 0)
    options.early_stopping = model::EarlyStopping::Options{*config.stop_patience};
  options.monitor_training_loss = config.protocol == "paper";
  if (config.bn_statistics == "running") options.statistics_samples = 0;
  options.seed = static_cast<uint64_t>(config.seed);
  options.checkpoint_minutes = runtime.checkpoint_minutes;
  options.device_cache = runtime.device_cache;
  return options;
}

void note_needs(const RunSamples& samples, const TrainConfig& config, const TrainRuntime& runtime,
                const ModelInfo& info, Device& device, Observer& observer) {
  const int64_t batches = batches_per_epoch(samples, config);
  observer.on_note("training on " + with_separators(samples.train.count()) + " pictures (" +
                   with_separators(batches) + " batches an epoch), validating on " +
                   with_separators(samples.validation.count()));

  const model::Summary summary =
      model::summarize(info, config.batch, device, step_options(config, runtime));
  const std::string small = small_crop_word(info.network, summary, config.crop);
  if (!small.empty()) observer.on_note(small);
  const model::MemoryNeed& step = summary.training;
  // In the loader's slots, where the CPU reads them; a GPU has its own input, and the way there,
  // twice each.
  const bool apart = !device.backend().host_memory;
  const auto slots = static_cast<uint64_t>(loader_options(config, runtime, 1).slots());
  const uint64_t of_batches = batches_bytes(samples, config);
  const uint64_t prepared = (slots + (apart ? 2 : 0)) * of_batches;
  const InMemory kept = kept_in_memory(samples, runtime);
  const uint64_t decoded =
      (kept.train ? samples.train.bytes() : 0) + (kept.validation ? samples.validation.bytes() : 0);
  const uint64_t network = step.total() - step.pictures;
  const auto sum = [](std::initializer_list<uint64_t> parts) {
    double bytes = 0;
    for (const uint64_t part : parts) bytes += static_cast<double>(part);
    return bytes;
  };
  const std::string what = "training with batches of " + std::to_string(config.batch) + " pictures";
  const std::string remedy =
      std::string(runtime.recompute ? "" : "add --recompute, or ") +
      "use a smaller --batch (with --accumulate the step stays the same), --crop, --widths or "
      "--memory";
  const std::string pictures = readable_bytes(prepared) + " for batches, " +
                               readable_bytes(decoded) + " for decoded pictures";
  if (apart) {
    require_memory(sum({prepared, decoded}), what, remedy);
    require_device_memory(sum({network, 2 * of_batches}), device, what, remedy,
                          sum({step.activations, 2 * of_batches}), config.batch);
    observer.on_note("needs about " + readable_bytes(network + 2 * of_batches) +
                     " of the memory of " + device.describe() + ", and of this machine's " +
                     pictures);
  } else {
    require_memory(sum({network, prepared, decoded}), what, remedy);
    observer.on_note("needs about " + readable_bytes(network + prepared + decoded) +
                     " of memory: " + readable_bytes(network) + " for the network, " + pictures);
  }

  // Weights and two moments each in the last state, twice while it is written; weights in the best.
  const auto parameters = static_cast<uint64_t>(7 * summary.trainable + 3 * summary.statistics);
  std::string disk = readable_bytes(sizeof(float) * parameters) + " on disk for the run";
  if (!runtime.cache_folder.empty())
    disk += ", and " + readable_bytes(samples.train.bytes() + samples.validation.bytes()) + " in " +
            runtime.cache_folder + " where the pictures are not there yet";
  observer.on_note("needs up to " + disk);
}

// The state that a run goes on from.
Checkpoint read_last(const model::RunFolder& folder, const ModelInfo& info, Observer& observer) {
  Checkpoint last = Checkpoint::read(folder.last());
  for (const std::string& text : last.notes()) observer.on_note(text);
  const Json before = Json::parse(last.info().summary, nullptr, false);
  const Json now = Json::parse(info.summary);
  if (!before.is_object() || !before.contains("fingerprint") ||
      !before.value("hardware", Json()).is_string())
    file_error(folder.last() +
               ": not written by 'fulmar train'; put the run's own file back, or train into "
               "another folder");
  if (before.at("fingerprint") != now.at("fingerprint"))
    file_error(folder.last() +
               ": the pictures of the dataset are no longer those of this run; "
               "restore them, or train into another folder");
  if (before.at("hardware") != now.at("hardware"))
    observer.on_note("this run began on " + before.at("hardware").get<std::string>() +
                     "; here it is " + now.at("hardware").get<std::string>() +
                     ": it goes on, but not with the same bits");
  return last;
}

// Gives the model the weights of config.init, whose CRC the configuration then tells; where it
// tells one already, the file must still be that one. `anew`: the layer that may have none there.
void initialize(Model& model, const std::string& anew, TrainConfig& config, Observer& observer) {
  const std::string& path = *config.init;
  const std::vector<std::string> missing = Checkpoint::read(path).initialize(model);
  const std::string head = anew + "/";
  const auto stray = std::find_if(missing.begin(), missing.end(), [&](const std::string& name) {
    return name.rfind(head, 0) != 0;
  });
  if (stray != missing.end())
    file_error(path + ": its weights don't fit this network, such as " + *stray +
               "; take the --widths and --channels of that model ('fulmar info " + path +
               "' tells), only the classes may be others");
  if (!missing.empty())
    observer.on_note("the last layer starts anew: the classes of " + path + " are others");
  const std::string crc = crc32c_of_file(path);
  if (config.init_crc32c.value_or(crc) != crc)
    file_error(path + ": no longer the file that this run started from (its CRC-32C is " + crc +
               ", not " + *config.init_crc32c + "); put it back, or train into another folder");
  config.init_crc32c = crc;
}

model::NamedValues metrics_of_epoch(const model::RunFolder& folder, int64_t epoch) {
  const model::MetricsTable table = model::read_metrics_csv(folder.metrics());
  model::NamedValues metrics;
  if (epoch < 1 || epoch > static_cast<int64_t>(table.rows.size())) return metrics;
  const std::vector<double>& row = table.rows[static_cast<size_t>(epoch - 1)];
  for (size_t i = 0; i < row.size(); i++) metrics.emplace_back(table.columns[i], row[i]);
  return metrics;
}

void write_config(const model::RunFolder& folder, const TrainConfig& config, Device& device) {
  Json json{{"fulmar", version()}, {"commit", commit()}, {"device", device.name()}};
  json.update(config.to_json());
  write_file(folder.config(), json.dump(2) + "\n");
}

// What a run that goes on may be told anew.
void update_config(const model::RunFolder& folder, const TrainConfig& config, Observer& observer) {
  const Json before = Json::parse(read_file(folder.config(), 1 << 20));
  Json json = before;
  json["dataset"] = config.dataset;
  json["epochs"] = config.epochs;
  if (json == before) return;
  if (json["dataset"] != before["dataset"])
    observer.on_note("the same pictures, which lay in " + before["dataset"].get<std::string>() +
                     ", are taken from " + config.dataset + " now");
  write_file(folder.config(), json.dump(2) + "\n");
}

// A GPU's choices of algorithms decide bits: a run that goes on makes them as before.
void reuse_choices(const model::RunFolder& folder, Device& device, Observer& observer) {
  if (std::filesystem::exists(folder.convolutions()))
    device.use_convolution_choices(read_file(folder.convolutions(), 1 << 24));
  else if (!device.backend().host_memory)
    observer.on_note(folder.convolutions() + " is missing: algorithms are chosen anew on " +
                     device.describe() + ", and the run may not go on with the same bits");
}
void keep_choices(const model::RunFolder& folder, Device& device) {
  const std::string choices = device.convolution_choices();
  if (!choices.empty()) write_file(folder.convolutions(), choices);
}

// Trains, and says of what ends it how to go on.
model::TrainOutcome run_trainer(model::Trainer& trainer, model::TrainObserver& observer,
                                const TrainConfig& config, const model::RunFolder& folder) {
  try {
    return trainer.run(observer);
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

// How a run ended that an error ended.
const char* end_of(ErrorKind kind) {
  if (kind == ErrorKind::cancelled) return "interrupted";
  return kind == ErrorKind::diverged ? "diverged" : "failed";
}

// Whole epochs behind a state.
int64_t epochs_of(const Checkpoint& state) {
  return Json::parse(state.info().summary, nullptr, false).value("epoch", int64_t{0});
}

// Of a run that was resumed at its end.
void tell_how_to_go_on(const model::TrainOutcome& outcome, const TrainConfig& config,
                       const std::string& path, Observer& observer) {
  const std::string epochs = std::to_string(outcome.epochs) + " epochs";
  const std::string anew = "fulmar train DIR --out NEW --init " + path + "/best.safetensors";
  if (outcome.stopped_early)
    observer.on_note("this run had stopped early, after " + epochs +
                     " (--stop-patience); to train on from its weights: " + anew);
  else if (can_become_longer(config))
    observer.on_note("this run had had its " + epochs + "; --epochs N makes it longer");
  else
    observer.on_note("this run had had its " + epochs + ", at whose end --schedule " +
                     config.schedule + " comes to rest; to train on from its weights: " + anew);
}

// Notes, once, that transparency of pictures is left out, as Pillow's convert("RGB") does, and at
// the end how many were decoded. Passes all else on.
class WithPictureNotes : public model::TrainObserver {
 public:
  WithPictureNotes(const Sources& sources, RunObserver& observer)
      : sources_(sources), observer_(observer) {}

  void note_decoded() {
    if (epochs_ > 0)
      observer_.on_note("pictures decoded: " + with_separators(first_) + " in the first epoch, " +
                        with_separators(sources_.decoded() - first_) + " later");
  }

  void on_batch(const Position& position) override {
    note_alpha();
    observer_.on_batch(position);
  }
  void on_validation(int64_t batches, int64_t of_batches) override {
    note_alpha();
    observer_.on_validation(batches, of_batches);
  }
  void on_epoch(const model::NamedValues& metrics, bool best) override {
    if (epochs_++ == 0) first_ = sources_.decoded();
    observer_.on_epoch(metrics, best);
  }

 private:
  void note_alpha() {
    if (noted_ || !sources_.dropped_alpha()) return;
    observer_.on_note(alpha_note);
    noted_ = true;
  }

  const Sources& sources_;
  RunObserver& observer_;
  bool noted_ = false;
  int64_t epochs_ = 0;  // of this process
  int64_t first_ = 0;   // pictures decoded until the end of the first of them
};

// The page about a training that did not end, from the files that there are. It notes an error and
// goes on.
void report_unfinished(const model::RunFolder& folder, RunRecord& record, const std::string& ended,
                       RunObserver& observer) {
  const std::optional<Error> failure = failure_of([&] {
    record.end(ended);
    observer.on_folder(folder.path(), false);
  });
  if (failure) observer.on_note(std::string("no report of this run: ") + failure->what());
}

// Trains, with the memory that it takes given back at the end.
model::TrainOutcome train_on(const Sources& sources, model::RunFolder& folder, RunRecord& record,
                             const ModelInfo& info, Model& model, std::optional<Checkpoint> last,
                             const TrainConfig& config, const TrainRuntime& runtime,
                             Context& context, RunObserver& observer) {
  model::Trainer trainer(context, model.device(), info, model, *sources.train,
                         sources.validation.get(), folder,
                         trainer_options(config, runtime, sources.train->batches_per_epoch()));
  keep_choices(folder, model.device());  // all plans are made
  const int64_t epochs_before = last ? epochs_of(*last) : -1;
  if (last) trainer.resume(*last);
  last.reset();  // its memory is needed
  record.begin(runtime.command, machine_json(model.device(), context));
  WithPictureNotes noting(sources, observer);
  try {
    const model::TrainOutcome outcome = run_trainer(trainer, noting, config, folder);
    noting.note_decoded();
    record.end(outcome.stopped_early ? "stopped early" : "finished");
    if (outcome.epochs == epochs_before)
      tell_how_to_go_on(outcome, config, folder.path(), observer);
    return outcome;
  } catch (const Error& error) {
    if (std::filesystem::exists(folder.last()))
      report_unfinished(folder, record, end_of(error.kind()), observer);
    throw;
  }
}

// The report of a run that came to its end; without one the run is still whole.
std::optional<Error> try_report(const std::function<void()>& report,
                                const model::RunFolder& folder) {
  const std::optional<Error> failure = failure_of(report);
  if (!failure) return std::nullopt;
  return Error(failure->kind(), failure->what() +
                                    std::string("; the training is done and its model whole, only "
                                                "the report is missing: 'fulmar train --out ") +
                                    folder.path() + " --resume' goes on with it");
}

// Decodes, trains and reports.
TrainedRun train_in(model::RunFolder& folder, const RunSamples& samples, const ModelInfo& info,
                    Model& model, std::optional<Checkpoint> last, const TrainConfig& config,
                    const TrainRuntime& runtime, Context& context, RunObserver& observer) {
  const Sources sources = open_sources(samples, config, runtime, context, observer);
  RunRecord record(folder.record());
  TrainedRun run;
  run.outcome = train_on(sources, folder, record, info, model, std::move(last), config, runtime,
                         context, observer);
  run.best = metrics_of_epoch(folder, run.outcome.best_epoch);
  run.report_failure = try_report(
      [&] {
        Device& device = model.device();
        if (config.by_pixel()) {
          run.test = evaluate_test_pixels(folder, samples.test, sources.test_pictures, config,
                                          runtime, context, device, observer);
          return observer.on_folder(folder.path(), true);
        }
        run.test =
            evaluate_test(folder, samples, sources, runtime.command, context, device, observer);
        record.keep_data(data_json(samples, sources, context, observer));
        evaluate_validation(folder, samples, sources, runtime.command, context, device, observer);
        observer.on_folder(folder.path(), true);
      },
      folder);
  return run;
}

// In a folder that this process holds.
TrainedRun train_held(Context& context, Device& device, TrainConfig config,
                      const TrainRuntime& runtime, model::RunFolder& folder,
                      RunObserver& observer) {
  std::optional<data::FileDigests> before;
  if (runtime.resume) {
    if (!std::filesystem::exists(config.dataset))
      file_error(config.dataset + ": no such folder; if the pictures of this run lie elsewhere " +
                 "now, say where: fulmar train DIR --out " + folder.path() + " --resume");
    reuse_choices(folder, device, observer);
    before = digests_of_run(folder, config.dataset);
  }
  const RunSamples samples = find_samples(config, runtime, before.value_or(data::FileDigests{}),
                                          context, observer);  // completes the configuration
  if (runtime.resume) require_same_pictures(folder, before, samples.digests, observer);
  config.resolve_patience(steps_per_epoch(config, batches_per_epoch(samples, config)));
  StartedModel started = describe(config, samples, folder, observer);
  ModelInfo& info = started.info;
  Model model = make_model(info, config, device);
  const bool has_last = runtime.resume && std::filesystem::exists(folder.last());
  if (config.init && !has_last) initialize(model, started.anew, config, observer);
  info.summary = summary_of(config, samples, device);
  std::optional<Checkpoint> last;
  if (has_last) last = read_last(folder, info, observer);
  note_needs(samples, config, runtime, info, device, observer);
  // A place that can't be written is told of before pictures are decoded.
  if (runtime.resume) {
    const AtomicFile attempt(folder.last());  // not committed: leaves nothing
    update_config(folder, config, observer);
  } else {
    write_config(folder, config, device);
  }
  if (!before) keep_digests(folder, config.dataset, samples.digests);
  return train_in(folder, samples, info, model, std::move(last), config, runtime, context,
                  observer);
}

}  // namespace

bool can_become_longer(const TrainConfig& config) {
  return config.schedule == "plateau" || config.schedule == "restarts";
}

TrainedRun train_run(Context& context, Device& device, TrainConfig config,
                     const TrainRuntime& runtime, const std::string& path, RunObserver& observer) {
  config.precision = name_of(device.precision());
  model::RunFolder folder(path);
  if (const std::string word = folder.hold(); !word.empty()) observer.on_note(word);
  if (!runtime.resume && folder.begun())
    file_error(path + " holds a run already: go on with --resume, or choose another folder");
  try {
    return train_held(context, device, std::move(config), runtime, folder, observer);
  } catch (...) {
    if (!runtime.resume) folder.discard();
    throw;
  }
}

void check_run(Context& context, Device& device, TrainConfig config, const TrainRuntime& runtime,
               const model::RunFolder& folder) {
  Observer silent;
  const RunSamples samples = look_at_samples(config, runtime, context);
  const ModelInfo info = describe(config, samples, folder, silent).info;
  require_memory_for_weights(info, device);
  note_needs(samples, config, runtime, info, device, silent);
}

}  // namespace fulmar::tools
