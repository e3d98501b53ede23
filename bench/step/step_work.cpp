#include "bench/step/step_work.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "engine/io/checkpoint.h"
#include "kernels/error.h"
#include "model/polar_low.h"
#include "model/resnet.h"
#include "model/tasks/classification.h"
#include "model/tasks/segmentation.h"
#include "model/unet.h"

namespace fulmar::bench {
namespace {

// Before memory is taken for them.
const NoiseSize& possible(const NoiseSize& size) {
  if (size.crop > size.size)
    usage_error("a crop of " + std::to_string(size.crop) + " pixels doesn't fit into pictures of " +
                std::to_string(size.size) + ": --crop is at most --size");
  return size;
}

// The charts of sea ice that the U-Net is known for.
const std::vector<LabelNoise>& charts() {
  static const std::vector<LabelNoise> all{{"SIC", 12}, {"SOD", 7}, {"FLOE", 8}};
  return all;
}

bool is_by_pixel(const StepOptions& options) { return options.network == "unet"; }

Network network_of(const StepOptions& options) {
  if (options.network == "unet") {
    model::UnetOptions network;
    network.channels = options.noise.channels;
    network.outputs.clear();
    for (const LabelNoise& chart : charts())
      network.outputs.push_back({chart.output, chart.classes});
    if (!options.widths.empty()) network.widths = options.widths;
    return model::unet(network);
  }
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

ModelInfo info_of(const StepOptions& options) {
  const Preprocess pictures =
      Preprocess::of_pictures(0, options.noise.crop, options.noise.channels);
  if (!is_by_pixel(options))
    return model::classifier_of(network_of(options), pictures,
                                model::Classification({"neg", "pos"}, 1));
  ModelInfo info;
  info.network = network_of(options);
  info.preprocess[info.network.inputs()[0]] = pictures;
  model::Heads heads;
  for (const LabelNoise& chart : charts()) {
    std::vector<std::string> classes;
    for (int64_t k = 0; k < chart.classes; k++) classes.push_back(std::to_string(k));
    heads.push_back({std::make_shared<model::Segmentation>(classes), chart.output, chart.tensor()});
  }
  set_heads(info, heads);
  return info;
}

}  // namespace

const std::vector<std::string>& step_networks() {
  static const std::vector<std::string> names{"polar-low", "resnet-50", "unet"};
  return names;
}

NoiseSize usual_size(const std::string& network) {
  if (network == "resnet-50") return {16, 224, 224, 3};
  if (network == "unet") return {16, 256, 256, 24};
  return {};
}

StepWork::StepWork(Context& context, Device& device, const StepOptions& options)
    : options_(options),
      device_(device),
      noise_(possible(options.noise), options.augment,
             is_by_pixel(options) ? charts() : std::vector<LabelNoise>{}),
      feeder_(device, noise_, size_t{1} << 40),
      info_(info_of(options)),
      weights_(model::new_model(info_, device, 1)) {
  const model::Heads heads = model::heads_of(info_);
  weights_.decay_all();
  if (options.check) set_formula_weights(weights_);
  if (options.inference) {
    program_ = model::record_program(info_, heads, noise_.tensors(), {Mode::eval});
    if (options.fuse) program_ = model::fused(program_, device, FuseFor::inference);
    for (const model::Recorded& head : program_.heads) results_.push_back(head.results[0].second);
    if (options.check)
      for (const model::Head& head : heads) outputs_.push_back(program_.outputs.at(head.output));
    std::vector<Val> wanted = results_;
    wanted.insert(wanted.end(), outputs_.begin(), outputs_.end());
    inference_.emplace(context, device, program_.tape, wanted, &weights_);
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
    for (const Val result : results_) {
      host_.resize(inference_->view(result).bytes());
      inference_->read_bytes(result, std::as_writable_bytes(std::span(host_)));
    }
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

std::vector<double> StepWork::logits() {
  std::vector<double> some;
  for (const Val output : outputs_) {
    const Shape& shape = inference_->tape().shape(output);
    const std::vector<double> all = inference_->read(output);
    const auto channels = static_cast<size_t>(shape.channels());
    const size_t step = (is_by_pixel(options_) ? 4096 : 1) * channels;
    for (size_t i = 0; i < all.size(); i += step)
      some.insert(some.end(), all.begin() + i, all.begin() + i + channels);
  }
  return some;
}

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
