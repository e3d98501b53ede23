#include "tools/run/pixel_evaluation.h"

#include <cmath>
#include <map>

#include "data/scene_names.h"
#include "kernels/error.h"
#include "model/evaluate.h"
#include "model/program.h"
#include "model/tasks/segmentation.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {

int64_t customary_halo(int64_t crop) { return crop / 8; }

namespace {

// A model that gives each pixel a class, in evaluation.
class PixelEvaluator {
 public:
  PixelEvaluator(const Checkpoint& checkpoint, const std::vector<TensorSpec>& tensors,
                 Context& context, Device& device)
      : heads_(heads_of_pixels(checkpoint)),
        classes_(classes_of(heads_)),
        model_(model::load_model(checkpoint, device)),
        evaluator_(context, device, checkpoint.info(), heads_, model_, tensors) {}

  std::vector<PixelEvaluation::Task> no_pixels() const {
    std::vector<PixelEvaluation::Task> tasks;
    for (const PixelClasses& one : classes_)
      tasks.push_back({one.task, one.names, model::Confusion(one.names.size())});
    return tasks;
  }
  std::vector<PixelEvaluation::Task> evaluate(BatchSource& source,
                                              const std::function<void(int64_t)>& progress) {
    const model::Evaluated found = evaluator_.evaluate(source, progress);
    loss_sum_ += found.loss_sum;
    loss_weight_ += found.loss_weight;
    std::vector<PixelEvaluation::Task> tasks = no_pixels();
    for (size_t i = 0; i < tasks.size(); i++)
      tasks[i].confusion = model::counts_of(*found.meters[i]);
    return tasks;
  }
  double loss() const { return loss_sum_ / loss_weight_; }

 private:
  static model::Heads heads_of_pixels(const Checkpoint& checkpoint) {
    model::Heads heads = model::heads_of(checkpoint);
    if (!is_by_pixel(heads)) usage_error(checkpoint.path() + ": its model gives pixels no class");
    return heads;
  }

  model::Heads heads_;
  std::vector<PixelClasses> classes_;
  Model model_;
  model::Evaluator evaluator_;
  double loss_sum_ = 0, loss_weight_ = 0;
};

}  // namespace

PixelEvaluation evaluate_pixels(const Checkpoint& checkpoint, BatchSource& source, Context& context,
                                Device& device, const std::string& job, Observer& observer) {
  PixelEvaluator evaluator(checkpoint, source.tensors(), context, device);
  const Advance advance = observer.on_job(job, source.batches_per_epoch(), "batches");
  PixelEvaluation evaluation;
  evaluation.tasks = evaluator.evaluate(source, [&](int64_t done) { advance(done); });
  evaluation.loss = evaluator.loss();
  return evaluation;
}

PixelEvaluation evaluate_scenes(
    const Checkpoint& checkpoint, std::vector<PixelEvaluation::Scene> scenes,
    const std::function<std::unique_ptr<BatchSource>(size_t)>& source_of, Context& context,
    Device& device, Observer& observer) {
  std::unique_ptr<BatchSource> source = source_of(0);
  PixelEvaluator evaluator(checkpoint, source->tensors(), context, device);
  const Advance advance = observer.on_job("", std::ssize(scenes), "pictures");
  PixelEvaluation evaluation;
  evaluation.tasks = evaluator.no_pixels();
  for (size_t i = 0; i < scenes.size(); i++) {
    if (i > 0) source = source_of(i);
    scenes[i].tasks = evaluator.evaluate(*source, {});
    for (size_t task = 0; task < evaluation.tasks.size(); task++)
      evaluation.tasks[task].confusion.add(scenes[i].tasks[task].confusion);
    advance(static_cast<int64_t>(i) + 1);
  }
  evaluation.loss = evaluator.loss();
  evaluation.scenes = std::move(scenes);
  return evaluation;
}

