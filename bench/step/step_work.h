#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/step/noise.h"
#include "engine/context.h"
#include "engine/feeder.h"
#include "model/program.h"
#include "model/train_step.h"

namespace fulmar::bench {

struct StepOptions {
  NoiseSize noise;
  std::string network = "polar-low";  // or another of step_networks()
  std::vector<int64_t> widths;        // of the network in place of its own
  double learning_rate = 1e-3;
  bool inference = false;
  bool augment = false;
  bool fuse = true;
  bool recompute = false;
  bool check = false;  // weights by a formula and no dropout: any program gives these results
};

// The networks by name that it knows, and the pictures that each is known for.
const std::vector<std::string>& step_networks();
NoiseSize usual_size(const std::string& network);

// A network's training step, or one inference, from uint8 pictures of noise: warp, forward,
// backward, AdamW. Context and device must outlive it.
class StepWork {
 public:
  // Error(usage) where the crop is larger than the pictures, for an unknown network, and as
  // TrainStep.
  StepWork(Context& context, Device& device, const StepOptions& options);

  double run();  // does it once; gives the loss, in inference 0
  void wait();   // until the device has done all of it
  // Of the latest inference, with `check`: [batch, classes], output by output; of a network of
  // pixels those of every 4096th pixel.
  std::vector<double> logits();

  void save(const std::string& path);  // the weights as they are, as a model file

  Session& session() { return inference_ ? *inference_ : step_->session(); }
  // Bytes that the first run takes by the plan, beyond what lies in memory before it. On a device
  // with memory of its own: all that the device holds of it.
  size_t planned_bytes();

 private:
  StepOptions options_;
  Device& device_;
  Noise noise_;
  Feeder feeder_;
  ModelInfo info_;
  Model weights_;
  model::Program program_;
  std::vector<Val> results_, outputs_;  // of an inference; outputs only where they are checked
  std::vector<uint8_t> host_;           // a result as the host reads it
  std::optional<Session> inference_;
  std::optional<model::TrainStep> step_;
  int64_t done_ = 0;
};

// Seconds of each of so many runs, and the last one's loss.
struct Round {
  std::vector<double> seconds;
  double loss = 0;
};
Round run_round(StepWork& work, int64_t runs, const std::function<void()>& between = {});

double median_of(std::vector<double> values);

}  // namespace fulmar::bench
