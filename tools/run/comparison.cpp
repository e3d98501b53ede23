#include "tools/run/comparison.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "data/raster_folder.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "model/tasks/classification.h"
#include "tools/run/comparison_figures.h"
#include "tools/run/labelled_evaluation.h"
#include "tools/run/robustness.h"
#include "tools/run/text.h"
#include "tools/run/train_data.h"

namespace fulmar::tools {
namespace {

namespace fs = std::filesystem;

constexpr size_t measured_pictures = 4;  // for receptive fields

// The pictures that a training is tested on: those held out by --test, else the test part.
data::Dataset test_set(const TrainConfig& config, const std::vector<std::string>& classes) {
  const data::SceneRule rule = data::scene_rule_named(config.scenes);
  data::Folder folder = scan_training(config);
  if (config.test > 0)
    return data::split_dataset(folder.train, config.test, static_cast<uint64_t>(config.split_seed))
        .held_out;
  if (folder.test_folder.empty())
    usage_error(config.dataset +
                " has no test part to compare on: hold one out with 'test' among the options");
  if (!config.by_pixel())
    return data::scan_for_classes(config.dataset, classes.empty() ? folder.train.classes : classes,
                                  rule, config.band_files());
  return data::scan_labelled(config.dataset, data::LabelFiles::parse(*config.labels),
                             config.pictures.value_or(""), rule, config.band_files());
}

LabelChoice labels_of(const TrainConfig& config) {
  return {config.labels, config.pictures, config.ignore};
}

std::vector<std::string> names_of(const data::Dataset& dataset) {
  std::vector<std::string> names;
  for (const data::Sample& sample : dataset.samples) names.push_back(sample.name);
  return names;
}

double number_of(const Json& json, const char* name) {
  return json.contains(name) && json.at(name).is_number() ? json.at(name).get<double>() : NAN;
}

// Of numbers_json() of an evaluation of pixels.
void read_scores(ComparedRun& run, const Json& json) {
  for (const auto& [task, scores] : json.at("tasks").items()) {
    model::NamedValues values;
    for (const char* name : {"accuracy", "macro_f1", "weighted_f1", "miou", "r2", "rmse"})
      values.emplace_back(name, number_of(scores, name));
    run.scores.emplace_back(task, std::move(values));
  }
  if (json.contains("combined_score"))
    run.scores.push_back({"", {{"combined_score", number_of(json, "combined_score")}}});
  for (const Json& scene : json.at("scenes")) {
    double sum = 0, tasks = 0;
    for (const auto& [task, scores] : scene.at("tasks").items()) {
      const double accuracy = number_of(scores, "accuracy");
      if (!std::isfinite(accuracy)) continue;
      sum += accuracy;
      tasks++;
    }
    run.right.push_back(sum / tasks);
  }
}

void read_scores(ComparedRun& run, const Evaluation& evaluation) {
  const model::Scores scores = measure(evaluation).scores;
  model::NamedValues values{{"accuracy", scores.accuracy}, {"macro_f1", scores.macro.f1}};
  if (evaluation.two_classes()) values.emplace_back("f1", scores.f1);
  values.emplace_back("roc_auc", scores.roc_auc);
  values.emplace_back("pr_auc", scores.pr_auc);
  run.scores.emplace_back("", std::move(values));
  for (int64_t i = 0; i < evaluation.predictions.size(); i++)
    run.right.push_back(evaluation.right(i) ? 1 : 0);
}

class Table {
 public:
  Table(const ComparisonOptions& options, Context& context,
        const std::function<Device&(const TrainConfig&)>& device_of, StudyObserver& observer)
      : options_(options), context_(context), device_of_(device_of), observer_(observer) {}

  Comparison run() {
    comparison_.folder = absolute_path(options_.folder);
    comparison_.generated = synth_record(comparison_.folder).is_object();
    comparison_.axes = options_.axes;
    for (const ComparedTraining& training : options_.trainings)
      comparison_.lines.push_back({training});
    find_tests();
    check_all();
    keep();
    train_all();
    finish();
    return std::move(comparison_);
  }

