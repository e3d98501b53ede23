#include "bench/step/step_work.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "engine/io/checkpoint.h"
#include "kernels/error.h"
#include "model/polar_low.h"
#include "model/resnet.h"
#include "model/tasks/classification.h"

namespace fulmar::bench {
namespace {

// Before memory is taken for them.
const NoiseSize& possible(const NoiseSize& size) {
  if (size.crop > size.size)
    usage_error("a crop of " + std::to_string(size.crop) + " pixels doesn't fit into pictures of " +
                std::to_string(size.size) + ": --crop is at most --size");
  return size;
}

Network network_of(const StepOptions& options) {
  if (options.network == "resnet-50") {
    model::ResnetOptions network;
    network.channels = options.noise.channels;
    if (!options.widths.empty()) network.widths = options.widths;
    return model::resnet(network);
  }
  if (options.network != "polar-low")
    usage_error("the step of '" + options.network + "' is not known here");
  model::PolarLowOptions network;
  network.channels = options.noise.channels;
  if (!options.widths.empty()) network.widths = options.widths;
  if (options.check) network.dropout = 0;
  return model::polar_low(network);
}

}  // namespace

const std::vector<std::string>& step_networks() {
  static const std::vector<std::string> names{"polar-low", "resnet-50"};
  return names;
}

StepWork::StepWork(Context& context, Device& device, const StepOptions& options)
    : options_(options),
      device_(device),
      noise_(possible(options.noise), options.augment),
      feeder_(device, noise_, size_t{1} << 40),
      info_(model::classifier_of(
          network_of(options),
          Preprocess::of_pictures(0, options.noise.crop, options.noise.channels),
          model::Classification({"neg", "pos"}, 1))),
      weights_(model::new_model(info_, device, 1)) {
  const model::Heads heads = model::heads_of(info_);
  weights_.decay_all();
  if (options.check) set_formula_weights(weights_);
  if (options.inference) {
    program_ = model::record_program(info_, heads, noise_.tensors(), {Mode::eval});
    if (options.fuse) program_ = model::fused(program_, device, FuseFor::inference);
    probabilities_ = program_.heads[0].results[0].second;
    logits_ = program_.outputs.begin()->second;
    inference_.emplace(context, device, program_.tape, std::vector{probabilities_, logits_},
                       &weights_);
  } else {
    model::TrainStepOptions step;
    step.fuse = options.fuse;
    step.recompute = options.recompute;
    step.optimizer = AdamW{0.9, 0.999, 1e-7, 1e-4, true, false};  // PyTorch's form
    step_.emplace(context, device, info_, heads, weights_, noise_.tensors(), step);
  }
  feeder_.start(0, 0);
}

double StepWork::run() {
  const Batch& batch = *feeder_.next();
  if (inference_) {
    feeder_.bind(*inference_, program_.inputs);
    inference_->run();
    feeder_.fetch_ahead();
    inference_->read(probabilities_);
    return 0;
  }
  StepState state;
  state.step = ++done_;
  state.draw = static_cast<uint64_t>(done_);
  state.learning_rate = options_.learning_rate;
  const model::TrainStep::Result* now = step_->run(feeder_, batch, state, true);
  const model::TrainStep::Result* rest = step_->finish();
  return (rest ? rest : now)->loss;
}

// A loss is read before the weights are changed.
void StepWork::wait() { device_.backend().synchronize(device_.stream()); }

std::vector<double> StepWork::logits() { return inference_->read(logits_); }

void StepWork::save(const std::string& path) { save_checkpoint(path, info_, weights_); }

size_t StepWork::planned_bytes() {
  const Plan& plan = session().plan();
  const size_t computed = plan.arena_bytes + plan.kept_bytes;
  // The host has weights and pictures before the first run.
  if (device_.backend().host_memory) return computed;
  return computed + session().input_bytes() + weights_.bytes();
}

Round run_round(StepWork& work, int64_t runs, const std::function<void()>& between) {
  using Clock = std::chrono::steady_clock;
  Round round;
  for (int64_t i = 0; i < runs; i++) {
    const auto start = Clock::now();
    round.loss = work.run();
    work.wait();
    round.seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    if (between) between();
  }
  return round;
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace fulmar::bench
