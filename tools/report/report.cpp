#include "tools/report/report.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "model/run_folder.h"
#include "tools/run/results.h"
#include "tools/run/run_record.h"
#include "tools/run/training_words.h"

namespace fulmar::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* validation = "validation";

Json read_config(const std::string& path) {
  Json config = Json::parse(read_file(path, 1 << 20), nullptr, false);
  if (!config.is_object())
    file_error(path + ": empty, cut short, or no JSON object; restore it from a copy of the run");
  return config;
}

int64_t best_epoch_of(const std::string& model) {
  const Json summary = Json::parse(Checkpoint::read(model).info().summary, nullptr, false);
  if (!summary.is_object() || !summary.contains("epoch")) return 0;
  const Json& epoch = summary["epoch"];
  if (!epoch.is_number_integer())
    file_error(model + ": the epoch that its summary tells is " + epoch.dump() +
               ", not a whole number; put the run's own file back");
  return epoch.get<int64_t>();
}

// Those of folders first, the latest first; then the validation pictures.
bool comes_before(const Report::Part& a, const Report::Part& b) {
  const bool a_held = a.evaluation.set == validation, b_held = b.evaluation.set == validation;
  if (a_held != b_held) return b_held;
  return a.evaluation.time > b.evaluation.time;
}

// Of a run, those called PREFIX….json, by name.
std::vector<std::string> json_files(const std::string& run, const std::string& prefix) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(run)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(prefix, 0) == 0 && entry.path().extension() == ".json")
      paths.push_back(run + "/" + name);
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<Report::Part> read_evaluations(const std::string& run) {
  std::vector<Report::Part> parts;
  for (const std::string& path : json_files(run, "evaluation-")) {
    Report::Part part{read_evaluation(path), false};
    const std::string model = run + "/" + last_part(part.evaluation.model);
    part.outdated = !fs::exists(model) || crc32c_of_file(model) != part.evaluation.model_crc32c;
    parts.push_back(std::move(part));
  }
  std::stable_sort(parts.begin(), parts.end(), comes_before);
  return parts;
}

// Of models of pixels, by name.
std::vector<Json> read_pixels(const std::string& run) {
  std::vector<Json> all;
  for (const std::string& path : json_files(run, "pixels-")) {
    Json json = Json::parse(read_file(path, 1 << 28), nullptr, false);
    if (!json.is_object() || !json.contains("tasks"))
      file_error(path +
                 ": not an evaluation that this version wrote; make it anew with 'fulmar "
                 "eval --report', or remove it");
    if (json.contains("model") && json.contains("model_crc32c")) {
      const std::string model = run + "/" + last_part(json.at("model").get<std::string>());
      json["outdated"] = !fs::exists(model) || crc32c_of_file(model) != json.at("model_crc32c");
    }
    all.push_back(std::move(json));
  }
  return all;
}

}  // namespace

Report read_report(const std::string& run) {
  const model::RunFolder folder(run);
  if (!fs::exists(folder.config()))
    file_error(run +
               ": no run folder, it has no config.json; name the folder that 'fulmar train "
               "--out' was given");
  Report report;
  report.name = last_part(fs::absolute(run).string());
  Report::Training training;
  training.config = read_config(folder.config());
  training.record = read_record(folder.record());
  if (fs::exists(folder.metrics())) training.metrics = model::read_metrics_csv(folder.metrics());
  if (fs::exists(folder.best())) training.best_epoch = best_epoch_of(folder.best());
  report.training = std::move(training);
  report.evaluations = read_evaluations(run);
  report.pixels = read_pixels(run);
  return report;
}

Json report_numbers(const Report& report) {
  Json evaluations = Json::array();
  for (const Report::Part& part : report.evaluations)
    evaluations.push_back(numbers_json(part.evaluation));
  Json best = nullptr;
  if (report.training && report.training->best_epoch > 0) {
    const model::MetricsTable& table = report.training->metrics;
    const auto row = static_cast<size_t>(report.training->best_epoch - 1);
    if (row < table.rows.size()) best = Json::object();
    for (size_t c = 0; c < table.columns.size() && row < table.rows.size(); c++)
      best[table.columns[c]] = number_json(table.rows[row][c]);
  }
  Json numbers{{"evaluations", evaluations}, {"best", best}};
  for (Json pixels : report.pixels) {
    pixels.erase("figures");
    numbers["pixels"].push_back(std::move(pixels));
  }
  return numbers;
}

std::vector<std::string> training_words(const Report& report) {
  if (!report.training) return {};
  const auto validation = std::find_if(
      report.evaluations.begin(), report.evaluations.end(),
      [](const auto& part) { return part.evaluation.set == "validation" && !part.outdated; });
  return training_words(report.training->metrics, report.training->best_epoch,
                        validation == report.evaluations.end() ? nullptr : &validation->evaluation);
}

std::string write_report(const std::string& run) {
  const model::RunFolder folder(run);
  std::string page;
  try {
    page = report_html(read_report(run));
  } catch (const Json::exception& error) {
    file_error(folder.record() + ": not a record that this version wrote (" + error.what() +
               "); remove it, the run doesn't need it");
  }
  write_file(folder.report(), page);
  return folder.report();
}

}  // namespace fulmar::tools
