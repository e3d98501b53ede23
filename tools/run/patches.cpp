#include "tools/run/patches.h"

#include <algorithm>
#include <filesystem>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "model/pixel_regression.h"
#include "model/unet.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr int64_t least_batches = 50;  // of an epoch, where nobody says how many

std::vector<PixelClasses> classes_in(const TrainConfig& config,
                                     const std::vector<std::string>& layers) {
  return read_classes(config.classes.value_or(""), layers);
}

data::PatchOptions patch_options(const TrainConfig& config, const TrainRuntime& runtime, bool train,
                                 int threads) {
  data::PatchOptions options;
  options.batch = config.batch;
  options.threads = static_cast<int>(runtime.loader_threads.value_or(threads));
  options.seed = static_cast<uint64_t>(config.seed);
  if (train) {
    options.batches = config.epoch_batches.value_or(1);
    options.labelled = config.labelled;
    options.cutmix = config.cutmix;
    const data::Augment augment = config.augmentation();
    const bool varies = augment.flip_horizontal || augment.flip_vertical || augment.rotate > 0 ||
                        augment.zoom > 0 || augment.gain > 0 || augment.speckle > 0;
    if (varies) options.augment = augment;
  } else {
    options.halo = customary_halo(config.crop);
  }
  return options;
}

}  // namespace

void choose_patches(TrainConfig& config, const RunSamples& samples, const TrainRuntime& runtime,
                    Context& context, Observer& observer) {
  choose_classes(config, samples.train.dataset,
                 {&samples.validation.dataset, &samples.test.dataset}, runtime.max_pixels, context,
                 observer);
  if (config.epoch_batches) return;
  int64_t pixels = 0;
  for (const data::ImageHeader& header : samples.train.headers) pixels += header.pixels();
  const int64_t of_batch = config.crop * config.crop * config.batch;
  config.epoch_batches = std::max(least_batches, (pixels + of_batch - 1) / of_batch);
}

ModelInfo pixel_model(const TrainConfig& config, const std::vector<std::string>& layers,
                      DType type) {
  const std::vector<PixelClasses> classes = classes_in(config, layers);
  ModelInfo info;
  if (config.network == "deeplab") {
    model::DeeplabOptions options = config.deeplab;
    options.channels = *config.channels;
    options.outputs = pixel_outputs(classes, config);
    options.dropout = config.dropout;
    info.network = model::deeplab(options);
  } else if (config.network == "pixel") {
    info.network = model::pixel_regression(*config.channels, pixel_outputs(classes, config));
  } else {
    model::UnetOptions options;
    options.channels = *config.channels;
    options.outputs = pixel_outputs(classes, config);
    options.widths = config.widths;
    info.network = model::unet(options);
  }
  info.preprocess["input"] = config.preprocess(type);
  model::set_heads(info, pixel_heads(classes, config));
  return info;
}

std::unique_ptr<BatchSource> patches_of(const Samples& samples,
                                        const std::shared_ptr<const data::Pictures>& pictures,
                                        bool train, const TrainConfig& config,
                                        const TrainRuntime& runtime, Context& context) {
  // Labels take a byte a pixel; they stay in memory within --memory of their own.
  const auto memory = static_cast<uint64_t>(runtime.memory_gb * 1e9);
  const auto labels = std::make_shared<const data::LabelStore>(
      label_layers(samples.dataset, classes_in(config, samples.dataset.layers), config.ignore),
      samples.headers, image_limits(runtime.max_pixels), memory);
  return std::make_unique<data::PatchLoader>(
      pictures, labels, config.preprocess(samples.type()),
      patch_options(config, runtime, train, context.pool().threads()));
}

uint64_t patch_batch_bytes(const TrainConfig& config, const Samples& samples, bool train) {
  return static_cast<uint64_t>(data::PatchLoader::batch_bytes(config.preprocess(samples.type()),
                                                              patch_options(config, {}, train, 1),
                                                              samples.dataset.layers.size()));
}

Json evaluate_test_pixels(const model::RunFolder& folder, const Samples& test,
                          const std::shared_ptr<const data::Pictures>& pictures,
                          const TrainConfig& config, const TrainRuntime& runtime, Context& context,
                          Device& device, Observer& observer) {
  if (test.empty() || !std::filesystem::exists(folder.best())) return nullptr;
  const Checkpoint best = Checkpoint::read(folder.best());
  const std::unique_ptr<BatchSource> source =
      patches_of(test, pictures, false, config, runtime, context);
  const PixelEvaluation evaluation =
      evaluate_pixels(best, *source, context, device, "testing the best", observer);
  observer.on_note("test, on " + counted(test.count(), "picture", "pictures") +
                   " that nothing was trained or chosen on: " + one_line(evaluation));
  Json numbers = numbers_json(evaluation);
  write_file(folder.path() + "/pixels-test.json", numbers.dump(2) + "\n");
  return numbers;
}

}  // namespace fulmar::tools
