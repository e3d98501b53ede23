#include "model/evaluate.h"

#include <string>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

ProgramOptions eval_options(const ModelInfo& info, const CrossEntropy& loss) {
  ProgramOptions options = program_options(info.preprocess, Mode::eval);
  options.loss = loss;
  return options;
}

std::vector<Val> outputs_of(const Program& p) {
  std::vector<Val> outputs{p.logits, p.probabilities};
  if (p.loss.mean) outputs.insert(outputs.end(), {p.loss.rows, p.loss.row_weight});
  return outputs;
}

}  // namespace

void set_inputs(Session& session, const Program& program, const Batch& batch) {
  if (batch.tensors.size() != program.inputs.size())
    usage_error("a batch has " + std::to_string(batch.tensors.size()) + " tensors, the program " +
                std::to_string(program.inputs.size()));
  const int64_t slots = program.tape->shape(program.input).images();
  if (std::ssize(batch.samples) > slots)
    usage_error("a batch of " + std::to_string(slots) + " names " +
                std::to_string(batch.samples.size()) + " samples");
  for (size_t i = 0; i < program.inputs.size(); i++)
    set_input(session, program.inputs[i], batch.tensors[i]);
}

Evaluator::Evaluator(Context& context, Device& device, const ModelInfo& info, Model& model,
                     const std::vector<TensorSpec>& tensors, const CrossEntropy& loss,
                     std::shared_ptr<Arena> arena)
    : device_(&device),
      tensors_(tensors),
      program_(record_program(info.network, tensors, eval_options(info, loss))),
      session_(context, device, program_.tape, outputs_of(program_), &model, std::move(arena)) {}

void Evaluator::predict(const Batch& batch, Outputs& all) {
  set_inputs(session_, program_, batch);
  session_.run();
  read_results(batch, all);
}

void Evaluator::read_results(const Batch& batch, Outputs& all) {
  const Shape& shape = program_.tape->shape(program_.logits);
  if (shape.height() != 1 || shape.width() != 1)
    usage_error("the network gives " + shape.to_string() +
                ", one row of logits a picture expected");
  const auto used = static_cast<std::ptrdiff_t>(batch.samples.size()) * shape.channels();
  const std::vector<double> logits = session_.read(program_.logits);
  const std::vector<double> probabilities = session_.read(program_.probabilities);
  all.predictions.classes = shape.channels();
  all.sample.insert(all.sample.end(), batch.samples.begin(), batch.samples.end());
  all.logits.insert(all.logits.end(), logits.begin(), logits.begin() + used);
  for (std::ptrdiff_t i = 0; i < used; i++)
    all.probabilities.push_back(static_cast<float>(probabilities[static_cast<size_t>(i)]));
  if (program_.loss.mean) predict_labelled(batch, all);
}

void Evaluator::predict_labelled(const Batch& batch, Outputs& all) {
  const std::vector<double> losses = session_.read(program_.loss.rows);
  const std::vector<double> weights = session_.read(program_.loss.row_weight);
  const auto* labels = named_tensor(tensors_, batch, "label").as<const int32_t>();
  const auto classes = static_cast<size_t>(all.predictions.classes);
  const size_t first = all.sample.size() - batch.samples.size();
  for (size_t i = 0; i < batch.samples.size(); i++) {
    const double loss = weights[i] > 0 ? losses[i] / weights[i] : 0;
    all.predictions.add(labels[i],
                        std::span(all.probabilities).subspan((first + i) * classes, classes), loss,
                        weights[i]);
  }
}

Outputs Evaluator::predict_all(BatchSource& source, const std::function<void(int64_t)>& progress) {
  Feeder feeder(*device_, source);
  return predict_all(feeder, progress);
}

Outputs Evaluator::predict_all(Feeder& feeder, const std::function<void(int64_t)>& progress) {
  Outputs all;
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