 private:
  model::RunFolder run_folder(const ComparedTraining& training, int64_t seed) const {
    return model::RunFolder(absolute_path(options_.out) + "/" + training.name + "/seed-" +
                            std::to_string(seed));
  }

  void find_tests() {
    for (const Comparison::Line& line : comparison_.lines) {
      tests_.push_back(test_set(line.training.config, {}));
      const std::vector<std::string> names = names_of(tests_.back());
      if (comparison_.tested.empty()) comparison_.tested = names;
      if (names != comparison_.tested)
        usage_error(line.training.name + " would be tested on other pictures than " +
                    comparison_.lines.front().training.name +
                    ": options that choose them go among those that all have in common");
    }
  }

  void keep() const {
    Json trainings = Json::object();
    for (const ComparedTraining& training : options_.trainings) {
      Json config = training.config.to_json();
      for (const char* of_each : {"dataset", "seed"}) config.erase(of_each);
      trainings[training.name] = config;
    }
    keep_settings(options_.out, "trainings.json",
                  {{"dataset", comparison_.folder}, {"trainings", trainings}});
  }

  // Where the evaluation of a run lies once the run is done.
  std::string evaluation_of(size_t line, const model::RunFolder& run) const {
    const TrainConfig& config = options_.trainings[line].config;
    if (config.test > 0)
      return config.by_pixel() ? run.path() + "/pixels-test.json" : run.evaluation("test");
    if (config.by_pixel()) return pixels_path(run.path(), tests_[line].folder, run.best());
    Evaluation known;
    known.folder = tests_[line].folder;
    known.model = run.best();
    return evaluation_path(run.path(), known);
  }

  // It is written last: where it is there and of this model, the run is done.
  bool is_done(size_t line, const model::RunFolder& run) const {
    const std::string path = evaluation_of(line, run);
    std::error_code error;
    if (!fs::exists(path, error) || !fs::exists(run.best(), error)) return false;
    const std::string crc = crc32c_of_file(run.best());
    if (!options_.trainings[line].config.by_pixel())
      return read_evaluation(path).model_crc32c == crc;
    const Json json = Json::parse(read_file(path, 1 << 28), nullptr, false);
    return json.is_object() && json.value("model_crc32c", "") == crc && json.contains("scenes");
  }

  void check_all() {
    for (size_t line = 0; line < comparison_.lines.size(); line++)
      for (const int64_t seed : options_.seeds) {
        const ComparedTraining& training = options_.trainings[line];
        const model::RunFolder run = run_folder(training, seed);
        std::error_code error;
        if (fs::exists(run.config(), error)) continue;  // it was tried, or has begun
        try {
          check_run(context_, device_of_(training.config), training.config, options_.runtime, run);
        } catch (const Error& failure) {
          if (failure.kind() == ErrorKind::cancelled) throw;
          throw Error(failure.kind(), training.name + ": " + failure.what());
        }
        break;  // seeds make no difference
      }
  }

  void train_all() {
    const int64_t of = std::ssize(options_.seeds) * std::ssize(comparison_.lines);
    int64_t number = 0;
    // Seed by seed, so that an interrupted comparison has all lines.
    for (const int64_t seed : options_.seeds)
      for (size_t line = 0; line < comparison_.lines.size(); line++) {
        stop_if_cancelled(context_);
        number++;
        const model::RunFolder run = run_folder(options_.trainings[line], seed);
        if (!is_done(line, run)) train(line, seed, run, number, of);
        comparison_.lines[line].runs.push_back(read(line, seed, run));
      }
  }

  void train(size_t line, int64_t seed, const model::RunFolder& run, int64_t number, int64_t of) {
    TrainConfig config = options_.trainings[line].config;
    config.seed = seed;
    observer_.on_training(options_.trainings[line].name + ", seed " + std::to_string(seed),
                          run.path(), number, of);
    Device& device = device_of_(config);
    train_or_resume(config, options_.runtime, run, context_, device, observer_);
    const std::string file = evaluation_of(line, run);
    if (config.by_pixel())
      evaluate_scenes_of(line, run, file, device);
    else if (config.test == 0)  // else the training wrote it
      evaluate_run(run,
                   test_set(config, model::classification_of(Checkpoint::read(run.best())).classes),
                   options_.runtime, file, context_, device, observer_);
    observer_.on_evaluation(run.path());
  }

