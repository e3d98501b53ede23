#include "model/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "kernels/version.h"
#include "model/evaluate.h"
#include "model/trainer_state.h"

namespace fulmar::model {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr const char *epoch_key = "epoch", *metrics_key = "metrics";

// A description that can be saved, with the program that trains it.
ModelInfo described(ModelInfo info) {
  Json summary = Json::object();
  if (!info.summary.empty()) summary = Json::parse(info.summary, nullptr, false);
  if (!summary.is_object()) usage_error("the summary of a model must be a JSON object");
  summary["fulmar"] = version();
  summary["commit"] = commit();
  info.summary = summary.dump();
  return info;
}

// A summary that tells how well the weights do after an epoch. Without the wall clock, so that the
// same training gives the same file; JSON has no NaN.
std::string with_results(const std::string& summary, int64_t epoch, const NamedValues& metrics) {
  Json values = Json::object();
  for (const auto& [name, value] : metrics) {
    if (name == "epoch" || name == "seconds" || !std::isfinite(value)) continue;
    // Counts without ".0".
    const bool whole = std::abs(value) < 1e15 && std::floor(value) == value;
    values[name] = whole ? Json(static_cast<int64_t>(value)) : Json(value);
  }
  Json all = Json::parse(summary);
  all[epoch_key] = epoch;
  all[metrics_key] = values;
  return all.dump();
}

// The same with the results that another summary tells.
std::string with_results_of(const std::string& summary, const std::string& other) {
  Json all = Json::parse(summary);
  const Json from = Json::parse(other, nullptr, false);
  for (const char* key : {epoch_key, metrics_key})
    if (from.contains(key)) all[key] = from[key];
  return all.dump();
}

void append(NamedValues& to, const NamedValues& more) {
  to.insert(to.end(), more.begin(), more.end());
}

bool same_preprocessing(const ModelInfo& a, const ModelInfo& b) {
  return std::equal(a.preprocess.begin(), a.preprocess.end(), b.preprocess.begin(),
                    b.preprocess.end(), [](const auto& x, const auto& y) {
                      return x.first == y.first && x.second.to_json() == y.second.to_json();
                    });
}

// But for what validation settles.
bool same_tasks(const Heads& a, const Heads& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Head& x, const Head& y) {
    return x.output == y.output && x.label == y.label && x.weight == y.weight &&
           x.loss_weight == y.loss_weight && x.task->kind() == y.task->kind() &&
           x.task->with(y.task->settings())->to_json() == y.task->to_json();
  });
}

TrainStepOptions step_options(const TrainerOptions& options) {
  TrainStepOptions step = options.step;
  step.accumulates = options.micro_batches > 1;
  return step;
}

}  // namespace

Trainer::Trainer(Context& context, Device& device, ModelInfo info, Model& model, BatchSource& train,
                 BatchSource* validation, RunFolder& folder, const TrainerOptions& options)
    : context_(context),
      device_(device),
      info_(described(std::move(info))),
      heads_(heads_of(info_)),
      model_(model),
      train_(train),
      validation_(validation),
      folder_(folder),
      options_(options),
      options_text_(options_text(options, model, train, validation != nullptr)),
      arena_(std::make_shared<Arena>()),
      step_(context, device, info_, heads_, model, train.tensors(), step_options(options), arena_) {
  if (validation_)
    evaluator_ = std::make_unique<Evaluator>(context, device, info_, heads_, model,
                                             validation_->tensors(), options.step.loss, arena_);
  if (options_.statistics_samples > 0 && !model.statistics().empty())
    estimator_ =
        std::make_unique<StatisticsEstimator>(context, device, info_, model, train.tensors(),
                                              options.step.unbiased_running_variance, arena_);
  if (options_.micro_batches < 1) usage_error("a step takes one micro-batch or more");
  state_ = std::make_unique<TrainerState>(options_, heads_);
}

