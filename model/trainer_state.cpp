#include "model/trainer_state.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

using Json = nlohmann::ordered_json;

// Before the names of the meters' arrays.
std::string seen_prefix(const Heads& heads, size_t head) {
  return "seen/" + prefix_of(heads, head, "/");
}

Json json_of(const Schedule& schedule) {
  if (const auto* plateau = std::get_if<PlateauSchedule>(&schedule)) {
    const ReduceOnPlateau::Options& o = plateau->options;
    return {{"kind", "plateau"},        {"rate", plateau->rate},
            {"factor", o.factor},       {"patience", o.patience},
            {"min_delta", o.min_delta}, {"cooldown", o.cooldown},
            {"min_rate", o.min_rate},   {"highest", o.goal == Goal::highest}};
  }
  if (const auto* cycle = std::get_if<OneCycle>(&schedule))
    return {{"kind", "one-cycle"},
            {"max_rate", cycle->max_rate},
            {"steps", cycle->steps},
            {"warmup_share", cycle->warmup_share},
            {"start_divisor", cycle->start_divisor},
            {"end_divisor", cycle->end_divisor}};
  if (const auto* restarts = std::get_if<CosineRestarts>(&schedule))
    return {{"kind", "restarts"},
            {"max_rate", restarts->max_rate},
            {"period", restarts->period},
            {"factor", restarts->factor},
            {"end_rate", restarts->end_rate}};
  const auto& cosine = std::get<WarmupCosine>(schedule);
  return {{"kind", "cosine"},
          {"max_rate", cosine.max_rate},
          {"steps", cosine.steps},
          {"warmup_steps", cosine.warmup_steps},
          {"end_rate", cosine.end_rate}};
}

Json json_of(const std::optional<EarlyStopping::Options>& options) {
  if (!options) return nullptr;
  return {{"patience", options->patience},
          {"min_delta", options->min_delta},
          {"highest", options->goal == Goal::highest}};
}

Json json_of(const std::vector<TensorSpec>& tensors) {
  Json all = Json::object();
  for (const TensorSpec& spec : tensors)
    all[spec.name] = std::string(name_of(spec.type)) + " " + spec.shape.to_string();
  return all;
}

void compare(const std::string& before, const std::string& now) {
  const Json then = Json::parse(before), here = Json::parse(now);
  for (const auto& [name, value] : here.items()) {
    if (!then.contains(name)) usage_error("it comes from a run without " + name);
    if (then.at(name) != value)
      usage_error("it comes from a run with another " + name + ": " + then.at(name).dump() +
                  ", here " + value.dump());
  }
}

}  // namespace

TrainerState::TrainerState(const TrainerOptions& options, const Heads& heads)
    : learning_rate(options.schedule), heads_(heads) {
  if (options.early_stopping) stopping.emplace(*options.early_stopping);
  for (const Head& head : heads) meters.push_back(head.task->meter());
}

void TrainerState::begin_epoch() {
  batch = samples = 0;
  loss_sum = loss_weight = seconds = 0;
  for (const auto& meter : meters) meter->clear();
}

TrainingState TrainerState::stored(const std::string& options) const {
  // Sums go as their bits: JSON has no NaN.
  const Json state{{"epoch", epoch},
                   {"batch", batch},
                   {"step", step},
                   {"epochs_step", epochs_step},
                   {"draw", draw},
                   {"learning_rate", learning_rate.state()},
                   {"stopping", stopping ? stopping->state() : std::string()},
                   {"should_stop", should_stop},
                   {"best", best.state()},
                   {"loss_sum_bits", std::bit_cast<uint64_t>(loss_sum)},
                   {"weight_sum_bits", std::bit_cast<uint64_t>(loss_weight)},
                   {"samples", samples},
                   {"seconds", seconds},
                   {"options", options}};
  TrainingState to;
  to.json = state.dump();
  for (size_t i = 0; i < meters.size(); i++) meters[i]->store(to, seen_prefix(heads_, i));
  return to;
}

void TrainerState::restore(const TrainingState& from, const std::string& options) {
  try {
    const Json state = Json::parse(from.json);
    compare(state.at("options"), options);
    epoch = state.at("epoch");
    batch = state.at("batch");
    step = state.at("step");
    epochs_step = state.at("epochs_step");
    draw = state.at("draw");
    learning_rate.restore(state.at("learning_rate"));
    if (stopping) stopping->restore(state.at("stopping"));
    should_stop = state.at("should_stop");
    best.restore(state.at("best"));
    seconds = state.at("seconds");
    loss_sum = std::bit_cast<double>(state.at("loss_sum_bits").get<uint64_t>());
    loss_weight = std::bit_cast<double>(state.at("weight_sum_bits").get<uint64_t>());
    // Versions before this entry weighed every sample 1.
    samples = state.value("samples", static_cast<int64_t>(loss_weight));
  } catch (const nlohmann::json::exception&) {
    usage_error(
        "it is not one that this version of fulmar writes; train anew, into another folder");
  }
  for (size_t i = 0; i < meters.size(); i++) meters[i]->restore(from, seen_prefix(heads_, i));
}

std::string options_text(const TrainerOptions& options, const Model& model,
                         const BatchSource& train, bool validation) {
  Json optimizer = Json::object();
  for (const auto& [name, value] : settings_of(options.step.optimizer)) {
    if (const bool* flag = std::get_if<bool>(&value))
      optimizer[name] = *flag;
    else
      optimizer[name] = std::get<double>(value);
  }
  const auto decaying = std::count_if(model.parameters().begin(), model.parameters().end(),
                                      [](const Model::Parameter& p) { return p.decays; });
  return Json{{"seed", options.seed},
              {"batches_per_epoch", train.batches_per_epoch()},
              {"tensors", json_of(train.tensors())},
              {"micro_batches", options.micro_batches},
              {name_of(options.step.optimizer), optimizer},
              {"decaying_parameters", decaying},
              {"label_smoothing", options.step.loss.label_smoothing},
              {"unbiased_running_variance", options.step.unbiased_running_variance},
              {"schedule", json_of(options.schedule)},
              {"early_stopping", json_of(options.early_stopping)},
              {"validation", validation},
              {"statistics_samples", options.statistics_samples},
              {"monitor_training_loss", options.monitor_training_loss}}
      .dump();
}

}  // namespace fulmar::model
