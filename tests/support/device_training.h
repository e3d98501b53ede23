#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/emulated.h"
#include "model/polar_low.h"
#include "model/tasks/classification.h"
#include "model/train_step.h"
#include "tests/support/noise_source.h"

namespace fulmar::test {

// All that a training gives, to be compared to the bit.
struct Trained {
  std::vector<double> values;
  int64_t replays = 0, packed = 0, kept = 0;
};

// Some epochs of the polar-low network at its smallest, dropout included, on the CUDA kernels'
// emulator, each step of two micro-batches.
struct DeviceTraining {
  const Backend* backend = &simt_backend();
  simt::Timing timing = simt::Timing::early;
  bool feeder = false;
  size_t keep_bytes = 0;
  bool counted = true;  // whether the source says how many samples it has
  double rate = 0.01;   // of learning, at first
  std::function<void(const std::string&)> log{};

  Trained run(int64_t epochs) const {
    const simt::StreamOwner owner(timing);
    Device device(*backend, owner.stream());
    Context context({0, log});
    NoiseSource source(counted);
    const ModelInfo info =
        model::classifier_of(model::polar_low({NoiseSource::bands, 2, {4, 8}, 0.5}),
                             Preprocess::of_pictures(0, NoiseSource::crop, NoiseSource::bands),
                             model::Classification({"a", "b"}, 1));
    Model model = model::new_model(info, device, 5);
    model::TrainStepOptions options;
    options.accumulates = true;
    model::TrainStep step(context, device, info, model::heads_of(info), model, source.tensors(),
                          options);
    Feeder feed(device, source, keep_bytes);
    Trained all;
    const auto add = [&](const model::TrainStep::Result* result) {
      if (!result) return;
      all.values.push_back(result->loss);
      append(all.values, result->heads[0].watched[0]);
    };
    StepState state;
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
      feed.start(epoch, 0);
      for (int64_t number = 0; number < NoiseSource::batches; number++) {
        state.micro_batch = number % 2;
        state.learning_rate = rate / static_cast<double>(state.step);
        const Batch* batch = feeder ? feed.next() : source.next();
        const bool last = state.micro_batch == 1;
        add(feeder ? step.run(feed, *batch, state, last) : &step.run(*batch, state, last));
        state.draw++;
        if (last) state.step++;
      }
      add(step.finish());
    }
    for (const auto& p : model.parameters()) append(all.values, model.read(p.name));
    for (const auto& s : model.statistics()) append(all.values, model.read(s.name));
    append(all.values, model.read("/adamw/moment2"));
    all.replays = step.replays();
    all.packed = source.packed();
    all.kept = feed.kept(0);
    return all;
  }

 private:
  static void append(std::vector<double>& to, const std::vector<double>& from) {
    to.insert(to.end(), from.begin(), from.end());
  }
};

}  // namespace fulmar::test
