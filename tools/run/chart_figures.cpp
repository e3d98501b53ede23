#include "tools/run/chart_figures.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "data/encode_png.h"
#include "data/label_raster.h"
#include "data/thumbnail.h"
#include "tools/run/base64.h"
#include "tools/run/class_colours.h"

namespace fulmar::tools {
namespace {

constexpr size_t shown = 6;  // scenes

double mean_accuracy(const PixelEvaluation::Scene& scene) {
  double sum = 0, tasks = 0;
  for (const PixelEvaluation::Task& task : scene.tasks) {
    if (task.confusion.pixels() == 0) continue;
    sum += task.confusion.accuracy();
    tasks++;
  }
  return tasks > 0 ? sum / tasks : INFINITY;  // nothing to see there
}

// Grey where a label is met, orange where not, black without a label.
data::Image differences(const std::vector<uint8_t>& chart, const std::vector<uint8_t>& map,
                        int64_t width) {
  data::Image image;
  image.height = std::ssize(chart) / width, image.width = width, image.bands = 3;
  for (size_t i = 0; i < chart.size(); i++) {
    const Colour colour = chart[i] == data::unlabelled ? Colour{0, 0, 0}
                          : chart[i] == map[i]         ? Colour{210, 210, 210}
                                                       : Colour{213, 94, 0};
    image.data.insert(image.data.end(), colour.begin(), colour.end());
  }
  return image;
}

}  // namespace

ShownScene shown_scene(const data::Sample& sample, const data::Dataset& dataset,
                       const std::vector<PixelClasses>& classes, const LabelChoice& choice,
                       const data::ImageLimits& limits) {
  const std::vector<int64_t> ignored = ignored_numbers(choice.ignore);
  const data::ImageHeader header = data::probe_sample(sample.path, dataset.bands, limits);
  const data::PicturePart part = picked_part(header.height, header.width, shown_side);
  ShownScene scene;
  scene.scene_height = header.height, scene.scene_width = header.width;
  scene.picture = data::thumbnail(
      data::read_sample(sample.path, dataset.bands.shown(), limits, part), shown_side);
  for (const PixelClasses& task : classes) {
    const auto layer = std::find(dataset.layers.begin(), dataset.layers.end(), task.task);
    const std::string& file =
        sample.label_files[static_cast<size_t>(layer - dataset.layers.begin())];
    const data::Image chart =
        data::read_labels(file, {task.numbers, ignored, task.task}, limits, part);
    scene.width = chart.width;
    scene.charts.push_back(chart.data);
  }
  return scene;
}

Json chart_figures(SceneMapper& mapper, const data::Dataset& dataset, const LabelChoice& choice,
                   const PixelEvaluation& evaluation, const data::ImageLimits& limits) {
  std::vector<size_t> order;
  for (size_t i = 0; i < evaluation.scenes.size(); i++) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return mean_accuracy(evaluation.scenes[a]) < mean_accuracy(evaluation.scenes[b]);
  });
  order.resize(std::min(order.size(), shown));
  const std::vector<PixelClasses>& classes = mapper.classes();
  Json figures = Json::array();
  for (const size_t number : order) {
    const data::Sample& sample = dataset.samples[number];
    const SceneMap map = mapper.map(sample.path);
    const ShownScene scene = shown_scene(sample, dataset, classes, choice, limits);
    for (size_t task = 0; task < classes.size(); task++) {
      const data::Image called = picked(map.tasks[task], map.width, shown_side);
      const std::vector<uint8_t>& chart = scene.charts[task];
      const data::Image all =
          side_by_side({scene.picture, coloured(chart, called.width, classes[task]),
                        coloured(called.data, called.width, classes[task]),
                        differences(chart, called.data, called.width)});
      figures.push_back({{"picture", evaluation.scenes[number].name},
                         {"task", classes[task].task},
                         {"png", base64(data::encode_png(all))},
                         {"width", all.width},
                         {"height", all.height}});
    }
  }
  return figures;
}

Json class_colours_json(const std::vector<PixelClasses>& classes) {
  Json colours = Json::object();
  for (const PixelClasses& one : classes)
    for (size_t k = 0; k < one.names.size(); k++) {
      const Colour colour = class_colour(one, k);
      char text[8];
      std::snprintf(text, sizeof text, "#%02x%02x%02x", static_cast<unsigned>(colour[0]),
                    static_cast<unsigned>(colour[1]), static_cast<unsigned>(colour[2]));
      colours[one.task][one.names[k]] = text;
    }
  return colours;
}

}  // namespace fulmar::tools
