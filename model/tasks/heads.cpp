#include "model/task.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "model/from_file.h"
#include "model/tasks/classification.h"
#include "model/tasks/multilabel.h"
#include "model/tasks/regression.h"
#include "model/tasks/segmentation.h"

namespace fulmar::model {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* heads_entry = "heads";

void check_heads(const Heads& heads, const Network& network) {
  const std::vector<std::string> outputs = network.outputs();
  std::vector<std::string> seen;
  for (const Head& head : heads) {
    if (!head.task) usage_error("the description of a model: a head without a task");
    if (std::find(outputs.begin(), outputs.end(), head.output) == outputs.end())
      usage_error("the description of a model: a head is for '" + head.output +
                  "', which is no output of its network");
    if (std::find(seen.begin(), seen.end(), head.output) != seen.end())
      usage_error("the description of a model: output '" + head.output + "' has two heads");
    if (!(head.loss_weight >= 0))
      usage_error("the description of a model: the loss of '" + head.output +
                  "' has a weight below 0");
    seen.push_back(head.output);
  }
}

Head head_of(const Json& json) {
  const auto kind = json.at("task").get<std::string>();
  const auto found = tasks().find(kind);
  if (found == tasks().end())
    usage_error("a head's task is '" + kind + "', which this version of fulmar doesn't know");
  return {found->second(json.at("settings").dump()), json.at("output").get<std::string>(),
          json.at("label").get<std::string>(), json.at("weight").get<std::string>(),
          json.at("loss_weight").get<double>()};
}

Json json_of(const Head& head) {
  return {{"output", head.output},
          {"task", head.task->kind()},
          {"label", head.label},
          {"weight", head.weight},
          {"loss_weight", head.loss_weight},
          {"settings", Json::parse(head.task->to_json())}};
}

}  // namespace

const std::map<std::string, ReadTask>& tasks() {
  static const std::map<std::string, ReadTask> all{
      {"classification", read_classification},
      {"multilabel", read_multilabel},
      {"regression", read_regression},
      {"segmentation", read_segmentation},
  };
  return all;
}

Heads heads_of(const ModelInfo& info) {
  Heads heads;
  if (const auto classification = classification_entries(info.task)) {
    heads.push_back({classification, info.network.output()});
  } else if (const auto found = info.task.find(heads_entry); found != info.task.end()) {
    try {
      for (const Json& json : Json::parse(found->second)) heads.push_back(head_of(json));
    } catch (const nlohmann::json::exception&) {
      usage_error("the description of a model: its heads are not the JSON expected");
    }
  }
  check_heads(heads, info.network);
  return heads;
}

Heads heads_of(const Checkpoint& checkpoint) {
  return from_file(checkpoint.path(), [&] { return heads_of(checkpoint.info()); });
}

void set_heads(ModelInfo& info, const Heads& heads) {
  check_heads(heads, info.network);
  info.task.clear();
  if (heads.empty()) return;
  // One classification has entries of its own, as files of every version have them.
  const Head usual;
  if (const auto* only = heads.size() == 1 ? as_classification(*heads[0].task) : nullptr;
      only && info.network.outputs().size() == 1 && heads[0].label == usual.label &&
      heads[0].weight == usual.weight && heads[0].loss_weight == usual.loss_weight) {
    info.task = entries_of(*only);
    return;
  }
  Json all = Json::array();
  for (const Head& head : heads) all.push_back(json_of(head));
  info.task[heads_entry] = all.dump();
}

std::string prefix_of(const Heads& heads, size_t head, const char* join) {
  return heads.size() == 1 ? "" : heads[head].output + join;
}

}  // namespace fulmar::model
