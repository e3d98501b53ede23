#include "tools/eval_pixels.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "data/patch_loader.h"
#include "data/raster_folder.h"
#include "kernels/error.h"
#include "tools/console.h"
#include "tools/console_observer.h"
#include "tools/output.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/pixel_evaluation.h"
#include "tools/run/results.h"
#include "tools/run/text.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

using Align = Table::Align;

std::string text_of(double value) { return std::isfinite(value) ? fixed(value, 4) : "-"; }

// Where labels are and which numbers count for nothing, as the training had it.
void take_from_training(EvalPixelsOptions& options, const Checkpoint& checkpoint) {
  const Json summary = Json::parse(checkpoint.info().summary, nullptr, false);
  const Json config = summary.is_object() ? summary.value("config", Json::object()) : Json();
  const auto text = [&](const char* entry) {
    return config.is_object() && config.contains(entry) && config.at(entry).is_string()
               ? config.at(entry).get<std::string>()
               : std::string();
  };
  if (!options.labels)
    options.labels = data::has_label_folders(options.folder) ? "folders" : text("labels");
  if (options.labels->empty())
    usage_error("which files are labels? --labels \"*_label.tif\", or DIR/images and DIR/labels");
  if (!options.pictures) options.pictures = text("pictures");
  if (!options.ignore && config.is_object() && config.contains("ignore") &&
      config.at("ignore").is_array())
    options.ignore = config.at("ignore").get<std::vector<double>>();
}

std::string class_table(const PixelEvaluation::Task& task) {
  const model::Confusion& c = task.confusion;
  Table table({{"class", Align::left},
               {"precision", Align::right},
               {"recall", Align::right},
               {"f1", Align::right},
               {"IoU", Align::right},
               {"pixels", Align::right}});
  for (size_t k = 0; k < task.classes.size(); k++)
    table.add({task.classes[k], text_of(c.precision(k)), text_of(c.recall(k)), text_of(c.f1(k)),
               text_of(c.iou(k)), with_separators(c.labelled(k))});
  table.add_rule();
  table.add({"macro average", "", "", text_of(c.macro_f1()), text_of(c.mean_iou()),
             with_separators(c.pixels())});
  table.add({"weighted average", "", "", text_of(c.weighted_f1()), "", ""});
  return table.to_string();
}

std::string confusion_table(const PixelEvaluation::Task& task) {
  std::vector<Table::Column> columns{{"true \\ called", Align::left}};
  for (const std::string& name : task.classes) columns.push_back({name, Align::right});
  Table table(columns);
  for (size_t k = 0; k < task.classes.size(); k++) {
    std::vector<std::string> cells{task.classes[k]};
    for (size_t called = 0; called < task.classes.size(); called++)
      cells.push_back(with_separators(task.confusion.at(k, called)));
    table.add(cells);
  }
  return table.to_string();
}

void print_tables(const PixelEvaluation& evaluation, const data::Dataset& dataset) {
  print(counted(std::ssize(dataset.samples), "picture", "pictures") + " of " + dataset.folder +
        "\n");
  for (const PixelEvaluation::Task& task : evaluation.tasks)
    print("\n" + task.name + ": accuracy " + text_of(task.confusion.accuracy()) +
          "; taken as numbers, R2 " + text_of(task.confusion.r2()) + ", RMSE " +
          text_of(task.confusion.rmse()) + "\n\n" + class_table(task) + "\n" +
          confusion_table(task));
}

}  // namespace

int eval_pixels(const Checkpoint& checkpoint, const EvalPixelsOptions& given,
                const SharedOptions& shared) {
  EvalPixelsOptions options = given;
  take_from_training(options, checkpoint);
  const Preprocess& preprocess = checkpoint.info().picture();
  const data::Dataset dataset = data::scan_labelled(
      options.folder, data::LabelFiles::parse(*options.labels), *options.pictures,
      data::SceneRule::name, band_files_of(options.bands, preprocess));
  CommandContext command(shared);
  std::vector<std::string> paths;
  for (const data::Sample& sample : dataset.samples) paths.push_back(sample.path);
  data::PictureOptions reading;
  reading.bands = preprocess.bands;
  reading.band_files = dataset.bands;
  reading.limits = image_limits(options.max_pixels);
  reading.when_wanted = true;
  ThreadPool& pool = command.context().pool();
  const std::shared_ptr<const data::Pictures> pictures = data::open_pictures(paths, reading, pool);
  std::vector<data::ImageHeader> headers;
  for (int64_t i = 0; i < pictures->count(); i++) headers.push_back(pictures->header(i));
  const auto labels = std::make_shared<const data::LabelStore>(
      label_layers(dataset, classes_of(model::heads_of(checkpoint)), options.ignore), headers,
      reading.limits, reading.memory_bytes);
  data::PatchOptions patches;
  patches.batch =
      options.batch > 0 ? options.batch : std::min<int64_t>(8, customary_batch(preprocess));
  patches.threads = pool.threads();
  patches.halo = customary_halo(preprocess.crop);
  data::PatchLoader loader(pictures, labels, preprocess, patches);
  ConsoleObserver observer;
  const PixelEvaluation evaluation =
      evaluate_pixels(checkpoint, loader, command.context(), command.device(), "", observer);
  if (shared.json)
    print_pretty(numbers_json(evaluation));
  else
    print_tables(evaluation, dataset);
  return exit_ok;
}

}  // namespace fulmar::tools
