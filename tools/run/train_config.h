#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/augment.h"
#include "data/band_files.h"
#include "data/image.h"
#include "engine/optimizer.h"
#include "engine/picture/preprocess.h"
#include "model/deeplab.h"
#include "model/polar_low.h"
#include "model/trainer.h"
#include "tools/run/json.h"

namespace fulmar::tools {

// Everything that decides what a training gives, as options of `fulmar train` and as config.json of
// a run folder. What only decides how fast (threads, cache, times of saving) is not in it.
// What is optional was either not given yet, or, once resolved, doesn't apply.
struct TrainConfig {
  std::string dataset;  // folder
  // Pictures
  std::string size = "native";  // or pixels
  std::string resize = "nearest";
  int64_t crop = 0;                          // 0: the size
  std::optional<int64_t> channels;           // bands that the network sees
  std::optional<std::string> bands;          // patterns of the files of a sample
  std::optional<std::vector<double>> range;  // source values that become 0 and 1
  bool pad = false, standardize = false;
  std::string scenes = "name";
  // Found in the training pictures: of float32 without a range, by band; and what stands for
  // missing.
  std::optional<std::vector<double>> band_mean, band_deviation;
  std::optional<double> nodata;
  // Labels by pixel; without them a picture's folder is its class
  std::optional<std::string> labels;          // files, as LabelFiles::parse takes them
  std::optional<std::string> pictures;        // pattern of the pictures that go with them
  std::optional<std::string> classes;         // JSON: of each task the classes' numbers and names
  std::optional<std::vector<double>> ignore;  // numbers of pixels without a label
  std::optional<int64_t> epoch_batches;       // of patches
  double labelled = 0.25;              // least share of a patch's pixels, where there are such
  std::string loss = "cross-entropy";  // of pixels: as losses_of() takes it
  int64_t focal_gamma = 2;
  std::optional<std::vector<double>> tversky;       // alpha, beta
  std::optional<std::string> units;                 // of tasks of numbers: "SIC=tenths"
  std::optional<std::string> class_weights;         // "balanced", or JSON: of each task a list
  std::optional<std::vector<double>> task_weights;  // of the tasks' losses
  // Samples
  std::optional<std::string> positive;  // class, of two
  std::string protocol;                 // "paper" or none
  std::optional<double> validation;     // share of the training set; with a part of its own none
  std::optional<std::string> validation_part;  // folder in the dataset's, such as "val"
  double test = 0;                             // share of the training set, in no part trained on
  int64_t split_seed = 0;
  std::string sampling = "balanced";
  // Augmentation
  // "published" or "none"; the parts below replace its own
  std::optional<std::string> augment;
  std::optional<double> translate, rotate, zoom, gain, speckle;
  std::optional<std::string> flip;  // none, h, v, hv
  double cutmix = 0;                // probability that a patch gets a part of another
  // Network
  std::optional<std::string> init;         // model file that gives the first weights
  std::optional<std::string> init_crc32c;  // of that file, eight hexadecimal digits
  std::optional<std::string> network;      // polar-low, resnet18, …, unet, deeplab, pixel
  std::vector<int64_t> widths = model::PolarLowOptions{}.widths;
  bool widths_given = false;      // no entry: else the network's own are taken
  model::DeeplabOptions deeplab;  // without channels, outputs and dropout
  double dropout = 0.5;
  bool zero_gamma = false;  // of residual networks: their blocks begin as the identity
  // Training
  int64_t epochs = 200, batch = 16, accumulate = 1;
  double learning_rate = 1e-3, weight_decay = 1e-4;
  std::optional<std::string> optimizer;   // adamw, adam, sgd
  std::optional<std::string> adamw;       // torch, keras, tfa
  std::optional<double> momentum;         // of sgd
  std::string schedule = "plateau";       // one-cycle, cosine, restarts
  std::optional<int64_t> restart_epochs;  // of restarts: the first period
  std::optional<int64_t> restart_factor;  // by which periods grow
  std::optional<double> warmup;           // share of the steps, of one-cycle
  std::optional<int64_t> plateau_patience;
  std::optional<int64_t> stop_patience;      // 0: no early stopping
  std::optional<std::string> bn_statistics;  // "estimated" or "running"
  double label_smoothing = 0;
  std::optional<std::string> precision;  // of the device
  std::string fuse = "on";               // or "off"
  int64_t seed = 0;

  // Makes the paths absolute. Error(file) for one that config.json can't hold.
  void resolve_paths();
  // Fills in all that was not given; what was given stays. Error(usage) for options that don't go
  // together.
  void resolve();
  // Fills in the patience that was not given: the published epochs, but no fewer than make
  // plateau_patience_steps and stop_patience_steps, unless the protocol is the published one.
  static constexpr int64_t plateau_patience_steps = 200, stop_patience_steps = 400;
  void resolve_patience(int64_t steps_per_epoch);

  Json to_json() const;
  // Error(usage) naming an entry that is missing or of another type.
  static TrainConfig from_json(const Json& json);

  bool by_pixel() const { return labels.has_value(); }
  Preprocess preprocess(DType type) const;  // for pictures of this element type
  data::BandFiles band_files() const;
  data::Augment augmentation() const;
  Optimizer optimizer_options() const;
  // `steps` of the whole run.
  model::Schedule schedule_options(int64_t steps, int64_t steps_per_epoch) const;
};

// The option of `fulmar train` that sets an entry of config.json: "--lr" of "learning_rate".
std::string option_of(const std::string& entry);

// Options that decide how a training runs, not its results.
struct TrainRuntime {
  std::optional<int64_t> loader_threads{};  // none: as many as the context has
  std::string cache_folder;
  double memory_gb = 4;  // for decoded pictures
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
  double checkpoint_minutes = 10;
  std::optional<size_t> device_cache{};  // bytes; none: what is left
  bool recompute = false;                // activations, instead of keeping them
  bool debug = false;                    // layer by layer
  bool resume = false;
  std::string command{};  // the command line, for the report
};

}  // namespace fulmar::tools
