#include "model/train_step.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/recompute.h"
#include "kernels/error.h"
#include "model/observe.h"

namespace fulmar::model {
namespace {

// The values that the host reads after a run: the check's first, then what heads watch.
enum Read : size_t { read_nonfinite, read_loss, read_weight, read_watched };

}  // namespace

RecordedStep record_step(const ModelInfo& info, const Heads& heads, const Model& model,
                         const std::vector<TensorSpec>& tensors, Device& device,
                         const TrainStepOptions& options, bool updates) {
  Program program = record_program(info, heads, tensors,
                                   {Mode::train, options.loss, options.unbiased_running_variance});
  require_labels(program, heads, "training");
  if (options.fuse) program = fused(program, device);
  Tape& tape = *program.tape;
  GradientSum sum{joined_gradients(tape, model, program.loss_sum), program.loss_weight};
  if (options.accumulates) sum = record_accumulate(tape, model, sum.gradient, sum.weight);
  const Val bad = record_check(tape, model, std::array{sum.gradient, sum.weight, program.loss_sum});
  if (updates) record_update(tape, model, options.optimizer, sum.gradient, sum.weight, bad);
  std::vector<Val> outputs{bad, program.loss, program.loss_weight};
  const std::vector<Val> watched = watched_values(program);
  outputs.insert(outputs.end(), watched.begin(), watched.end());
  if (!options.recompute) return {std::move(program), bad, std::move(outputs)};
  const Rewritten after = recompute(tape, outputs, device);
  const auto now = [&](Val v) { return after.now(v); };
  std::transform(outputs.begin(), outputs.end(), outputs.begin(), now);
  return {moved(program, after.tape, now), now(bad), std::move(outputs)};
}

TrainStep::Stage::Stage(TrainStep& owner, RecordedStep&& step, const TrainStepOptions& options)
    : program(std::move(step.program)),
      session(owner.context_, owner.device_, program.tape, step.outputs, &owner.model_,
              owner.arena_, {.debug = options.debug, .cancellable = false}),
      results{Readback(session, step.outputs), Readback(session, step.outputs)} {}

TrainStep::TrainStep(Context& context, Device& device, const ModelInfo& info, const Heads& heads,
                     Model& model, const std::vector<TensorSpec>& tensors,
                     const TrainStepOptions& options, std::shared_ptr<Arena> arena)
    : context_(context),
      device_(device),
      model_(model),
      heads_(heads),
      tensors_(tensors),
      arena_(arena ? std::move(arena) : std::make_shared<Arena>()),
      steps_(*this, record_step(info, heads_, model, tensors_, device, options, true), options) {
  if (options.accumulates)
    adds_ = std::make_unique<Stage>(
        *this, record_step(info, heads_, model, tensors_, device, options, false), options);
  model_.clear("/nonfinite");
}

int64_t TrainStep::replays() const {
  return steps_.session.replays() + (adds_ ? adds_->session.replays() : 0);
}

TrainStep::Pending TrainStep::launch(const Feed& feed, const Batch& batch, const StepState& state,
                                     bool last) {
  if (!last && !adds_) usage_error("a step of several micro-batches needs the option accumulates");
  Stage& stage = last ? steps_ : *adds_;
  model_.set_step_state(state);
  feed(stage.session);
  stage.session.run();
  const size_t slot = launched_++ % 2;
  stage.results[slot].start();
  return {&stage, slot, &batch, state, nullptr};
}

const TrainStep::Result& TrainStep::run(const Batch& batch, const StepState& state, bool last) {
  const Program& program = last || !adds_ ? steps_.program : adds_->program;
  const Feed feed = [&](Session& session) { set_inputs(session, program, batch); };
  return collect(launch(feed, batch, state, last), feed);
}

const TrainStep::Result* TrainStep::run(Feeder& feeder, const Batch& batch, const StepState& state,
                                        bool last) {
  const Program& program = last || !adds_ ? steps_.program : adds_->program;
  const Feed feed = [&](Session& session) { feeder.bind(session, program.inputs); };
  Pending now = launch(feed, batch, state, last);
  now.feeder = &feeder;
  if (device_.backend().host_memory) return &collect(now, feed);
  // The earlier batch is still there, until the feeder fetches another.
  const Result* earlier = finish();
  pending_ = now;
  feeder.fetch_ahead();
  return earlier;
}

const TrainStep::Result* TrainStep::finish() { return pending_ ? &collect_late() : nullptr; }

const TrainStep::Result& TrainStep::collect_late() {
  const Pending run = *std::exchange(pending_, std::nullopt);
  const bool another = launched_ % 2 == run.slot;  // was launched since
  return collect(run, [&](Session& session) {
    if (another)
      run.feeder->bind_previous(session, run.stage->program.inputs);
    else
      run.feeder->bind(session, run.stage->program.inputs);
  });
}

const TrainStep::Result& TrainStep::collect(const Pending& run, const Feed& feed) {
  Readback& read = run.stage->results[run.slot];
  read.wait();
  if (read.first(read_nonfinite) > 0) report_divergence(run, feed);
  result_.loss = read.first(read_loss);
  result_.weight = read.first(read_weight);
  result_.samples = std::ssize(run.batch->samples);
  observe(
      run.stage->program, heads_, tensors_, *run.batch,
      [&](size_t place, std::vector<double>& numbers) { read.read(read_watched + place, numbers); },
      result_.heads);
  return result_;
}

void TrainStep::report_divergence(const Pending& run, const Feed& feed) {
  // The same micro-batch again, node by node; running statistics are already beyond repair. Who
  // interrupts the program now still learns that it diverged. The update stays held back.
  model_.set_step_state(run.state);
  const Program& program = run.stage->program;
  std::vector<Val> outputs = watched_values(program);
  outputs.push_back(program.loss);
  try {
    Session debug(context_, device_, program.tape, outputs, &model_, arena_,
                  {.debug = true, .cancellable = false});
    feed(debug);
    debug.run();
  } catch (...) {
    model_.clear("/nonfinite");
    throw;
  }
  model_.clear("/nonfinite");
  throw Error(ErrorKind::diverged,
              "the gradients became NaN or infinite when micro-batches were added up");
}

}  // namespace fulmar::model
