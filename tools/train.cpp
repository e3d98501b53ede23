#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/picture_options.h"
#include "tools/run/init_model.h"
#include "tools/run/text.h"
#include "tools/run/train_run.h"
#include "tools/table.h"
#include "tools/train_reporter.h"

namespace fulmar::tools {
namespace {

struct Options {
  TrainConfig config;
  TrainRuntime runtime;
  std::string out;
  int64_t seeds = 1;
  bool resume = false;
};

void add_picture_options(CLI::App& app, TrainConfig& c) {
  app.add_option("--size", c.size, "Resize pictures to N x N pixels, or native (default native)")
      ->type_name("N|native");
  add_choice(app, "--resize", c.resize, {"nearest", "bilinear"},
             "How to resize: as Keras' load_img, or as its image_dataset_from_directory (default "
             "nearest)");
  add_integer(app, "--crop", c.crop, 1, 1 << 20,
              "Side of the centre crop that the network sees, pixels (default: the size)");
  add_integer(app, "--channels", c.channels, 1, WarpOptions::max_bands,
              "1: grey, 3: RGB; other pictures must have as many bands (default: 3 for grey and\n"
              "RGB of 8 or 16 bits, else as many as the pictures have)");
  add_bands(app, c.bands, "(default: a file is a sample)");
  add_numbers(
      app, "--range", c.range, 2,
      "Values of the pictures that become 0 and 1, in every band; LO stands for what is\n"
      "missing. Default: 0 and 255 of 8 bits, 0 and 65535 of 16 bits where 1 % of a band's\n"
      "values are above 32767; of other 16 bits and of float32 each band gets mean 0 and\n"
      "standard deviation 1 over what the training pictures measure",
      "LO,HI");
  app.add_flag("--pad", c.pad,
               "Surround what is smaller than the crop or, with --size N, not square, with black\n"
               "(where bands are measured: with what stands for missing)");
  app.add_flag("--standardize", c.standardize, "Mean 0 and standard deviation 1 for each picture");
}

void add_sample_options(CLI::App& app, TrainConfig& c) {
  app.add_option("--positive", c.positive,
                 "Of two classes, the one that F1 and the threshold are about (default: pos or "
                 "positive, else the second)")
      ->type_name("CLASS");
  add_number(app, "--validation", c.validation, 0, 0.9,
             "Share of the training pictures held out to validate on (default 0: none; where DIR "
             "has val/,\n"
             "valid/ or validation/, those pictures)");
  add_number(
      app, "--test", c.test, 0, 0.9,
      "Share of the training pictures held out of training and of every choice; at the end the\n"
      "best model is scored on it (default 0: none; 'fulmar split' makes a folder of it)");
  add_integer(app, "--split-seed", c.split_seed, 0, INT64_MAX, "What the splits are drawn by");
  add_scenes(app, c.scenes);
  add_choice(app, "--sampling", c.sampling, {"balanced", "epoch"},
             "Every class as often as the others, as published, or every picture once an epoch "
             "(default balanced)");
  add_choice(
      app, "--protocol", c.protocol, {"paper"},
      "paper: as the published training, --adamw tfa and --bn-statistics running unless given, "
      "and callbacks watch the training loss");
}

void add_augment_options(CLI::App& app, TrainConfig& c) {
  const char* group = "Augmentation";
  add_choice(app, "--augment", c.augment, {"none", "published"},
             "Start from the published ranges, translate 0.1, flip hv, rotate 0.4, zoom 0.15, or "
             "from none (default published)")
      ->group(group);
  add_number(app, "--translate", c.translate, 0, 1, "By up to this share of the side")
      ->group(group);
  add_choice(app, "--flip", c.flip, {"none", "h", "v", "hv"}, "Mirror, each with probability 1/2")
      ->group(group);
  add_number(app, "--rotate", c.rotate, 0, 0.5, "By up to this many full turns")->group(group);
  add_number(app, "--zoom", c.zoom, 0, 0.9, "By up to this share")->group(group);
  add_number(app, "--gain", c.gain, 0, 10, "Brightness times (1 + G)^U(-1, 1)")->group(group);
  add_number(app, "--speckle", c.speckle, 0, 10, "Multiplicative noise of this standard deviation")
      ->group(group);
}

void add_network_options(CLI::App& app, TrainConfig& c) {
  add_path(
      app, "--init", c.init,
      "Model file whose weights to start from; of an imported one the network too, with its size, "
      "crop\nand channels",
      "MODEL");
  add_integers(app, "--widths", c.widths, 1, 1 << 16,
               "Filters of the blocks (default 8,16,32,64,128,256,512)");
  add_number(app, "--dropout", c.dropout, 0, 0.99, "Dropout before the last layer (default 0.5)");
}

void add_training_options(CLI::App& app, TrainConfig& c) {
  add_integer(app, "--epochs", c.epochs, 1, 1000000, "At most this many (default 200)");
  add_integer(app, "--batch", c.batch, 1, 65536, "Pictures at a time (default 16)");
  add_integer(app, "--accumulate", c.accumulate, 1, 65536,
              "Batches that make one step, for small memories (default 1)");
  add_number(app, "--lr", c.learning_rate, 0, 100, "Learning rate, the highest one (default 1e-3)");
  add_number(app, "--weight-decay", c.weight_decay, 0, 1, "Of AdamW (default 1e-4)");
  add_choice(
      app, "--adamw", c.adamw, {"torch", "keras", "tfa"},
      "AdamW's formula as in PyTorch, Keras or tensorflow-addons (default torch). Biases and "
      "batch normalisation are decayed with tfa only");
  add_choice(app, "--schedule", c.schedule, {"plateau", "one-cycle", "cosine"},
             "Of the learning rate (default plateau)");
  add_number(app, "--warmup", c.warmup, 0, 1,
             "One-cycle: share of the steps in which the rate goes up (default 0.3)");
  add_integer(
      app, "--plateau-patience", c.plateau_patience, 1, 1000000,
      "Plateau: epochs without improvement before the rate is halved (default 10, or as many as "
      "make 200 steps)");
  add_integer(
      app, "--stop-patience", c.stop_patience, 0, 1000000,
      "Epochs without improvement before training stops; 0: never (default with plateau 20, or as "
      "many as make 400 steps; 0 with one-cycle and cosine, whose rate falls to the last epoch)");
  add_choice(app, "--bn-statistics", c.bn_statistics, {"estimated", "running"},
             "What batch normalisation uses in validation and prediction: statistics measured "
             "after each epoch\nover its first 512 pictures, or running averages of the training "
             "steps, as published (default\nestimated; with --protocol paper running)");
  add_number(app, "--label-smoothing", c.label_smoothing, 0, 0.9, "(default 0)");
  add_precision(app, c.precision);
}

void add_config_options(CLI::App& app, TrainConfig& c) {
  add_picture_options(app, c);
  add_sample_options(app, c);
  add_augment_options(app, c);
  add_network_options(app, c);
  add_training_options(app, c);
}

void add_runtime_options(CLI::App& app, Options& o) {
  const char* group = "Running";
  TrainRuntime& r = o.runtime;
  app.add_flag("--resume", o.resume, "Go on with the run in --out, to the same bits")->group(group);
  add_number(app, "--checkpoint-minutes", r.checkpoint_minutes, 0, 1e6,
             "Between saves within an epoch; 0: only at its end (default 10)")
      ->group(group);
  add_integer(app, "--loader-threads", r.loader_threads, 1, 256,
              "Threads that prepare batches (default 1)")
      ->group(group);
  add_path(app, "--cache", r.cache_folder, "Folder for a file of decoded pictures", "DIR")
      ->group(group);
  add_number(app, "--memory", r.memory_gb, 0, 1e5,
             "GB of decoded pictures to keep in memory, without --cache (default 4)")
      ->group(group);
  add_max_pixels(app, r.max_pixels)->group(group);
  app.add_flag("--debug", r.debug,
               "Layer by layer, looking at each result: slow; names the layer that fails first")
      ->group(group);
  add_bytes(app, "--device-cache", r.device_cache,
            "Bytes of a GPU's memory that keep pictures, so that they are copied there once; auto: "
            "what\nthe training leaves free, off: none (default auto)")
      ->group(group);
}

// The option that sets an entry of the configuration.
std::string option_of(const std::string& entry) {
  std::string option = entry == "dataset"         ? "DIR"
                       : entry == "learning_rate" ? "--lr"
                                                  : "--" + entry;
  std::replace(option.begin(), option.end(), '_', '-');
  return option;
}

// What config.json says must be what options could have said. Error(usage) naming the option, or
// CLI::ParseError.
void check_as_options(TrainConfig config) {
  CLI::App app;
  TrainConfig parsed;
  add_config_options(app, parsed);
  const Json defaults = parsed.to_json(), given = config.to_json();
  std::vector<std::string> arguments;
  for (const auto& [key, value] : given.items()) {
    const std::string option = option_of(key);
    if (!app.get_option_no_throw(option) || value.is_boolean() || value == defaults.at(key))
      continue;
    std::string text = value.is_string() ? value.get<std::string>() : "";
    if (value.is_array())
      for (const Json& item : value) text += (text.empty() ? "" : ",") + item.dump();
    else if (!value.is_string())
      text = value.dump();
    arguments.push_back(option + "=" + text);
  }
  app.parse(arguments);
  config.resolve();
}

// More epochs for a run, where what it did so far is what it had done with them.
void lengthen(TrainConfig& config, int64_t epochs, const std::string& folder) {
  const std::string before = std::to_string(config.epochs);
  if (epochs < config.epochs)
    usage_error("--epochs was " + before + " in the run to resume and is " +
                std::to_string(epochs) + " here: a run can only become longer");
  if (config.schedule != "plateau")
    usage_error("--epochs was " + before + " in the run to resume: with --schedule " +
                config.schedule + " the learning rate comes to rest then, so it can't become " +
                "longer. Train on from its weights: fulmar train DIR --out NEW --init " + folder +
                "/best.safetensors --epochs N");
  config.epochs = epochs;
}

// The configuration of a run to go on with. Options given again must be the same, but for the
// place of the pictures and more epochs.
TrainConfig resumed_config(const CLI::App& app, TrainConfig given, const std::string& folder) {
  const std::string path = model::RunFolder(folder).config();
  const Json saved = Json::parse(read_file(path, 1 << 20), nullptr, false);
  const auto refuse = [&](const std::string& reason) {
    file_error(path + ": not a configuration that this version wrote: " + reason +
               "; restore it, or train into another folder");
  };
  if (!saved.is_object()) refuse("it is empty, cut short, or no JSON object");
  TrainConfig config;
  try {
    config = TrainConfig::from_json(saved);
    check_as_options(config);
  } catch (const Error& error) {
    refuse(error.what());
  } catch (const CLI::ParseError& error) {
    refuse(error.what());
  }
  given.resolve_paths();
  const Json asked = given.to_json();
  for (const auto& [key, value] : asked.items()) {
    const std::string option = option_of(key);
    const CLI::Option* known = app.get_option_no_throw(option);
    if (!known || known->count() == 0 || value == saved.at(key)) continue;
    if (key == "dataset")
      config.dataset = given.dataset;  // the run looks whether the pictures are the same
    else if (key == "epochs")
      lengthen(config, given.epochs, folder);
    else
      usage_error(option + " was " + saved.at(key).dump() + " in the run to resume and is " +
                  value.dump(-1, ' ', false, Json::error_handler_t::replace) +
                  " here: leave it out, or train into another folder");
  }
  return config;
}

bool has_run(const std::string& folder) {
  return std::filesystem::exists(model::RunFolder(folder).config());
}

// A training to do: one seed of several, or the only one.
struct Job {
  std::string folder;
  TrainConfig config;
  bool resume = false;
};

// Where a run goes on: as asked, else on the device that it began on.
std::string device_of_run(const CLI::App& app, const SharedOptions& shared, const Job& job) {
  if (!job.resume || app.get_option("--device")->count() > 0) return shared.device;
  const std::string path = model::RunFolder(job.folder).config();
  const Json device = Json::parse(read_file(path, 1 << 20)).value("device", Json());
  if (!device.is_string() || !is_device(device.get<std::string>()))
    file_error(path + ": 'device' is missing or names none; say --device");
  return device.get<std::string>();
}

std::string seed_folder(const std::string& out, int64_t seed) {
  return out + "/seed-" + std::to_string(seed);
}

// The lowest N for which OUT/seed-N holds a run; -1: none does.
int64_t first_seed(const std::string& out) {
  int64_t first = -1;
  std::error_code error;
  std::filesystem::directory_iterator it(out, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    int64_t seed = -1;
    if (name.rfind("seed-", 0) != 0) continue;
    const char* end = name.data() + name.size();
    const auto [at, reason] = std::from_chars(name.data() + 5, end, seed);
    if (reason == std::errc{} && at == end && seed >= 0 && has_run(seed_folder(out, seed)) &&
        (first < 0 || seed < first))
      first = seed;
  }
  return first;
}

std::vector<Job> new_jobs(const Options& o) {
  if (o.config.dataset.empty()) usage_error("which folder of pictures? fulmar train DIR --out RUN");
  std::vector<Job> jobs;
  for (int64_t i = 0; i < o.seeds; i++) {
    TrainConfig config = o.config;
    config.seed += i;
    take_from_init(config);
    config.resolve();
    jobs.push_back({o.seeds == 1 ? o.out : seed_folder(o.out, config.seed), config, false});
    if (model::RunFolder(jobs.back().folder).begun())
      file_error(jobs.back().folder +
                 " holds a run already: go on with --resume, or choose another folder");
  }
  return jobs;
}

// Seeds that have not begun get the configuration of the first one that has.
std::vector<Job> resumed_jobs(const CLI::App& app, const Options& o) {
  TrainConfig given = o.config;
  if (o.seeds == 1) {
    if (!has_run(o.out))
      file_error(o.out + " holds no run to resume: it has no config.json" +
                 (first_seed(o.out) >= 0 ? "; give --seeds again"
                                         : "; check --out, or leave out --resume"));
    return {{o.out, resumed_config(app, given, o.out), true}};
  }
  const bool asked = app.get_option_no_throw("--seed")->count() > 0;
  const int64_t first = asked ? given.seed : first_seed(o.out);
  std::vector<Job> jobs;
  std::optional<TrainConfig> begun;
  for (int64_t i = 0; i < o.seeds && first >= 0; i++) {
    given.seed = first + i;
    Job job{seed_folder(o.out, given.seed), {}, has_run(seed_folder(o.out, given.seed))};
    if (job.resume) job.config = resumed_config(app, given, job.folder);
    if (job.resume && !begun) begun = job.config;
    jobs.push_back(std::move(job));
  }
  if (!begun)
    file_error(o.out +
               " holds no run to resume: none of its folders seed-N has a config.json; "
               "check --out and --seed, or leave out --resume");
  for (size_t i = 0; i < jobs.size(); i++) {
    if (jobs[i].resume) continue;
    jobs[i].config = *begun;
    jobs[i].config.seed = first + static_cast<int64_t>(i);
  }
  return jobs;
}

Json json_of(const TrainedRun& run, const std::string& folder) {
  Json metrics = Json::object();
  for (const auto& [name, value] : run.best) metrics[name] = value;
  return {{"run", folder},
          {"model", folder + "/best.safetensors"},
          {"report", run.report_failure ? Json(nullptr) : Json(model::RunFolder(folder).report())},
          {"epochs", run.outcome.epochs},
          {"best_epoch", run.outcome.best_epoch},
          {"stopped_early", run.outcome.stopped_early},
          {"best", metrics},
          {"test", run.test}};
}

// Mean and sample standard deviation over the runs, metric by metric.
void print_spread(const std::vector<TrainedRun>& runs, bool json) {
  Json all = Json::object();
  Table table({{"metric of the best epoch", Table::Align::left},
               {"mean", Table::Align::right},
               {"standard deviation", Table::Align::right}});
  const auto n = static_cast<double>(runs.size());
  for (size_t i = 0; i < runs[0].best.size(); i++) {
    const std::string& name = runs[0].best[i].first;
    if (name == "step" || name == "seconds" || name == "learning_rate") continue;
    double mean = 0, squares = 0;
    for (const TrainedRun& run : runs) mean += run.best[i].second / n;
    for (const TrainedRun& run : runs) squares += std::pow(run.best[i].second - mean, 2);
    const double deviation = std::sqrt(squares / (n - 1));
    table.add({name, fixed(mean, 4), fixed(deviation, 4)});
    all[name] = {{"mean", mean}, {"sd", deviation}};
  }
  if (json)
    print_line({{"seeds", runs.size()}, {"metrics", all}});
  else
    print(table.to_string());
}

int train(const CLI::App& app, Options& o, const SharedOptions& shared) {
  CommandContext command(shared);
  o.config.seed = static_cast<int64_t>(shared.seed);
  std::vector<TrainedRun> runs;
  int code = exit_ok;
  for (const Job& job : o.resume ? resumed_jobs(app, o) : new_jobs(o)) {
    TrainRuntime runtime = o.runtime;
    runtime.resume = job.resume;
    runtime.command = shared.command;
    if (o.seeds > 1) note("seed " + std::to_string(job.config.seed) + ": " + job.folder);
    Device& device = command.device(device_of_run(app, shared, job), job.config.precision);
    Reporter reporter;
    runs.push_back(train_run(command.context(), device, job.config, runtime, job.folder, reporter));
    if (shared.json)
      print_line(json_of(runs.back(), job.folder));
    else
      print(job.folder + "/best.safetensors\n");
    flush_output();
    if (const auto& failure = runs.back().report_failure) {
      if (failure->kind() == ErrorKind::cancelled) throw Error(*failure);
      say(failure->what());
      code = code_of(failure->kind());
    }
  }
  if (o.seeds > 1) print_spread(runs, shared.json);
  return code;
}

}  // namespace

void add_train(Cli& cli) {
  auto options = std::make_shared<Options>();
  auto app = std::make_shared<const CLI::App*>(nullptr);
  CLI::App& command = add_command(
      cli, "train", "Train a classifier on a folder of pictures, a folder for each class",
      [options, app, &cli] { return train(**app, *options, cli.shared); });
  *app = &command;
  command.add_option("DIR", options->config.dataset,
                     "Folder with train/CLASS/* and, if there, val/CLASS/*; or CLASS/*");
  add_path(command, "--out", options->out, "Run folder: configuration, metrics, model files", "RUN")
      ->required();
  add_config_options(command, options->config);
  add_integer(command, "--seeds", options->seeds, 1, 1000,
              "Train this many, seed by seed, and print mean and standard deviation (default 1)");
  add_runtime_options(command, *options);
  add_device(command, cli.shared);
}

}  // namespace fulmar::tools
