#include "tools/run/evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "data/encode_png.h"
#include "data/thumbnail.h"
#include "engine/picture/geometry.h"
#include "kernels/error.h"
#include "model/evaluate.h"
#include "model/program.h"
#include "model/tasks/classification.h"

namespace fulmar::tools {
namespace {

constexpr int64_t thumbnail_side = 192;  // pixels
constexpr size_t shown_of_a_kind = 6;

Json averages_json(const model::Averages& a) {
  return {{"precision", number_json(a.precision)},
          {"recall", number_json(a.recall)},
          {"f1", number_json(a.f1)}};
}

Json calibration_json(const model::Calibration& calibration) {
  Json bins = Json::array();
  for (const model::ReliabilityBin& bin : calibration.bins)
    bins.push_back({{"low", bin.low},
                    {"high", bin.high},
                    {"count", bin.count},
                    {"probability", number_json(bin.probability)},
                    {"frequency", number_json(bin.frequency)}});
  return bins;
}

}  // namespace

int64_t Evaluation::decision(int64_t sample) const {
  const auto count = static_cast<size_t>(predictions.classes);
  return model::decide(
      std::span(predictions.probabilities).subspan(static_cast<size_t>(sample) * count, count),
      positive_class, threshold);
}

bool Evaluation::right(int64_t sample) const {
  return decision(sample) == predictions.labels[static_cast<size_t>(sample)];
}

int64_t Evaluation::wrong() const {
  int64_t count = 0;
  for (int64_t i = 0; i < predictions.size(); i++) count += !right(i);
  return count;
}

float Evaluation::probability(int64_t sample, int64_t label) const {
  return predictions.probabilities[static_cast<size_t>(sample * predictions.classes + label)];
}

namespace {

// Of a class without pictures nothing can be recalled; means over all classes have no value then.
void leave_undefined(model::Scores& scores, int64_t positive_class) {
  constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
  for (size_t k = 0; k < scores.classes.size(); k++) {
    model::ClassScores& one = scores.classes[k];
    if (one.support > 0) continue;
    one.recall = one.f1 = undefined;
    if (one.predicted == 0) one.precision = undefined;
    scores.macro = {undefined, undefined, undefined};
    if (static_cast<int64_t>(k) == positive_class) scores.f1 = undefined;
  }
}

}  // namespace

Measured measure(const Evaluation& e) {
  Measured measured{model::score(e.predictions, e.positive_class, e.threshold),
                    model::calibration(e.predictions, e.positive_class)};
  leave_undefined(measured.scores, e.positive_class);
  return measured;
}

std::vector<std::string> Evaluation::absent() const {
  std::vector<std::string> names;
  for (size_t k = 0; k < classes.size(); k++)
    if (std::find(predictions.labels.begin(), predictions.labels.end(), static_cast<int32_t>(k)) ==
        predictions.labels.end())
      names.push_back(classes[k]);
  return names;
}

Json numbers_json(const Evaluation& e) {
  const auto [scores, calibration] = measure(e);
  Json classes = Json::object(), confusion = Json::array();
  const size_t count = e.classes.size();
  for (size_t truth = 0; truth < count; truth++) {
    const model::ClassScores& s = scores.classes[truth];
    classes[e.classes[truth]] = {{"precision", number_json(s.precision)},
                                 {"recall", number_json(s.recall)},
                                 {"f1", number_json(s.f1)},
                                 {"support", s.support},
                                 {"roc_auc", number_json(s.roc_auc)},
                                 {"pr_auc", number_json(s.pr_auc)}};
    const auto row = scores.confusion.begin() + static_cast<std::ptrdiff_t>(truth * count);
    confusion.push_back(std::vector<int64_t>(row, row + static_cast<std::ptrdiff_t>(count)));
  }
  return {{"model", e.model},
          {"folder", e.folder},
          {"samples", scores.samples},
          {"accuracy", number_json(scores.accuracy)},
          {"macro_f1", number_json(scores.macro.f1)},
          {"f1", number_json(scores.f1)},
          {"positive_class", e.two_classes() ? Json(e.positive()) : Json(nullptr)},
          {"roc_auc", number_json(scores.roc_auc)},
          {"pr_auc", number_json(scores.pr_auc)},
          {"threshold", e.two_classes() ? Json(e.threshold) : Json(nullptr)},
          {"loss", number_json(scores.loss)},
          {"brier", number_json(calibration.brier)},
          {"ece", number_json(calibration.ece)},
          {"absent", e.absent()},
          {"confusion", confusion},
          {"classes", classes},
          {"macro", averages_json(scores.macro)},
          {"weighted", averages_json(scores.weighted)},
          {"calibration", calibration_json(calibration)}};
}

Evaluation evaluate(const Checkpoint& checkpoint, BatchSource& source, const data::Dataset& dataset,
                    Context& context, Device& device,
                    const std::function<void(int64_t)>& progress) {
  const model::Classification task = model::classification_of(checkpoint);
  Model model = model::load_model(checkpoint, device);
  model::Evaluator evaluator(context, device, checkpoint.info(), model::heads_of(checkpoint), model,
                             source.tensors());
  const model::Evaluated found = evaluator.evaluate(source, progress);
  Evaluation evaluation;
  evaluation.model = checkpoint.path();
  evaluation.folder = dataset.folder;
  evaluation.classes = task.classes;
  evaluation.positive_class = task.positive_class;
  evaluation.threshold = task.threshold;
  for (const int64_t sample : found.sample)
    evaluation.files.push_back(dataset.samples[static_cast<size_t>(sample)].name);
  evaluation.predictions =
      dynamic_cast<const model::ClassificationMeter&>(*found.meters[0]).predictions();
  evaluation.predictions.loss_sum = found.loss_sum;
  evaluation.predictions.weight_sum = found.loss_weight;
  return evaluation;
}

Mistake shown_picture(int64_t sample, const data::Pictures& pictures, const Preprocess& preprocess,
                      int64_t side) {
  const data::Image image = data::picture_of(pictures, sample);
  const data::Image small = data::thumbnail(image, side);
  Mistake mistake{sample, data::encode_png(small), small.height, small.width, 0, 0, 1, 1, {}};
  const SeenArea seen = seen_area(preprocess, image.height, image.width);
  const auto width = static_cast<double>(image.width), height = static_cast<double>(image.height);
  mistake.left = seen.left / width;
  mistake.top = seen.top / height;
  mistake.side_x = seen.width() / width;
  mistake.side_y = seen.height() / height;
  return mistake;
}

void add_mistakes(Evaluation& e, const data::Pictures& pictures, const Preprocess& preprocess) {
  const auto own = [&](int64_t sample) {
    return e.probability(sample, e.predictions.labels[static_cast<size_t>(sample)]);
  };
  std::vector<std::vector<int64_t>> kinds(e.two_classes() ? 2 : 1);
  for (int64_t i = 0; i < e.predictions.size(); i++) {
    const int64_t label = e.predictions.labels[static_cast<size_t>(i)];
    if (e.decision(i) == label) continue;
    const bool false_alarm = e.two_classes() && label != e.positive_class;
    kinds[false_alarm ? 1 : 0].push_back(i);
  }
  e.mistakes.clear();
  for (std::vector<int64_t>& kind : kinds) {
    std::stable_sort(kind.begin(), kind.end(), [&](int64_t a, int64_t b) {
      return std::pair(!std::isnan(own(a)), own(a)) < std::pair(!std::isnan(own(b)), own(b));
    });
    kind.resize(std::min(kind.size(), e.two_classes() ? shown_of_a_kind : 2 * shown_of_a_kind));
    for (const int64_t sample : kind)
      e.mistakes.push_back(shown_picture(sample, pictures, preprocess, thumbnail_side));
  }
}

}  // namespace fulmar::tools
