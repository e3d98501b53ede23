#include "model/train_step.h"

#include <array>
#include <cmath>

#include "kernels/error.h"
#include "model/observe.h"

namespace fulmar::model {
namespace {

Program record_training(const ModelInfo& info, const Heads& heads, Model& model,
                        const std::vector<TensorSpec>& tensors, const TrainStepOptions& options) {
  Program program = record_program(info, heads, tensors,
                                   {Mode::train, options.loss, options.unbiased_running_variance});
  require_labels(program, heads, "training");
  record_accumulate(*program.tape, model, joined_gradients(*program.tape, model, program.loss));
  return program;
}

std::vector<Val> outputs_of(const Program& program) {
  std::vector<Val> outputs = watched_values(program);
  outputs.insert(outputs.end(), {program.loss, program.loss_weight});
  return outputs;
}

std::shared_ptr<const Tape> update_tape(Model& model, const Optimizer& optimizer) {
  auto tape = std::make_shared<Tape>();
  const GradientSum sum = gradient_sum(*tape, model);
  record_update(*tape, model, optimizer, sum.gradient, sum.weight, count_nonfinite(*tape, sum));
  return tape;
}

}  // namespace

TrainStep::TrainStep(Context& context, Device& device, const ModelInfo& info, const Heads& heads,
                     Model& model, const std::vector<TensorSpec>& tensors,
                     const TrainStepOptions& options, std::shared_ptr<Arena> arena)
    : context_(context),
      device_(device),
      model_(model),
      heads_(heads),
      tensors_(tensors),
      program_(record_training(info, heads, model, tensors, options)),
      arena_(arena ? std::move(arena) : std::make_shared<Arena>()),
      session_(context, device, program_.tape, outputs_of(program_), &model, arena_,
               {.debug = options.debug, .cancellable = false}),
      update_(context, device, update_tape(model, options.optimizer), {}, &model, arena_,
              {.debug = options.debug, .cancellable = false}) {}

TrainStep::Result TrainStep::accumulate(const Batch& batch, const StepState& state) {
  model_.set_step_state(state);
  const Feed feed = [&](Session& session) { set_inputs(session, program_, batch); };
  feed(session_);
  session_.run();
  return read_result(batch, feed);
}

TrainStep::Result TrainStep::accumulate(Feeder& feeder, const Batch& batch,
                                        const StepState& state) {
  model_.set_step_state(state);
  const Feed feed = [&](Session& session) { feeder.bind(session, program_.inputs); };
  feed(session_);
  session_.run();
  feeder.fetch_ahead();
  return read_result(batch, feed);
}

TrainStep::Result TrainStep::read_result(const Batch& batch, const Feed& feed) {
  Result result;
  result.loss = session_.read(program_.loss)[0];
  result.weight = session_.read(program_.loss_weight)[0];
  result.heads = observe(session_, program_, heads_, tensors_, batch);
  if (!std::isfinite(result.loss) || !gradients_finite()) report_divergence(feed);
  return result;
}

void TrainStep::apply(const StepState& state) {
  model_.set_step_state(state);
  update_.run();
}

void TrainStep::report_divergence(const Feed& feed) {
  // The same micro-batch again, node by node; running statistics are already beyond repair. Who
  // interrupts the program now still learns that it diverged.
  Session debug(context_, device_, program_.tape, std::array{program_.loss}, &model_, arena_,
                {.debug = true, .cancellable = false});
  feed(debug);
  debug.run();
  throw Error(ErrorKind::diverged,
              "the gradients became NaN or infinite when micro-batches were added up");
}

}  // namespace fulmar::model