  void evaluate_scenes_of(size_t line, const model::RunFolder& run, const std::string& file,
                          Device& device) {
    const TrainConfig& config = options_.trainings[line].config;
    LabelledOptions how;
    how.choice = labels_of(config);
    how.max_pixels = options_.runtime.max_pixels;
    const Checkpoint best = Checkpoint::read(run.best());
    const PixelEvaluation evaluation =
        evaluate_labelled(best, tests_[line], how, context_, device, observer_);
    Json json = pixel_report(evaluation, run.best(), tests_[line], how, options_.runtime.command,
                             context_, device);
    if (config.test > 0) json.erase("folder");  // a part of it was held out
    write_file(file, json.dump() + "\n");
  }

  ComparedRun read(size_t line, int64_t seed, const model::RunFolder& run) const {
    ComparedRun result{seed, run.path(), length_of(run)};
    const std::string path = evaluation_of(line, run);
    if (options_.trainings[line].config.by_pixel())
      read_scores(result, Json::parse(read_file(path, 1 << 28)));
    else
      read_scores(result, read_evaluation(path));
    if (result.right.size() != comparison_.tested.size())
      file_error(path + ": an evaluation of other pictures than those that are there now; remove " +
                 run.path());
    return result;
  }

  ComparedModel model_of(size_t line, const ComparedRun& run) const {
    const TrainConfig& config = options_.trainings[line].config;
    return {model::RunFolder(run.folder).best(),
            tests_[line],
            run.folder + "/explained",
            &device_of_(config),
            labels_of(config),
            config.by_pixel()};
  }

  void finish() {
    std::vector<size_t> pictures;
    for (size_t i = 0; i < std::min(measured_pictures, comparison_.tested.size()); i++)
      pictures.push_back(i);
    std::vector<ComparedModel> models;
    ComparedRow fields;
    for (size_t line = 0; line < comparison_.lines.size(); line++) {
      std::vector<ComparedRun>& runs = comparison_.lines[line].runs;
      models.push_back(model_of(line, runs.front()));
      if (!models.back().by_pixel) continue;
      for (ComparedRun& run : runs) {
        stop_if_cancelled(context_);
        std::vector<ComparedFigure> figures;
        run.fields = measure_fields(model_of(line, run), pictures, context_, &figures);
        if (&run != &runs.front()) continue;
        for (ComparedFigure& figure : figures) {
          const std::string task = figure.title;
          figure.title = comparison_.lines[line].training.name;
          auto row = std::find_if(comparison_.fields.begin(), comparison_.fields.end(),
                                  [&](const ComparedRow& one) { return one.title == task; });
          if (row == comparison_.fields.end())
            row = comparison_.fields.insert(row, ComparedRow{task});
          row->figures.push_back(std::move(figure));
        }
      }
    }
    add_figures(comparison_, models, options_.explained, options_.runtime.max_pixels, context_,
                observer_);
  }

  const ComparisonOptions& options_;
  Context& context_;
  const std::function<Device&(const TrainConfig&)>& device_of_;
  StudyObserver& observer_;
  Comparison comparison_;
  std::vector<data::Dataset> tests_;  // by line
};

double value_of(const ComparedRun& run, const std::string& task, const std::string& metric) {
  for (const auto& [name, values] : run.scores)
    for (const auto& [one, value] : values)
      if (name == task && one == metric) return value;
  return NAN;
}

}  // namespace

Spread Comparison::Line::score(const std::string& task, const std::string& metric) const {
  std::vector<double> values;
  for (const ComparedRun& run : runs) values.push_back(value_of(run, task, metric));
  return spread_of(values);
}

Spread Comparison::Line::field(const std::string& task, double ComparedField::*number) const {
  std::vector<double> values;
  for (const ComparedRun& run : runs)
    for (const ComparedField& field : run.fields)
      if (field.task == task) values.push_back(field.*number);
  return spread_of(values);
}

Spread Comparison::Line::seconds() const {
  std::vector<double> values;
  for (const ComparedRun& run : runs) values.push_back(run.length.seconds);
  return spread_of(values);
}

std::vector<std::pair<std::string, std::vector<std::string>>> Comparison::metrics() const {
  std::vector<std::pair<std::string, std::vector<std::string>>> all;
  for (const Line& line : lines)
    for (const auto& [task, values] : line.runs.front().scores) {
      const std::string& name = task;
      if (std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.first == name; }))
        continue;
      all.push_back({task, {}});
      for (const auto& value : values) all.back().second.push_back(value.first);
    }
  return all;
}

