#include "model/train_step.h"

#include <array>
#include <cmath>

#include "kernels/error.h"
#include "model/evaluate.h"

namespace fulmar::model {
namespace {

ProgramOptions train_options(const ModelInfo& info, const TrainStepOptions& options) {
  ProgramOptions program = program_options(info.preprocess, Mode::train);
  program.loss = options.loss;
  program.unbiased_running_variance = options.unbiased_running_variance;
  return program;
}

Program record_training(const ModelInfo& info, Model& model, const std::vector<TensorSpec>& tensors,
                        const TrainStepOptions& options, Val& nonfinite) {
  Program program = record_program(info.network, tensors, train_options(info, options));
  if (!program.loss.sum) usage_error("training needs batches with a tensor 'label'");
  Tape& tape = *program.tape;
  nonfinite = count_nonfinite(
      tape, record_accumulate(tape, model, joined_gradients(tape, model, program.loss.sum),
                              program.loss.weight));
  return program;
}

std::shared_ptr<const Tape> update_tape(Model& model, const Optimizer& optimizer) {
  auto tape = std::make_shared<Tape>();
  const GradientSum sum = gradient_sum(*tape, model);
  record_update(*tape, model, optimizer, sum.gradient, sum.weight, count_nonfinite(*tape, sum));
  return tape;
}

}  // namespace

TrainStep::TrainStep(Context& context, Device& device, const ModelInfo& info, Model& model,
                     const std::vector<TensorSpec>& tensors, const TrainStepOptions& options,
                     std::shared_ptr<Arena> arena)
    : context_(context),
      device_(device),
      model_(model),
      program_(record_training(info, model, tensors, options, nonfinite_)),
      arena_(arena ? std::move(arena) : std::make_shared<Arena>()),
      session_(context, device, program_.tape,
               std::array{program_.loss.mean, program_.probabilities, nonfinite_}, &model, arena_,
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
  result.loss = session_.read(program_.loss.mean)[0];
  const std::vector<double> probabilities = session_.read(program_.probabilities);
  result.probabilities.assign(probabilities.begin(), probabilities.end());
  const int64_t classes = program_.tape->shape(program_.logits).channels();
  result.probabilities.resize(batch.samples.size() * static_cast<size_t>(classes));
  if (!std::isfinite(result.loss) || session_.read(nonfinite_)[0] > 0) report_divergence(feed);
  return result;
}

void TrainStep::apply(const StepState& state) {
  model_.set_step_state(state);
  update_.run();
}

void TrainStep::report_divergence(const Feed& feed) {
  // The same micro-batch again, node by node; running statistics are already beyond repair. Who
  // interrupts the program now still learns that it diverged.
  Session debug(context_, device_, program_.tape, std::array{program_.loss.mean}, &model_, arena_,
                {.debug = true, .cancellable = false});
  feed(debug);
  debug.run();
  throw Error(ErrorKind::diverged,
              "the gradients became NaN or infinite when micro-batches were added up");
}

}  // namespace fulmar::model
