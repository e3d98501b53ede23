#include "model/evaluate.h"

#include "kernels/error.h"
#include "model/observe.h"

namespace fulmar::model {
namespace {

Program record_evaluation(const ModelInfo& info, const Heads& heads,
                          const std::vector<TensorSpec>& tensors, const LossOptions& loss,
                          const Device& device) {
  const Program program = record_program(info, heads, tensors, {Mode::eval, loss});
  require_labels(program, heads, "evaluation");
  return fused(program, device, FuseFor::inference);
}

// A sample's loss of its own, where there is one head that gives it.
const Recorded* sample_losses(const Program& p) {
  return p.heads.size() == 1 && p.heads[0].sample_loss ? &p.heads[0] : nullptr;
}

std::vector<Val> outputs_of(const Program& p) {
  std::vector<Val> outputs = watched_values(p);
  if (const Recorded* head = sample_losses(p))
    outputs.insert(outputs.end(), {head->sample_loss, head->sample_weight});
  else
    outputs.insert(outputs.end(), {p.loss_sum, p.loss_weight});
  return outputs;
}

}  // namespace

Evaluator::Evaluator(Context& context, Device& device, const ModelInfo& info, const Heads& heads,
                     Model& model, const std::vector<TensorSpec>& tensors, const LossOptions& loss,
                     std::shared_ptr<Arena> arena)
    : device_(&device),
      heads_(heads),
      tensors_(tensors),
      program_(record_evaluation(info, heads, tensors, loss, device)),
      session_(context, device, program_.tape, outputs_of(program_), &model, std::move(arena)) {}

void Evaluator::read_results(const Batch& batch, Evaluated& all) {
  all.sample.insert(all.sample.end(), batch.samples.begin(), batch.samples.end());
  const std::vector<Val> watched = watched_values(program_);
  std::vector<Observed> seen;
  observe(
      program_, heads_, tensors_, batch,
      [&](size_t place, std::vector<double>& numbers) { numbers = session_.read(watched[place]); },
      seen);
  for (size_t i = 0; i < seen.size(); i++) all.meters[i]->add(seen[i]);
  if (const Recorded* head = sample_losses(program_)) {
    const std::vector<double> losses = session_.read(head->sample_loss);
    const std::vector<double> weights = session_.read(head->sample_weight);
    for (size_t i = 0; i < batch.samples.size(); i++) {
      // By way of the loss itself, as a list of samples' losses would have it.
      all.loss_sum += (weights[i] > 0 ? losses[i] / weights[i] : 0) * weights[i];
      all.loss_weight += weights[i];
    }
  } else {
    all.loss_sum += session_.read(program_.loss_sum)[0];
    all.loss_weight += session_.read(program_.loss_weight)[0];
  }
}

Evaluated Evaluator::evaluate(BatchSource& source, const std::function<void(int64_t)>& progress) {
  Feeder feeder(*device_, source);
  return evaluate(feeder, progress);
}

Evaluated Evaluator::evaluate(Feeder& feeder, const std::function<void(int64_t)>& progress) {
  Evaluated all;
  for (const Head& head : heads_) all.meters.push_back(head.task->meter());
  feeder.start(0, 0);
  int64_t done = 0;
  while (const Batch* batch = feeder.next()) {
    feeder.bind(session_, program_.inputs);
    session_.run();
    feeder.fetch_ahead();
    read_results(*batch, all);
    if (progress) progress(++done);
  }
  return all;
}

}  // namespace fulmar::model