// When all else that the run needs is known: the rest of a GPU's memory may keep samples.
void Trainer::make_feeders() {
  if (feeder_) return;
  size_t keep_bytes = 0;
  if (!device_.backend().host_memory) {
    const size_t arena = std::max(arena_bytes(), evaluator_ ? evaluator_->arena_bytes() : 0);
    const size_t inputs =
        step_.session().input_bytes() + (evaluator_ ? evaluator_->session().input_bytes() : 0);
    const size_t kept = evaluator_ ? evaluator_->session().plan().kept_bytes : 0;
    const View flat = view_of(nullptr, model_.flat_info().shape, device_.real());
    const size_t flats = 1 + state_names(options_.step.optimizer).size();  // with the sum
    const size_t needed = arena + kept + 2 * inputs + flats * flat.bytes();
    const MemoryInfo memory = device_.backend().memory(device_.stream());
    // A tenth is left to the driver and to others.
    const size_t usable = memory.free_bytes - memory.free_bytes / 10;
    keep_bytes = options_.device_cache.value_or(usable > needed ? usable - needed : 0);
  }
  feeder_ = std::make_unique<Feeder>(device_, train_, keep_bytes);
  if (!validation_) return;
  keep_bytes -= std::min(keep_bytes, feeder_->kept_bytes());
  validation_feeder_ = std::make_unique<Feeder>(device_, *validation_, keep_bytes);
}

Trainer::~Trainer() = default;

TrainOutcome Trainer::run(TrainObserver& observer) {
  TrainerState& s = *state_;
  make_feeders();
  if (const std::string word = folder_.hold(); !word.empty()) context_.log(word);
  folder_.open(columns(), s.epochs_step);
  while (s.epoch < options_.epochs && !s.should_stop) run_epoch(observer);
  return {s.epoch, s.best.epoch(), s.best.best(), s.should_stop};
}

void Trainer::run_epoch(TrainObserver& observer) {
  TrainerState& s = *state_;
  const int64_t batches = train_.batches_per_epoch();
  const auto start = Clock::now();
  const double seconds_before = s.seconds;
  auto last_save = start;
  const auto save_here = [&] {
    add_rest();
    s.seconds = seconds_before + seconds_since(start);
    save(folder_.last(), true);
    last_save = Clock::now();
  };
  if (s.batch < batches) feeder_->start(s.epoch, s.batch);
  while (s.batch < batches) {
    StepState step;
    step.seed = options_.seed;
    step.step = s.step + 1;
    step.learning_rate = s.learning_rate.rate(s.step);
    const int64_t micro_batches = std::min(options_.micro_batches, batches - s.batch);
    for (; step.micro_batch < micro_batches; step.micro_batch++) {
      step.draw = s.draw++;
      train_micro_batch(step, step.micro_batch == micro_batches - 1);
    }
    s.step++;
    s.batch += micro_batches;
    observer.on_batch({s.epoch + 1, options_.epochs, s.samples, s.samples / s.batch * batches,
                       s.loss_sum / s.loss_weight, step.learning_rate});
    if (context_.cancel) {
      save_here();
      throw_interrupted();
    }
    if (options_.checkpoint_minutes > 0 &&
        seconds_since(last_save) >= options_.checkpoint_minutes * 60)
      save_here();
  }
  add_rest();
  s.seconds = seconds_before + seconds_since(start);
  const KeptStatistics as_trained(model_);
  try {
    finish_epoch(observer);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::cancelled) throw;
    as_trained.restore();
    // Between the last batch and what follows it, which is done anew.
    save(folder_.last(), true);
    throw_interrupted();
  }
  if (context_.cancel && s.epoch < options_.epochs && !s.should_stop) throw_interrupted();
}

void Trainer::train_micro_batch(const StepState& step, bool last) {
  const Batch* batch = feeder_->next();
  if (!batch) usage_error("the source gave fewer batches than it announced");
  if (const TrainStep::Result* result = step_.run(*feeder_, *batch, step, last)) add(*result);
}

void Trainer::add(const TrainStep::Result& result) {
  TrainerState& s = *state_;
  for (size_t i = 0; i < s.meters.size(); i++) s.meters[i]->add(result.heads[i]);
  s.samples += result.samples;
  s.loss_sum += result.loss * result.weight;
  s.loss_weight += result.weight;
}

// What the device has not told yet.
void Trainer::add_rest() {
  if (const TrainStep::Result* result = step_.finish()) add(*result);
}

void Trainer::throw_interrupted() const {
  throw Error(ErrorKind::cancelled,
              "interrupted; " + folder_.last() + " holds all that resuming the run needs");
}

