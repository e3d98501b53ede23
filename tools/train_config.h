#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/augment.h"
#include "engine/preprocess.h"
#include "model/polar_low.h"
#include "model/trainer.h"
#include "tools/output.h"

namespace fulmar::tools {

// Everything that decides what a training gives, as options of `fulmar train` and as config.json of
// a run folder. What only decides how fast (threads, cache, times of saving) is not in it.
struct TrainConfig {
  std::string dataset;  // folder
  // Pictures
  std::string size = "native";  // or pixels
  std::string resize = "nearest";
  int64_t crop = 0;  // 0: the size
  int64_t channels = 3;
  bool pad = false, standardize = false;
  std::string scenes = "prefix";
  // Samples
  std::string protocol;   // "paper" or none
  double validation = 0;  // share of the training set
  int64_t split_seed = 0;
  std::string sampling = "balanced";
  // Augmentation
  std::string augment = "none";  // or "published"; the parts below replace its own
  double translate = -1, rotate = -1, zoom = -1, gain = -1, speckle = -1;  // -1: not given
  std::string flip;                                                        // "", none, h, v, hv
  // Network
  std::vector<int64_t> widths = model::PolarLowOptions{}.widths;
  double dropout = 0.5;
  // Training
  int64_t epochs = 200, batch = 16, accumulate = 1;
  double learning_rate = 1e-3, weight_decay = 1e-4;
  std::string adamw = "torch";  // keras, tfa
  std::string schedule = "plateau";
  double warmup = 0.3;  // share of the steps
  int64_t plateau_patience = 10, stop_patience = 20;
  double label_smoothing = 0;
  int64_t seed = 0;

  // Fills in what follows from other options. Error(usage) for options that don't go together.
  void resolve();

  Json to_json() const;
  // Error(usage) naming an entry that is missing or of another type.
  static TrainConfig from_json(const Json& json);

  Preprocess preprocess(DType type) const;  // for pictures of this element type
  data::Augment augmentation() const;
  AdamW adamw_options() const;
  // `steps` of the whole run.
  model::Schedule schedule_options(int64_t steps, int64_t steps_per_epoch) const;
};

}  // namespace fulmar::tools
