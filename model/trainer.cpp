#include "model/trainer.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "model/evaluate.h"

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
  metrics.emplace_back("seconds", 0);
  std::vector<std::string> columns;
  for (const auto& metric : metrics) columns.push_back(metric.first);
  return columns;
}

}  // namespace

// Where a run stands, between two steps. All but `seconds` decides what comes next.
struct Trainer::State {
  State(const TrainerOptions& options, int64_t classes)
      : learning_rate(options.schedule), seen(classes) {
    if (options.early_stopping) stopping.emplace(*options.early_stopping);
  }

  int64_t epoch = 0, batch = 0;  // of the source: which comes next
  int64_t step = 0;              // optimiser steps done
  uint64_t draw = 0;             // micro-batches done
  int64_t epochs_step = 0;       // optimiser steps done when the last whole epoch ended
  LearningRate learning_rate;
  std::optional<EarlyStopping> stopping;
  bool should_stop = false;
  BestEpoch best{Goal::lowest};
  Predictions seen;    // of this epoch so far
  double seconds = 0;  // of this epoch so far, wall clock
};

Trainer::Trainer(Context& context, Device& device, ModelInfo info, Model& model, BatchSource& train,
                 BatchSource* validation, RunFolder& folder, const TrainerOptions& options)
    : context_(context),
      device_(device),
      info_(std::move(info)),
      model_(model),
      train_(train),
      validation_(validation),
      folder_(folder),
      options_(options),
      arena_(std::make_shared<Arena>()),
      step_(context, device, info_, model, train.tensors(), options.step, arena_) {
  if (validation_)
    evaluator_ = std::make_unique<Evaluator>(context, device, info_, model, validation_->tensors(),
                                             options.step.loss, arena_);
  const auto classes = static_cast<int64_t>(info_.classes.size());
  state_ = std::make_unique<State>(options_, classes);
}

Trainer::~Trainer() = default;

TrainOutcome Trainer::run(TrainObserver& observer) {
  State& s = *state_;
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
    save(folder_.last());
    last_save = Clock::now();
  };
  if (s.batch < batches) train_.start(s.epoch, s.batch);
  while (s.batch < batches) {
    StepState step;
    step.seed = options_.seed;
    step.step = s.step + 1;
    step.learning_rate = s.learning_rate.rate(s.step);
    step.micro_batches = std::min(options_.micro_batches, batches - s.batch);
    for (; step.micro_batch < step.micro_batches; step.micro_batch++) {
      const fulmar::Batch* batch = train_.next();
      if (!batch) usage_error("the source gave fewer batches than it announced");
      step.draw = s.draw++;
      const TrainStep::Result result = step_.accumulate(*batch, step);
      const auto* labels = named_tensor(train_.tensors(), *batch, "label").as<const int32_t>();
      const auto classes = static_cast<size_t>(s.seen.classes);
      for (size_t i = 0; i < batch->samples.size(); i++)
        s.seen.add(labels[i], std::span(result.probabilities).subspan(i * classes, classes),
                   result.loss);
    }
    step_.apply(step);
    s.step++;
    s.batch += step.micro_batches;
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
  try {
    finish_epoch(observer);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::cancelled) throw;
    save(folder_.last());  // between the last batch and the validation, which is done anew
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
  if (best) save(folder_.best());
  folder_.append(s.step, metrics);
  save(folder_.last());
  observer.on_epoch(metrics, best);
}

double Trainer::validate(TrainObserver& observer, NamedValues& metrics) {
  const int64_t batches = validation_->batches_per_epoch();
  const Outputs outputs = evaluator_->predict_all(
      *validation_, [&](int64_t done) { observer.on_validation(done, batches); });
  if (info_.positive_class >= 0)
    info_.threshold = best_f1_threshold(outputs.predictions.scores_of(info_.positive_class),
                                        outputs.predictions.truth_of(info_.positive_class))
                          .threshold;
  const Scores scores = score(outputs.predictions, info_.positive_class, info_.threshold);
  add_scores(metrics, "val_", scores, info_.classes.size() == 2);
  return scores.loss;
}

std::string Trainer::state_json() const {
  const State& s = *state_;
  const Json state{{"epoch", s.epoch},
                   {"batch", s.batch},
                   {"step", s.step},
                   {"epochs_step", s.epochs_step},
                   {"draw", s.draw},
                   {"learning_rate", s.learning_rate.state()},
                   {"stopping", s.stopping ? s.stopping->state() : std::string()},
                   {"should_stop", s.should_stop},
                   {"best", s.best.state()},
                   {"seen", s.seen.to_json()},
                   {"seconds", s.seconds}};
  return state.dump();
}

void Trainer::resume(const Checkpoint& checkpoint) {
  if (checkpoint.info().training_state.empty())
    file_error(checkpoint.path() + ": holds no training state; resume from last.safetensors");
  checkpoint.restore(model_);
  info_.threshold = checkpoint.info().threshold;
  State& s = *state_;
  try {
    const Json state = Json::parse(checkpoint.info().training_state);
    s.epoch = state.at("epoch");
    s.batch = state.at("batch");
    s.step = state.at("step");
    s.epochs_step = state.at("epochs_step");
    s.draw = state.at("draw");
    s.learning_rate.restore(state.at("learning_rate"));
    if (s.stopping) s.stopping->restore(state.at("stopping"));
    s.should_stop = state.at("should_stop");
    s.best.restore(state.at("best"));
    s.seen = Predictions::from_json(state.at("seen"));
    s.seconds = state.at("seconds");
  } catch (const nlohmann::json::exception&) {
    file_error(checkpoint.path() + ": its training state is not one that this version wrote");
  } catch (const Error& error) {
    file_error(checkpoint.path() + ": its training state does not fit: " + error.what());
  }
  folder_.check_history(s.epoch, s.epochs_step);
}

void Trainer::save(const std::string& path) {
  ModelInfo info = info_;
  info.training_state = state_json();
  save_checkpoint(path, info, model_);
}

}  // namespace fulmar::model