void Trainer::finish_epoch(TrainObserver& observer) {
  TrainerState& s = *state_;
  NamedValues metrics{{"epoch", static_cast<double>(s.epoch + 1)},
                      {"step", static_cast<double>(s.step)},
                      {"learning_rate", s.learning_rate.rate(s.step - 1)}};
  double monitored = s.loss_sum / s.loss_weight;
  metrics.emplace_back("loss", monitored);
  append(metrics, metrics_of(s.meters, "", {}));
  const auto start = Clock::now();
  estimate_statistics();
  if (validation_) {
    const double validation_loss = validate(observer, metrics);
    if (!options_.monitor_training_loss) monitored = validation_loss;
  }
  metrics.emplace_back("seconds", s.seconds + seconds_since(start));

  s.epoch++;
  s.epochs_step = s.step;
  s.begin_epoch();
  s.learning_rate.epoch_ended(monitored);
  if (s.stopping) s.should_stop = s.stopping->epoch_ended(monitored);
  const bool best = s.best.epoch_ended(s.epoch, monitored);
  info_.summary = with_results(info_.summary, s.epoch, metrics);
  if (best) save(folder_.best(), false);
  folder_.append(s.step, metrics);
  save(folder_.last(), true);
  observer.on_epoch(metrics, best);
}

void Trainer::estimate_statistics() {
  if (!estimator_) return;
  const int64_t batch = train_.tensors().front().shape[0];
  const int64_t wanted = (options_.statistics_samples + batch - 1) / batch;
  estimator_->estimate(*feeder_, state_->epoch, std::min(wanted, train_.batches_per_epoch()));
}

double Trainer::validate(TrainObserver& observer, NamedValues& metrics) {
  const int64_t batches = validation_->batches_per_epoch();
  const Evaluated found = evaluator_->evaluate(
      *validation_feeder_, [&](int64_t done) { observer.on_validation(done, batches); });
  std::vector<NamedValues> settings;
  for (size_t i = 0; i < heads_.size(); i++) {
    settings.push_back(found.meters[i]->settle());
    heads_[i].task = heads_[i].task->with(settings.back());
  }
  set_heads(info_, heads_);
  metrics.emplace_back("val_loss", found.loss());
  append(metrics, metrics_of(found.meters, "val_", settings));
  for (size_t i = 0; i < heads_.size(); i++)
    for (const auto& [name, value] : settings[i])
      metrics.emplace_back(prefix_of(heads_, i, "_") + name, value);
  return found.loss();
}

NamedValues Trainer::metrics_of(const std::vector<std::unique_ptr<Meter>>& meters,
                                const std::string& prefix,
                                const std::vector<NamedValues>& settings) const {
  NamedValues all;
  for (size_t i = 0; i < meters.size(); i++)
    for (const auto& [name, value] :
         meters[i]->metrics(settings.empty() ? NamedValues{} : settings[i]))
      all.emplace_back(prefix + prefix_of(heads_, i, "_") + name, value);
  return all;
}

std::vector<std::string> Trainer::columns() const {
  std::vector<std::unique_ptr<Meter>> meters;
  for (const Head& head : heads_) meters.push_back(head.task->meter());
  std::vector<std::string> names{"epoch", "step", "learning_rate"};
  const auto add = [&](const std::string& prefix) {
    names.push_back(prefix + "loss");
    for (const auto& metric : metrics_of(meters, prefix, {})) names.push_back(metric.first);
  };
  add("");
  if (validation_) {
    add("val_");
    for (size_t i = 0; i < meters.size(); i++)
      for (const auto& setting : meters[i]->settle())
        names.push_back(prefix_of(heads_, i, "_") + setting.first);
  }
  names.emplace_back("seconds");
  return names;
}

void Trainer::resume(const Checkpoint& checkpoint) {
  const ModelInfo& from = checkpoint.info();
  if (from.training_state.empty())
    file_error(checkpoint.path() + ": holds no training state; resume from last.safetensors");
  const Heads heads = heads_of(checkpoint);
  if (from.network.to_json() != info_.network.to_json() || !same_preprocessing(from, info_) ||
      !same_tasks(heads, heads_))
    file_error(checkpoint.path() +
               ": its network, preprocessing or task are not those of this run");
  try {
    state_->restore(from.training_state, options_text_);
  } catch (const Error& error) {
    file_error(checkpoint.path() + ": its training state does not fit: " + error.what());
  }
  folder_.check_history(state_->epoch, state_->epochs_step);
  checkpoint.restore(model_);
  heads_ = heads;
  info_.task = from.task;
  info_.summary = with_results_of(info_.summary, from.summary);
}

void Trainer::save(const std::string& path, bool resumable) {
  ModelInfo info = info_;
  if (resumable) info.training_state = state_->stored(options_text_);
  save_checkpoint(path, info, model_);
}

}  // namespace fulmar::model
