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

// Metrics of one side of an epoch, as columns: "loss" or "val_loss", …
void add_scores(NamedValues& metrics, const std::string& prefix, const Scores& scores,
                bool two_classes) {
  const auto add = [&](const char* name, double value) {
    metrics.emplace_back(prefix + name, value);
  };
  add("loss", scores.loss);
  add("accuracy", scores.accuracy);
  add("macro_f1", scores.macro.f1);
  add("roc_auc", scores.roc_auc);
  add("pr_auc", scores.pr_auc);
  if (!two_classes) return;
  add("f1", scores.f1);
  add("fp", static_cast<double>(scores.false_positives));
  add("fn", static_cast<double>(scores.false_negatives));
}

std::vector<std::string> columns_of(bool two_classes, bool validation) {
  NamedValues metrics{{"epoch", 0}, {"step", 0}, {"learning_rate", 0}};
  add_scores(metrics, "", {}, two_classes);
  if (validation) add_scores(metrics, "val_", {}, two_classes);
  if (validation && two_classes) metrics.emplace_back("threshold", 0);
  metrics.emplace_back("seconds", 0);
  std::vector<std::string> columns;
  for (const auto& metric : metrics) columns.push_back(metric.first);
  return columns;
}

constexpr const char *epoch_key = "epoch", *metrics_key = "metrics";

// A description that can be saved, with the program that trains it.
ModelInfo described(ModelInfo info) {
  check(info);
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

}  // namespace

Trainer::Trainer(Context& context, Device& device, ModelInfo info, Model& model, BatchSource& train,
                 BatchSource* validation, RunFolder& folder, const TrainerOptions& options)
    : context_(context),
      device_(device),
      info_(described(std::move(info))),
      model_(model),
      train_(train),
      validation_(validation),
      folder_(folder),
      options_(options),
      options_text_(options_text(options, model, train, validation != nullptr)),
      arena_(std::make_shared<Arena>()),
      step_(context, device, info_, model, train.tensors(), options.step, arena_) {
  if (validation_)
    evaluator_ = std::make_unique<Evaluator>(context, device, info_, model, validation_->tensors(),
                                             options.step.loss, arena_);
  if (options_.statistics_samples > 0 && !model.statistics().empty())
    estimator_ =
        std::make_unique<StatisticsEstimator>(context, device, info_, model, train.tensors(),
                                              options.step.unbiased_running_variance, arena_);
  const auto classes = static_cast<int64_t>(info_.classes.size());
  const Tape& tape = step_.session().tape();
  const Shape& logits = tape.shape(tape.find(info_.network.output()));
  if (logits != Shape{logits.images(), 1, 1, classes})
    usage_error("the network gives " + logits.to_string() + " for " + std::to_string(classes) +
                " classes, not one row of that many logits a picture");
  if (options_.micro_batches < 1) usage_error("a step takes one micro-batch or more");
  state_ = std::make_unique<State>(options_, classes);
}

