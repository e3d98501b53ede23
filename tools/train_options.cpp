#include "tools/train_options.h"

#include <string>

#include "model/resnet.h"
#include "tools/cli.h"
#include "tools/network_options.h"
#include "tools/picture_options.h"

namespace fulmar::tools {
namespace {

void add_size_options(CLI::App& app, TrainConfig& c) {
  app.add_option("--size", c.size, "Resize pictures to N x N pixels, or native (default native)")
      ->type_name("N|native");
  add_choice(app, "--resize", c.resize, {"nearest", "bilinear"},
             "How to resize: as Keras' load_img, or as its image_dataset_from_directory (default "
             "nearest)");
  add_integer(app, "--crop", c.crop, 1, 1 << 20,
              "Side of the centre crop that the network sees, pixels (default: the size)");
}

void add_band_options(CLI::App& app, TrainConfig& c) {
  add_integer(app, "--channels", c.channels, 1, WarpOptions::max_bands,
              "1: grey, 3: RGB; other pictures must have as many bands (default: 3 for grey and\n"
              "RGB of 8 or 16 bits, else as many as the pictures have)");
  add_bands(app, c.bands, "(default: a file is a sample)");
  add_numbers(
      app, "--range", c.range, 2,
      "Values of the pictures that become 0 and 1, in every band; LO stands for what is\n"
      "missing. Default: 0 and 255 of 8 bits, 0 and 65535 of 16 bits where 1 % of a band's\n"
      "values are above 32767; of other 16 bits and of float32 each band gets mean 0 and\n"
      "standard deviation 1 over what the training pictures measure",
      "LO,HI");
  app.add_flag("--pad", c.pad,
               "Surround what is smaller than the crop or, with --size N, not square, with black\n"
               "(where bands are measured: with what stands for missing)");
  app.add_flag("--standardize", c.standardize, "Mean 0 and standard deviation 1 for each picture");
}

std::vector<std::string> trainable_networks() {
  std::vector<std::string> names{"polar-low"};
  for (const std::string& name : model::resnet_names()) names.push_back(name);
  for (const char* name : {"unet", "deeplab", "pixel"}) names.emplace_back(name);
  return names;
}

void add_label_options(CLI::App& app, TrainConfig& c) {
  const char* group = "Labels by pixel";
  app.add_option(
         "--labels", c.labels,
         "Label rasters beside the pictures, as *_label.tif; of several tasks\n"
         "SIC=*_SIC.tif,SOD=*_SOD.tif; or folders: DIR/images and DIR/labels; or SIC,SOD,FLOE:\n"
         "charts of sea-ice scenes, *_prep.nc (these two are taken where they are there)")
      ->type_name("PATTERN")
      ->group(group);
  add_pictures(app, c.pictures)->group(group);
  app.add_option(
         "--classes", c.classes,
         "Names of the numbers 0, 1, …: A,B,...; or a JSON file or text: a list of names,\n"
         "{\"0\": \"sea\", \"2\": \"ice\"}, or {TASK: one of these} (default: the numbers that\n"
         "the training labels hold)")
      ->type_name("NAMES")
      ->group(group);
  add_ignore(app, c.ignore)->group(group);
  add_integer(app, "--epoch-batches", c.epoch_batches, 1, 1 << 20,
              "Batches of patches in an epoch (default: as show the training pictures once, no "
              "fewer than 50)")
      ->group(group);
  add_number(app, "--labelled", c.labelled, 0, 1,
             "Draw patches of which this share has labels, where there are such (default 0.25)")
      ->group(group);
  app.add_option("--loss", c.loss,
                 "Of pixels: cross-entropy, focal, dice, tversky; or mse, mae, where the network\n"
                 "gives a number and a pixel is called the class whose own number is nearest; of\n"
                 "several tasks also SIC=mse,SOD=focal (default cross-entropy)")
      ->type_name("LOSS|TASK=LOSS,...")
      ->group(group);
  add_integer(app, "--focal-gamma", c.focal_gamma, 1, 10, "Of the focal loss (default 2)")
      ->group(group);
  add_numbers(app, "--tversky", c.tversky, 2,
              "Of the Tversky loss: what false alarms and misses cost (default 0.5,0.5: Dice of "
              "each class)",
              "ALPHA,BETA")
      ->group(group);
  app.add_option("--units", c.units,
                 "Of tasks of numbers, mse and mae: their unit, for people, as SIC=tenths")
      ->type_name("TASK=UNIT,...")
      ->group(group);
  app.add_option("--class-weights", c.class_weights,
                 "balanced: by the training labels, pixels / (classes x pixels of the class); or\n"
                 "X,X,... in the order of the classes; of several tasks JSON {TASK: [X, ...]}\n"
                 "(default 1 each)")
      ->type_name("balanced|X,X,...")
      ->group(group);
  add_numbers(app, "--task-weights", c.task_weights, 0,
              "Of the tasks' losses, in the order of --labels (default 1 each)", "X,X,...")
      ->group(group);
  add_choice(
      app, "--network", c.network, trainable_networks(),
      "Of labels by pixel unet (the default), deeplab, or pixel: logistic regression of each\n"
      "pixel by itself, to compare with; else polar-low (the default) or a residual network")
      ->group(group);
  add_deeplab(app, c.deeplab, group);
}

void add_sample_options(CLI::App& app, TrainConfig& c) {
  app.add_option("--positive", c.positive,
                 "Of two classes, the one that F1 and the threshold are about (default: pos or "
                 "positive, else the second)")
      ->type_name("CLASS");
  add_number(app, "--validation", c.validation, 0, 0.9,
             "Share of the training pictures held out to validate on (default 0: none; where DIR "
             "has val/,\n"
             "valid/ or validation/, those pictures)");
  add_number(
      app, "--test", c.test, 0, 0.9,
      "Share of the training pictures held out of training and of every choice; at the end the\n"
      "best model is scored on it (default 0: none; 'fulmar split' makes a folder of it)");
  add_integer(app, "--split-seed", c.split_seed, 0, INT64_MAX, "What the splits are drawn by");
  add_scenes(app, c.scenes);
  add_choice(app, "--sampling", c.sampling, {"balanced", "epoch"},
             "Every class as often as the others, as published, or every picture once an epoch "
             "(default balanced)");
  add_choice(
      app, "--protocol", c.protocol, {"paper"},
      "paper: as the published training, --adamw tfa and --bn-statistics running unless given, "
      "and callbacks watch the training loss");
}

void add_augment_options(CLI::App& app, TrainConfig& c) {
  const char* group = "Augmentation";
  add_choice(app, "--augment", c.augment, {"none", "published"},
             "Start from the published ranges, translate 0.1, flip hv, rotate 0.4, zoom 0.15, or "
             "from none (default published; of labels by pixel flip hv alone)")
      ->group(group);
  add_number(app, "--translate", c.translate, 0, 1, "By up to this share of the side")
      ->group(group);
  add_choice(app, "--flip", c.flip, {"none", "h", "v", "hv"}, "Mirror, each with probability 1/2")
      ->group(group);
  add_number(app, "--cutmix", c.cutmix, 0, 1,
             "Of labels by pixel: probability that a patch gets a rectangle of another one, labels "
             "alike (default 0)")
      ->group(group);
  add_number(app, "--rotate", c.rotate, 0, 0.5, "By up to this many full turns")->group(group);
  add_number(app, "--zoom", c.zoom, 0, 0.9, "By up to this share")->group(group);
  add_number(app, "--gain", c.gain, 0, 10, "Brightness times (1 + G)^U(-1, 1)")->group(group);
  add_number(app, "--speckle", c.speckle, 0, 10, "Multiplicative noise of this standard deviation")
      ->group(group);
}

void add_network_options(CLI::App& app, TrainConfig& c) {
  add_path(
      app, "--init", c.init,
      "Model file whose weights to start from; of an imported one the network too, with its size, "
      "crop\nand channels",
      "MODEL");
  add_integers(app, "--widths", c.widths, 1, 1 << 16,
               "Filters of the blocks (default 8,16,32,64,128,256,512; of unet 16,32,64,64)")
      ->each([&c](const std::string&) { c.widths_given = true; });
  add_number(app, "--dropout", c.dropout, 0, 0.99,
             "Dropout before the last layer; unet and residual networks have none (default 0.5)");
  app.add_flag("--zero-gamma", c.zero_gamma,
               "Of residual networks: the last gamma of each block begins at 0");
}

void add_training_options(CLI::App& app, TrainConfig& c) {
  add_integer(app, "--epochs", c.epochs, 1, 1000000, "At most this many (default 200)");
  add_integer(app, "--batch", c.batch, 1, 65536, "Pictures at a time (default 16)");
  add_integer(app, "--accumulate", c.accumulate, 1, 65536,
              "Batches that make one step, for small memories (default 1)");
  add_number(app, "--lr", c.learning_rate, 0, 100, "Learning rate, the highest one (default 1e-3)");
  add_choice(
      app, "--optimizer", c.optimizer, {"adamw", "adam", "sgd"},
      "adam: adamw without decay; sgd: with momentum and decay as in PyTorch (default adamw)");
  add_number(app, "--momentum", c.momentum, 0, 0.9999, "Of sgd (default 0.9)");
  add_number(app, "--weight-decay", c.weight_decay, 0, 1,
             "Of adamw, and of sgd, whose gradient it is added to (default 1e-4)");
  add_choice(
      app, "--adamw", c.adamw, {"torch", "keras", "tfa"},
      "AdamW's formula as in PyTorch, Keras or tensorflow-addons (default torch). Biases and "
      "batch normalisation are decayed with tfa only");
  add_choice(app, "--schedule", c.schedule, {"plateau", "one-cycle", "cosine", "restarts"},
             "Of the learning rate; restarts: a cosine begun anew (default plateau)");
  add_integer(app, "--restart-epochs", c.restart_epochs, 1, 1000000,
              "Restarts: epochs of the first period (default 10)");
  add_integer(app, "--restart-factor", c.restart_factor, 1, 1000,
              "Restarts: each period is so many times as long as the one before (default 1)");
  add_number(app, "--warmup", c.warmup, 0, 1,
             "One-cycle: share of the steps in which the rate goes up (default 0.3)");
  add_integer(
      app, "--plateau-patience", c.plateau_patience, 1, 1000000,
      "Plateau: epochs without improvement before the rate is halved (default 10, or as many as "
      "make 200 steps)");
  add_integer(
      app, "--stop-patience", c.stop_patience, 0, 1000000,
      "Epochs without improvement before training stops; 0: never (default with plateau 20, or as "
      "many as make 400 steps; 0 with the others, whose rate falls to the last epoch)");
  add_choice(app, "--bn-statistics", c.bn_statistics, {"estimated", "running"},
             "What batch normalisation uses in validation and prediction: statistics measured "
             "after each epoch\nover its first 512 pictures, or running averages of the training "
             "steps, as published (default\nestimated; with --protocol paper running)");
  add_number(app, "--label-smoothing", c.label_smoothing, 0, 0.9, "(default 0)");
  add_precision(app, c.precision);
  add_choice(app, "--fuse", c.fuse, {"on", "off"},
             "Fused kernels, where the device has them: faster, in less memory, and other "
             "roundings (default on)");
}

}  // namespace

void add_config_options_but_size(CLI::App& app, TrainConfig& c) {
  add_band_options(app, c);
  add_label_options(app, c);
  add_sample_options(app, c);
  add_augment_options(app, c);
  add_network_options(app, c);
  add_training_options(app, c);
}

void add_config_options(CLI::App& app, TrainConfig& c) {
  add_size_options(app, c);
  add_config_options_but_size(app, c);
}

void add_runtime_options(CLI::App& app, TrainRuntime& r) {
  const char* group = running_options;
  add_number(app, "--checkpoint-minutes", r.checkpoint_minutes, 0, 1e6,
             "Between saves within an epoch; 0: only at its end (default 10)")
      ->group(group);
  add_integer(app, "--loader-threads", r.loader_threads, 1, 256,
              "Threads that decode pictures and prepare batches (default: as many as --threads)")
      ->group(group);
  add_path(app, "--cache", r.cache_folder, "Folder for a file of decoded pictures", "DIR")
      ->group(group);
  add_number(app, "--memory", r.memory_gb, 0, 1e5,
             "GB of decoded pictures to keep in memory, without --cache (default 4)")
      ->group(group);
  add_max_pixels(app, r.max_pixels)->group(group);
  app.add_flag("--recompute", r.recompute,
               "Activations are computed again instead of kept until their gradient: less memory, "
               "more time,\nthe same results")
      ->group(group);
  app.add_flag("--debug", r.debug,
               "Layer by layer, looking at each result: slow; names the layer that fails first")
      ->group(group);
  add_bytes(app, "--device-cache", r.device_cache,
            "Bytes of a GPU's memory that keep pictures, so that they are copied there once; auto: "
            "what\nthe training leaves free, off: none (default auto)")
      ->group(group);
}

}  // namespace fulmar::tools
