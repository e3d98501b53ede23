#include "model/tasks/classification.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/error.h"
#include "model/from_file.h"

namespace fulmar::model {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char *labels_name = "labels", *probabilities_name = "probabilities";
constexpr const char* threshold_name = "threshold";

double threshold_in(const NamedValues& settings) {
  for (const auto& [name, value] : settings)
    if (name == threshold_name) return value;
  return 0.5;
}

// Of a task in a list of heads, or of entries of a file.
Classification classification_from(const Json& classes, const Json& positive,
                                   const Json& threshold) {
  try {
    return Classification(classes.get<std::vector<std::string>>(), positive.get<int64_t>(),
                          threshold.get<double>());
  } catch (const nlohmann::json::exception&) {
    usage_error("its metadata is not the JSON expected");
  }
}

}  // namespace

Classification::Classification(std::vector<std::string> class_names, int64_t positive,
                               double positive_from)
    : classes(std::move(class_names)), positive_class(positive), threshold(positive_from) {
  const auto require = [](bool condition, const char* message) {
    if (!condition) usage_error(std::string("the description of a model: ") + message);
  };
  const auto count = static_cast<int64_t>(classes.size());
  require(count >= 2, "it names fewer than two classes");
  require(positive_class >= -1 && positive_class < count,
          "its positive class is none of its classes");
  require((positive_class >= 0) == (count == 2),
          "a positive class goes with two classes, and only with two");
  require(threshold >= 0 && threshold <= 1, "its threshold is outside 0..1");
}

std::string Classification::to_json() const {
  return Json{{"classes", classes}, {"positive_class", positive_class}, {threshold_name, threshold}}
      .dump();
}

Recorded Classification::record(Tape& tape, Val output, const Target& target,
                                const LossOptions& options) const {
  const Shape& logits = tape.shape(output);
  const auto count = static_cast<int64_t>(classes.size());
  if (logits != Shape{logits.images(), 1, 1, count})
    usage_error("the network gives " + logits.to_string() + " for " + std::to_string(count) +
                " classes, not one row of that many logits a picture");
  Recorded r;
  // In float32 everywhere: in bf16 all that are near 1 would be equal.
  const Val probabilities = ops::softmax(tape, ops::as_role(tape, output, Role::statistic));
  r.results = {{"probabilities", probabilities}};
  r.watched = {probabilities};
  if (!target.label) return r;
  const ops::Loss loss = ops::softmax_cross_entropy(
      tape, output, target.label, {options.label_smoothing, -1}, {}, target.weight);
  r.sample_loss = loss.rows;
  r.sample_weight = loss.row_weight;
  r.loss_sum = loss.sum;
  r.loss_weight = loss.weight;
  return r;
}

std::unique_ptr<Meter> Classification::meter() const {
  return std::make_unique<ClassificationMeter>(static_cast<int64_t>(classes.size()),
                                               positive_class);
}

NamedValues Classification::settings() const {
  return two_classes() ? NamedValues{{threshold_name, threshold}} : NamedValues{};
}

std::shared_ptr<const Task> Classification::with(const NamedValues& settings) const {
  return std::make_shared<Classification>(classes, positive_class, threshold_in(settings));
}

ClassificationMeter::ClassificationMeter(int64_t classes, int64_t positive_class)
    : seen_(classes), positive_class_(positive_class) {}

void ClassificationMeter::add(const Observed& batch) {
  const std::vector<double>& all = batch.watched.at(0);
  const auto classes = static_cast<size_t>(seen_.classes);
  const auto* labels = batch.label.as<const int32_t>();
  std::vector<float> probabilities(classes);
  for (size_t i = 0; i < static_cast<size_t>(batch.samples); i++) {
    for (size_t k = 0; k < classes; k++)
      probabilities[k] = static_cast<float>(all[i * classes + k]);
    seen_.add(labels[i], probabilities, 0, 0);
  }
}

NamedValues ClassificationMeter::settle() const {
  if (positive_class_ < 0) return {};
  return {{threshold_name,
           best_f1_threshold(seen_.scores_of(positive_class_), seen_.truth_of(positive_class_))
               .threshold}};
}

NamedValues ClassificationMeter::metrics(const NamedValues& settings) const {
  const Scores scores = score(seen_, positive_class_, threshold_in(settings));
  NamedValues all{{"accuracy", scores.accuracy},
                  {"macro_f1", scores.macro.f1},
                  {"roc_auc", scores.roc_auc},
                  {"pr_auc", scores.pr_auc}};
  if (positive_class_ < 0) return all;
  all.emplace_back("f1", scores.f1);
  all.emplace_back("fp", static_cast<double>(scores.false_positives));
  all.emplace_back("fn", static_cast<double>(scores.false_negatives));
  return all;
}

void ClassificationMeter::store(TrainingState& to, const std::string& prefix) const {
  to.integers[prefix + labels_name] = seen_.labels;
  to.floats[prefix + probabilities_name] = seen_.probabilities;
}

void ClassificationMeter::restore(const TrainingState& from, const std::string& prefix) {
  clear();
  const auto labels = from.integers.find(prefix + labels_name);
  const auto probabilities = from.floats.find(prefix + probabilities_name);
  if (labels != from.integers.end()) seen_.labels = labels->second;
  if (probabilities != from.floats.end()) seen_.probabilities = probabilities->second;
  seen_.check();
}

std::shared_ptr<const Task> read_classification(const std::string& text) {
  const Json json = Json::parse(text);
  return std::make_shared<Classification>(
      classification_from(json.at("classes"), json.at("positive_class"), json.at(threshold_name)));
}

std::shared_ptr<const Classification> classification_entries(
    const std::map<std::string, std::string>& entries) {
  const auto classes = entries.find("classes");
  if (classes == entries.end()) return nullptr;
  const auto entry = [&](const char* name) {
    const auto found = entries.find(name);
    if (found == entries.end()) usage_error(std::string("it has no '") + name + "'");
    return Json::parse(found->second, nullptr, false);
  };
  const Json positive = entry("positive_class"), threshold = entry(threshold_name);
  return std::make_shared<Classification>(
      classification_from(entry("classes"), positive, threshold));
}

std::map<std::string, std::string> entries_of(const Classification& task) {
  return {{"classes", Json(task.classes).dump()},
          {"positive_class", Json(task.positive_class).dump()},
          {threshold_name, Json(task.threshold).dump()}};
}

ModelInfo classifier_of(Network network, Preprocess preprocess, const Classification& task) {
  ModelInfo info;
  info.network = std::move(network);
  const std::vector<std::string> inputs = info.network.inputs();
  if (inputs.size() != 1)
    usage_error("a classifier of pictures has one input, the network has " +
                std::to_string(inputs.size()));
  info.preprocess[inputs[0]] = std::move(preprocess);
  set_heads(info, {{std::make_shared<Classification>(task), info.network.output()}});
  return info;
}

Classification classification_of(const ModelInfo& info) {
  const Heads heads = heads_of(info);
  if (heads.size() == 1)
    if (const Classification* task = as_classification(*heads[0].task)) return *task;
  std::string kinds;
  for (const Head& head : heads)
    kinds += (kinds.empty() ? "" : ", ") + head.output + ": " + head.task->kind();
  usage_error("it is no classifier (" + (kinds.empty() ? "it has no task" : kinds) + ")");
}

Classification classification_of(const Checkpoint& checkpoint) {
  return from_file(checkpoint.path(), [&] { return classification_of(checkpoint.info()); });
}

}  // namespace fulmar::model