namespace {

const PixelEvaluation::Task* task_called(const std::vector<PixelEvaluation::Task>& tasks,
                                         const std::string& name) {
  for (const PixelEvaluation::Task& task : tasks)
    if (task.name == name) return &task;
  return nullptr;
}

// Of one scene.
model::NamedValues scores_of(const model::Confusion& c) {
  model::NamedValues scores{{"pixels", static_cast<double>(c.pixels())}};
  for (const auto& score : c.metrics()) scores.push_back(score);
  scores.emplace_back("r2", c.r2());
  scores.emplace_back("rmse", c.rmse());
  return scores;
}

// "03": of the pictures whose names tell it, by task.
using Months = std::map<std::string, std::vector<PixelEvaluation::Task>>;

std::string month_of(const PixelEvaluation::Scene& scene) {
  const int month = data::month_in(scene.name);
  return month == 0 ? "" : (month < 10 ? "0" : "") + std::to_string(month);
}

Months months_of(const PixelEvaluation& evaluation) {
  Months months;
  for (const PixelEvaluation::Scene& scene : evaluation.scenes) {
    const std::string month = month_of(scene);
    if (month.empty()) continue;
    const auto [found, first] = months.try_emplace(month, scene.tasks);
    for (size_t task = 0; task < scene.tasks.size() && !first; task++)
      found->second[task].confusion.add(scene.tasks[task].confusion);
  }
  return months;
}

Json scores_json(const std::vector<PixelEvaluation::Task>& tasks) {
  Json json = Json::object();
  for (const PixelEvaluation::Task& task : tasks)
    for (const auto& [name, value] : scores_of(task.confusion))
      json[task.name][name] = number_json(value);
  return json;
}

double three_digits(double value) { return std::nearbyint(1000 * value) / 1000; }

}  // namespace

double combined_score(double sic, double sod, double floe) {
  return three_digits((2 * three_digits(sic) + 2 * three_digits(sod) + three_digits(floe)) / 5);
}

namespace {

void add_combined_score(Json& json, const std::vector<PixelEvaluation::Task>& tasks) {
  const auto *sic = task_called(tasks, "SIC"), *sod = task_called(tasks, "SOD"),
             *floe = task_called(tasks, "FLOE");
  if (sic && sod && floe)
    json["combined_score"] =
        number_json(combined_score(100 * sic->confusion.r2(), 100 * sod->confusion.weighted_f1(),
                                   100 * floe->confusion.weighted_f1()));
}

}  // namespace

Json numbers_json(const PixelEvaluation& evaluation) {
  Json tasks = Json::object();
  for (const PixelEvaluation::Task& task : evaluation.tasks) {
    const model::Confusion& c = task.confusion;
    Json json{{"pixels", c.pixels()}};
    for (const auto& [name, value] : c.metrics()) json[name] = number_json(value);
    json["r2"] = number_json(c.r2());
    json["rmse"] = number_json(c.rmse());
    Json confusion = Json::array();
    for (size_t k = 0; k < task.classes.size(); k++) {
      json["classes"][task.classes[k]] = {{"precision", number_json(c.precision(k))},
                                          {"recall", number_json(c.recall(k))},
                                          {"f1", number_json(c.f1(k))},
                                          {"iou", number_json(c.iou(k))},
                                          {"pixels", c.labelled(k)}};
      Json row = Json::array();
      for (size_t called = 0; called < task.classes.size(); called++)
        row.push_back(c.at(k, called));
      confusion.push_back(row);
    }
    json["confusion"] = confusion;
    tasks[task.name] = json;
  }
  Json json{{"loss", number_json(evaluation.loss)}, {"tasks", tasks}};
  for (const PixelEvaluation::Scene& scene : evaluation.scenes) {
    Json line{{"picture", scene.name}};
    if (!scene.tasks.empty()) line["tasks"] = scores_json(scene.tasks);
    json["scenes"].push_back(line);
  }
  for (const auto& [month, tasks] : months_of(evaluation)) {
    json["months"][month]["tasks"] = scores_json(tasks);
    add_combined_score(json["months"][month], tasks);
  }
  add_combined_score(json, evaluation.tasks);
  return json;
}

std::string scenes_csv(const PixelEvaluation& evaluation) {
  std::vector<std::string> cells{"picture", "month", "task"};
  for (const auto& [name, value] : scores_of(model::Confusion(2))) cells.push_back(name);
  std::string text = csv_row(cells);
  const auto add = [&](const std::string& picture, const std::string& month,
                       const std::vector<PixelEvaluation::Task>& tasks) {
    for (const PixelEvaluation::Task& task : tasks) {
      cells = {picture, month, task.name};
      for (const auto& [name, value] : scores_of(task.confusion))
        cells.push_back(std::isfinite(value) ? Json(value).dump() : "");
      text += csv_row(cells);
    }
  };
  for (const PixelEvaluation::Scene& scene : evaluation.scenes)
    add(scene.name, month_of(scene), scene.tasks);
  for (const auto& [month, tasks] : months_of(evaluation)) add("", month, tasks);
  return text;
}

std::string one_line(const PixelEvaluation& evaluation) {
  std::string text;
  for (const PixelEvaluation::Task& task : evaluation.tasks)
    text += (text.empty() ? "" : "; ") + task.name + ": accuracy " +
            fixed(task.confusion.accuracy(), 4) + ", mean IoU " +
            fixed(task.confusion.mean_iou(), 4);
  return text;
}

}  // namespace fulmar::tools