Comparison compare_trainings(const ComparisonOptions& options, Context& context,
                             const std::function<Device&(const TrainConfig&)>& device_of,
                             StudyObserver& observer) {
  require_distinct(options.seeds, "seeds");
  return Table(options, context, device_of, observer).run();
}

namespace {

constexpr std::pair<const char*, double ComparedField::*> field_numbers[] = {
    {"side_of_half", &ComparedField::half},
    {"side_of_90_percent", &ComparedField::most},
    {"effective_side", &ComparedField::effective}};

Json fields_json(const Comparison::Line& line) {
  Json json = Json::object();
  for (const ComparedField& field : line.runs.front().fields) {
    Json& one = json[field.task];
    for (const auto& [name, number] : field_numbers)
      one[name] = spread_json(line.field(field.task, number));
    one["possible"] = field.possible > 0 ? Json(field.possible) : Json(nullptr);
  }
  return json;
}

}  // namespace

Json comparison_json(const Comparison& c) {
  Json trainings = Json::array();
  for (const Comparison::Line& line : c.lines) {
    Json options = Json::object(), runs = Json::array(), scores = Json::object();
    for (size_t i = 0; i < c.axes.size(); i++) options[c.axes[i]] = line.training.values[i];
    for (const ComparedRun& run : line.runs) {
      Json json{{"seed", run.seed},
                {"run", run.folder},
                {"epochs", run.length.epochs},
                {"seconds", number_json(run.length.seconds)}};
      for (const auto& [task, values] : run.scores)
        for (const auto& [name, value] : values) json["scores"][task][name] = number_json(value);
      runs.push_back(json);
    }
    for (const auto& [task, names] : c.metrics())
      for (const std::string& name : names)
        if (std::isfinite(line.score(task, name).mean))
          scores[task][name] = spread_json(line.score(task, name));
    trainings.push_back({{"name", line.training.name},
                         {"options", options},
                         {"scores", scores},
                         {"receptive_fields", fields_json(line)},
                         {"seconds", spread_json(line.seconds())},
                         {"runs", runs}});
  }
  return {{"pictures", pictures_line(c.generated, std::ssize(c.tested), c.folder)},
          {"generated", c.generated},
          {"folder", c.folder},
          {"axes", c.axes},
          {"tested", c.tested},
          {"trainings", trainings}};
}

std::string comparison_csv(const Comparison& c) {
  const auto cell = [](double value) { return std::isfinite(value) ? Json(value).dump() : ""; };
  std::vector<std::string> names;  // of all tasks' metrics
  for (const auto& [task, metrics] : c.metrics())
    for (const std::string& name : metrics)
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  std::vector<std::string> cells{"training"};
  cells.insert(cells.end(), c.axes.begin(), c.axes.end());
  cells.insert(cells.end(), {"seed", "task"});
  cells.insert(cells.end(), names.begin(), names.end());
  for (const auto& number : field_numbers) cells.emplace_back(number.first);
  std::string text = csv_row(cells);
  for (const Comparison::Line& line : c.lines)
    for (const ComparedRun& run : line.runs)
      for (const auto& [task, values] : run.scores) {
        cells = {line.training.name};
        cells.insert(cells.end(), line.training.values.begin(), line.training.values.end());
        cells.insert(cells.end(), {std::to_string(run.seed), task});
        for (const std::string& name : names) cells.push_back(cell(value_of(run, task, name)));
        for (const auto& number : field_numbers) {
          double value = NAN;
          for (const ComparedField& field : run.fields)
            if (field.task == task) value = field.*number.second;
          cells.push_back(cell(value));
        }
        text += csv_row(cells);
      }
  return text;
}

}  // namespace fulmar::tools
