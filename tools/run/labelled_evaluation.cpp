#include "tools/run/labelled_evaluation.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "data/patch_loader.h"
#include "engine/io/utc_now.h"
#include "tools/run/chart_figures.h"
#include "tools/run/evaluation.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/results.h"
#include "tools/run/scene_map.h"

namespace fulmar::tools {
namespace {

// Patches of one picture, each pixel once.
std::unique_ptr<BatchSource> patches_of(const data::Dataset& dataset, size_t number,
                                        const Checkpoint& checkpoint,
                                        const LabelledOptions& options, ThreadPool& pool) {
  const Preprocess& preprocess = checkpoint.info().picture();
  data::Dataset one = dataset;
  one.samples = {dataset.samples[number]};
  data::PictureOptions reading;
  reading.bands = preprocess.bands;
  reading.band_files = dataset.bands;
  reading.limits = image_limits(options.max_pixels);
  reading.when_wanted = true;
  const std::shared_ptr<const data::Pictures> pictures =
      data::open_pictures({one.samples[0].path}, reading, pool);
  const auto labels = std::make_shared<const data::LabelStore>(
      label_layers(one, classes_of(model::heads_of(checkpoint)), options.choice.ignore),
      std::vector<data::ImageHeader>{pictures->header(0)}, reading.limits, reading.memory_bytes);
  data::PatchOptions patches;
  patches.batch =
      options.batch > 0 ? options.batch : std::min<int64_t>(8, customary_batch(preprocess));
  patches.threads = pool.threads();
  patches.halo = customary_halo(preprocess.crop);
  return std::make_unique<data::PatchLoader>(pictures, labels, preprocess, patches);
}

}  // namespace

PixelEvaluation evaluate_labelled(const Checkpoint& checkpoint, const data::Dataset& dataset,
                                  const LabelledOptions& options, Context& context, Device& device,
                                  Observer& observer) {
  std::vector<PixelEvaluation::Scene> scenes;
  for (const data::Sample& sample : dataset.samples) scenes.push_back({sample.path, sample.name});
  return evaluate_scenes(
      checkpoint, std::move(scenes),
      [&](size_t number) {
        return patches_of(dataset, number, checkpoint, options, context.pool());
      },
      context, device, observer);
}

Json pixel_report(const PixelEvaluation& evaluation, const std::string& model,
                  const data::Dataset& dataset, const LabelledOptions& options,
                  const std::string& command, Context& context, Device& device) {
  Json json = numbers_json(evaluation);
  SceneMapOptions how;
  how.max_pixels = options.max_pixels;
  SceneMapper mapper(std::make_shared<const model::LoadedModel>(model, device), context, device,
                     dataset.bands, how);
  json["folder"] = dataset.folder;
  json["model"] = model;
  json["model_crc32c"] = crc32c_of_file(model);
  json["time"] = utc_now();
  json["command"] = command;
  json["colours"] = class_colours_json(mapper.classes());
  json["figures"] =
      chart_figures(mapper, dataset, options.choice, evaluation, image_limits(options.max_pixels));
  return json;
}

std::string pixels_path(const std::string& run, const std::string& folder,
                        const std::string& model) {
  return run + "/pixels-" + evaluation_name(folder, model) + ".json";
}

}  // namespace fulmar::tools