// When all else that the run needs is known: the rest of a GPU's memory may keep samples.
void Trainer::make_feeders() {
  if (feeder_) return;
  size_t keep_bytes = 0;
  if (!device_.backend().host_memory) {
    const size_t arena = std::max(arena_bytes(), evaluator_ ? evaluator_->arena_bytes() : 0);
    const size_t inputs =
        step_.session().input_bytes() + (evaluator_ ? evaluator_->session().input_bytes() : 0);
    const View flat = view_of(nullptr, model_.flat_info().shape, device_.real());
    const size_t flats = 1 + state_names(options_.step.optimizer).size();  // with the sum
    const size_t needed = arena + 2 * inputs + flats * flat.bytes();
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
  State& s = *state_;
  make_feeders();
  if (const std::string word = folder_.hold(); !word.empty()) context_.log(word);
  folder_.open(columns_of(info_.classes.size() == 2, validation_ != nullptr), s.epochs_step);
  while (s.epoch < options_.epochs && !s.should_stop) run_epoch(observer);
  return {s.epoch, s.best.epoch(), s.best.best(), s.should_stop};
}

void Trainer::run_epoch(TrainObserver& observer) {
  State& s = *state_;
  const int64_t batches = train_.batches_per_epoch();
  const auto start = Clock::now();
  const double seconds_before = s.seconds;
  auto last_save = start;
  const auto save_here = [&] {
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
      const fulmar::Batch* batch = feeder_->next();
      if (!batch) usage_error("the source gave fewer batches than it announced");
      step.draw = s.draw++;
      const TrainStep::Result result = step_.accumulate(*feeder_, *batch, step);
      const auto* labels = named_tensor(train_.tensors(), *batch, "label").as<const int32_t>();
      const auto classes = static_cast<size_t>(s.seen.classes);
      for (size_t i = 0; i < batch->samples.size(); i++)
        s.seen.add(labels[i], std::span(result.probabilities).subspan(i * classes, classes),
                   result.loss);
    }
    step_.apply(step);
    s.step++;
    s.batch += micro_batches;
    observer.on_batch({s.epoch + 1, options_.epochs, s.seen.size(),
                       s.seen.size() / s.batch * batches, s.seen.loss_sum / s.seen.weight_sum,
                       step.learning_rate});
    if (context_.cancel) {
      save_here();
      throw_interrupted();
    }
    if (options_.checkpoint_minutes > 0 &&
        seconds_since(last_save) >= options_.checkpoint_minutes * 60)
      save_here();
  }
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

void Trainer::throw_interrupted() const {
  throw Error(ErrorKind::cancelled,
              "interrupted; " + folder_.last() + " holds all that resuming the run needs");
}

void Trainer::finish_epoch(TrainObserver& observer) {
  State& s = *state_;
  const bool two_classes = info_.classes.size() == 2;
  NamedValues metrics{{"epoch", static_cast<double>(s.epoch + 1)},
                      {"step", static_cast<double>(s.step)},
                      {"learning_rate", s.learning_rate.rate(s.step - 1)}};
  const Scores train_scores = score(s.seen, info_.positive_class);
  add_scores(metrics, "", train_scores, two_classes);
  double monitored = train_scores.loss;
  const auto start = Clock::now();
  estimate_statistics();
  if (validation_) {
    const double validation_loss = validate(observer, metrics);
    if (!options_.monitor_training_loss) monitored = validation_loss;
  }
  metrics.emplace_back("seconds", s.seconds + seconds_since(start));

  s.epoch++;
  s.batch = 0;
  s.epochs_step = s.step;
  s.seconds = 0;
  s.seen = Predictions(s.seen.classes);
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
  const Outputs outputs = evaluator_->predict_all(
      *validation_feeder_, [&](int64_t done) { observer.on_validation(done, batches); });
  if (info_.positive_class >= 0)
    info_.threshold = best_f1_threshold(outputs.predictions.scores_of(info_.positive_class),
                                        outputs.predictions.truth_of(info_.positive_class))
                          .threshold;
  const Scores scores = score(outputs.predictions, info_.positive_class, info_.threshold);
  add_scores(metrics, "val_", scores, info_.classes.size() == 2);
  if (info_.positive_class >= 0) metrics.emplace_back("threshold", info_.threshold);
  return scores.loss;
}

void Trainer::resume(const Checkpoint& checkpoint) {
  const ModelInfo& from = checkpoint.info();
  if (from.training_state.empty())
    file_error(checkpoint.path() + ": holds no training state; resume from last.safetensors");
  if (from.network.to_json() != info_.network.to_json() ||
      from.preprocess.to_json() != info_.preprocess.to_json() || from.classes != info_.classes ||
      from.positive_class != info_.positive_class)
    file_error(checkpoint.path() +
               ": its network, preprocessing or classes are not those of this run");
  try {
    state_->restore(from.training_state, options_text_);
  } catch (const Error& error) {
    file_error(checkpoint.path() + ": its training state does not fit: " + error.what());
  }
  folder_.check_history(state_->epoch, state_->epochs_step);
  checkpoint.restore(model_);
  info_.threshold = from.threshold;
  info_.summary = with_results_of(info_.summary, from.summary);
}

void Trainer::save(const std::string& path, bool resumable) {
  ModelInfo info = info_;
  if (resumable) info.training_state = state_->stored(options_text_);
  save_checkpoint(path, info, model_);
}

}  // namespace fulmar::model
