#include "tools/run/pixel_evaluation.h"

#include <cmath>

#include "kernels/error.h"
#include "model/evaluate.h"
#include "model/program.h"
#include "model/tasks/segmentation.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/text.h"

namespace fulmar::tools {

int64_t customary_halo(int64_t crop) { return crop / 8; }

PixelEvaluation evaluate_pixels(const Checkpoint& checkpoint, BatchSource& source, Context& context,
                                Device& device, const std::string& job, Observer& observer) {
  const model::Heads heads = model::heads_of(checkpoint);
  if (!is_by_pixel(heads)) usage_error(checkpoint.path() + ": its model gives pixels no class");
  Model model = model::load_model(checkpoint, device);
  model::Evaluator evaluator(context, device, checkpoint.info(), heads, model, source.tensors());
  const Advance advance = observer.on_job(job, source.batches_per_epoch(), "batches");
  const model::Evaluated found = evaluator.evaluate(source, [&](int64_t done) { advance(done); });
  PixelEvaluation evaluation;
  evaluation.loss = found.loss();
  const std::vector<PixelClasses> classes = classes_of(heads);
  for (size_t i = 0; i < heads.size(); i++)
    evaluation.tasks.push_back(
        {classes[i].task, classes[i].names, model::counts_of(*found.meters[i])});
  return evaluation;
}

namespace {

const PixelEvaluation::Task* task_called(const PixelEvaluation& evaluation,
                                         const std::string& name) {
  for (const PixelEvaluation::Task& task : evaluation.tasks)
    if (task.name == name) return &task;
  return nullptr;
}

double three_digits(double value) { return std::nearbyint(1000 * value) / 1000; }

}  // namespace

double combined_score(double sic, double sod, double floe) {
  return three_digits((2 * three_digits(sic) + 2 * three_digits(sod) + three_digits(floe)) / 5);
}

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
  const auto *sic = task_called(evaluation, "SIC"), *sod = task_called(evaluation, "SOD"),
             *floe = task_called(evaluation, "FLOE");
  if (sic && sod && floe)
    json["combined_score"] =
        number_json(combined_score(100 * sic->confusion.r2(), 100 * sod->confusion.weighted_f1(),
                                   100 * floe->confusion.weighted_f1()));
  return json;
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
