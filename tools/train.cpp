#include <algorithm>
#include <charconv>
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
#include "tools/run/init_model.h"
#include "tools/run/results.h"
#include "tools/run/text.h"
#include "tools/run/train_run.h"
#include "tools/table.h"
#include "tools/train_options.h"
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
  if (!can_become_longer(config))
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
  const Json kept = config.to_json();  // what an older version left out has its usual value
  const Json asked = given.to_json();
  for (const auto& [key, value] : asked.items()) {
    const std::string option = option_of(key);
    const CLI::Option* known = app.get_option_no_throw(option);
    if (!known || known->count() == 0 || value == kept.at(key)) continue;
    if (key == "dataset")
      config.dataset = given.dataset;  // the run looks whether the pictures are the same
    else if (key == "epochs")
      lengthen(config, given.epochs, folder);
    else
      usage_error(option + " was " + kept.at(key).dump() + " in the run to resume and is " +
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
  for (size_t i = 0; i < runs[0].best.size(); i++) {
    const std::string& name = runs[0].best[i].first;
    if (name == "step" || name == "seconds" || name == "learning_rate") continue;
    std::vector<double> values;
    for (const TrainedRun& run : runs) values.push_back(run.best[i].second);
    const auto [mean, deviation] = spread_of(values);
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
  command.add_flag("--resume", options->resume, "Go on with the run in --out, to the same bits")
      ->group(running_options);
  add_runtime_options(command, options->runtime);
  add_device(command, cli.shared);
}

}  // namespace fulmar::tools
