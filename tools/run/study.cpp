#include "tools/run/study.h"

#include <filesystem>
#include <set>
#include <system_error>

#include "engine/io/file.h"
#include "engine/io/utc_now.h"
#include "kernels/error.h"
#include "model/metrics_csv.h"
#include "tools/run/evaluate_pictures.h"

namespace fulmar::tools {

namespace fs = std::filesystem;

namespace {

// The configuration that a run began with, at the place where its pictures are now.
TrainConfig config_of_run(const model::RunFolder& run, const std::string& pictures) {
  const Json saved = Json::parse(read_file(run.config(), 1 << 20), nullptr, false);
  try {
    if (!saved.is_object()) usage_error("it is empty, cut short, or no JSON object");
    TrainConfig config = TrainConfig::from_json(saved);
    config.dataset = pictures;
    TrainConfig(config).resolve();  // what can't be is said here
    return config;
  } catch (const Error& error) {
    file_error(run.config() + ": not a configuration that this version wrote: " + error.what() +
               "; remove " + run.path());
  }
}

// `kept` gets what it hasn't of `now`.
void merge_settings(Json& kept, const Json& now, const std::string& out) {
  for (const auto& [key, value] : now.items()) {
    if (!kept.contains(key)) {
      kept[key] = value;
    } else if (value.is_object() && kept[key].is_object()) {
      merge_settings(kept[key], value, out);
    } else if (kept[key] != value) {
      const auto text = [](const Json& json) {
        return json.dump(-1, ' ', false, Json::error_handler_t::replace);
      };
      usage_error(option_of(key) + " was " + text(kept[key]) + " in " + out + " and is " +
                  text(value) + " here: leave it as it was, or name another --out");
    }
  }
}

}  // namespace

std::string absolute_path(const std::string& path) {
  std::string text = fs::absolute(path).lexically_normal().string();
  if (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

std::string joined(const std::vector<int64_t>& numbers) {
  std::string text;
  for (const int64_t number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

void require_distinct(const std::vector<int64_t>& numbers, const std::string& what) {
  if (numbers.empty()) usage_error(what + ": at least one number");
  if (std::set<int64_t>(numbers.begin(), numbers.end()).size() != numbers.size())
    usage_error(what + " " + joined(numbers) + ": one stands there twice");
}

Json synth_record(const std::string& folder) {
  const std::string path = folder + "/synth.json";
  std::error_code error;
  if (!fs::exists(path, error)) return nullptr;
  const Json record = Json::parse(read_file(path, 1 << 20), nullptr, false);
  return record.is_object() ? record : Json(nullptr);
}

void keep_settings(const std::string& out, const std::string& file, const Json& settings) {
  const std::string path = out + "/" + file;
  std::error_code error;
  Json kept = Json::object();
  if (fs::exists(path, error)) {
    kept = Json::parse(read_file(path, 1 << 24), nullptr, false);
    if (!kept.is_object())
      file_error(path +
                 ": empty, cut short, or not written by this version; remove it, or name "
                 "another --out");
  } else if (fs::exists(out, error) && !fs::is_empty(out, error)) {
    file_error(out + ": holds something else; name a new or empty folder");
  }
  const Json before = kept;
  merge_settings(kept, settings, out);
  if (kept == before) return;
  fs::create_directories(out, error);
  if (error) file_error(out + ": can't be made: " + error.message());
  write_file(path, kept.dump(2) + "\n");
}

void train_or_resume(const TrainConfig& config, TrainRuntime runtime, const model::RunFolder& run,
                     Context& context, Device& device, RunObserver& observer) {
  std::error_code error;
  runtime.resume = fs::exists(run.config(), error);
  const TrainedRun trained =
      train_run(context, device, runtime.resume ? config_of_run(run, config.dataset) : config,
                runtime, run.path(), observer);
  if (trained.report_failure) throw Error(*trained.report_failure);
}

void evaluate_run(const model::RunFolder& run, const data::Dataset& dataset,
                  const TrainRuntime& runtime, const std::string& file, Context& context,
                  Device& device, Observer& observer) {
  EvaluateOptions how;
  how.max_pixels = runtime.max_pixels;
  how.mistakes = true;
  Evaluation evaluation = evaluate_pictures(
      Checkpoint::read(run.best()), dataset, how, context, [&]() -> Device& { return device; },
      observer);
  evaluation.model_crc32c = crc32c_of_file(run.best());
  evaluation.time = utc_now();
  evaluation.command = runtime.command;
  write_file(file, evaluation_text(evaluation));
}

TrainingLength length_of(const model::RunFolder& run) {
  const model::MetricsTable metrics = model::read_metrics_csv(run.metrics());
  TrainingLength length{std::ssize(metrics.rows), 0};
  for (size_t c = 0; c < metrics.columns.size(); c++)
    for (const std::vector<double>& row : metrics.rows)
      if (metrics.columns[c] == "seconds") length.seconds += row[c];
  return length;
}

Json spread_json(const Spread& spread) {
  return {{"mean", number_json(spread.mean)}, {"sd", number_json(spread.deviation)}};
}

}  // namespace fulmar::tools
