#include "tools/run/comparison_figures.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>

#include "data/encode_png.h"
#include "tools/run/chart_figures.h"
#include "tools/run/class_colours.h"
#include "tools/run/explain_pictures.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/scene_map.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr size_t shown = 3;  // pictures

std::vector<std::string> paths_of(const data::Dataset& dataset,
                                  const std::vector<size_t>& pictures) {
  std::vector<std::string> paths;
  for (const size_t i : pictures) paths.push_back(dataset.samples[i].path);
  return paths;
}

ExplainOptions explain_options(const ComparedModel& model, std::vector<std::string> paths,
                               const std::string& into) {
  ExplainOptions options;
  options.model = model.model;
  options.paths = std::move(paths);
  options.out = model.folder + "/" + into;
  return options;
}

// Of the test pictures, those of which the lines are right in shares that differ most; the first
// ones where they don't.
std::vector<size_t> most_different(const Comparison& comparison) {
  std::vector<double> deviations;
  for (size_t i = 0; i < comparison.tested.size(); i++) {
    std::vector<double> means;
    for (const Comparison::Line& line : comparison.lines) {
      double sum = 0;
      for (const ComparedRun& run : line.runs) sum += run.right[i];
      means.push_back(sum / static_cast<double>(line.runs.size()));
    }
    const double deviation = spread_of(means).deviation;
    deviations.push_back(std::isfinite(deviation) ? deviation : 0);
  }
  std::vector<size_t> order(deviations.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return deviations[a] > deviations[b]; });
  order.resize(std::min(order.size(), shown));
  return order;
}

std::string share_right(const ComparedRun& run, size_t picture, bool by_pixel) {
  if (!std::isfinite(run.right[picture])) return "";
  if (!by_pixel) return run.right[picture] > 0 ? "right" : "wrong";
  return fixed(100 * run.right[picture], 1) + " % of its pixels right";
}

ComparedFigure figure_of(const std::string& title, const std::string& note,
                         const data::Image& image) {
  return {title, note, data::encode_png(image), "", image.height, image.width};
}

// How often each class stands in the middle of a scene's chart, in what a crop shows.
void count_middle(const ShownScene& scene, const std::vector<uint8_t>& chart, int64_t crop,
                  std::vector<int64_t>& counts) {
  const int64_t height = std::ssize(chart) / scene.width;
  const auto within = [&](int64_t at, int64_t small, int64_t extent) {
    const double place = (static_cast<double>(at) + 0.5) / static_cast<double>(small) - 0.5;
    return 2 * std::abs(place) * static_cast<double>(extent) <= static_cast<double>(crop);
  };
  for (int64_t row = 0; row < height; row++)
    for (int64_t column = 0; column < scene.width; column++) {
      const uint8_t k = chart[static_cast<size_t>(row * scene.width + column)];
      if (k < counts.size() && within(row, height, scene.scene_height) &&
          within(column, scene.width, scene.scene_width))
        counts[k]++;
    }
}

class Figures {
 public:
  Figures(Comparison& comparison, const std::vector<ComparedModel>& models, int64_t max_pixels,
          Context& context, Observer& observer)
      : comparison_(comparison),
        models_(models),
        max_pixels_(max_pixels),
        context_(context),
        observer_(observer),
        pictures_(most_different(comparison)) {}

  void add(const std::vector<std::string>& explained) {
    if (!models_.front().by_pixel) return add_cams_of_pictures();
    add_maps();
    for (const std::string& target : explained.empty() ? usual_targets() : explained)
      add_cams_of_pixels(target);
  }

 private:
  const std::string& name_of(size_t line) const { return comparison_.lines[line].training.name; }

  // Each scene's charts, and the maps of all lines beside them.
  void add_maps() {
    const Advance advance =
        observer_.on_job("maps", std::ssize(models_) * std::ssize(pictures_), "maps");
    std::vector<std::vector<ComparedRow>> rows;  // by picture, then by task
    int64_t done = 0;
    for (size_t line = 0; line < models_.size(); line++) {
      const ComparedModel& model = models_[line];
      SceneMapOptions how;
      how.max_pixels = max_pixels_;
      SceneMapper mapper(std::make_shared<const model::LoadedModel>(model.model, *model.device),
                         context_, *model.device, model.tested.bands, how);
      const std::vector<PixelClasses>& classes = mapper.classes();
      for (size_t i = 0; i < pictures_.size(); i++) {
        stop_if_cancelled(context_);
        if (line == 0) {
          classes_ = classes;
          crop_ = mapper.preprocess().crop;
          scenes_.push_back(scene_of(model, pictures_[i]));
          rows.push_back(rows_of(i));
        }
        const SceneMap map = mapper.map(model.tested.samples[pictures_[i]].path);
        for (size_t task = 0; task < classes.size(); task++) {
          const auto row = std::find_if(classes_.begin(), classes_.end(), [&](const auto& one) {
            return one.task == classes[task].task;
          });
          if (row == classes_.end()) continue;
          const data::Image called = picked(map.tasks[task], map.width, shown_side);
          rows[i][static_cast<size_t>(row - classes_.begin())].figures.push_back(figure_of(
              name_of(line), share_right(comparison_.lines[line].runs.front(), pictures_[i], true),
              coloured(called.data, called.width, classes[task])));
        }
        advance(++done);
      }
    }
    for (std::vector<ComparedRow>& of_picture : rows)
      for (ComparedRow& row : of_picture) comparison_.maps.push_back(std::move(row));
  }

  ShownScene scene_of(const ComparedModel& model, size_t picture) const {
    return shown_scene(model.tested.samples[picture], model.tested, classes_, model.labels,
                       image_limits(max_pixels_));
  }

  // The scene and its charts, at which maps will stand.
  std::vector<ComparedRow> rows_of(size_t i) const {
    std::vector<ComparedRow> rows;
    for (size_t task = 0; task < classes_.size(); task++)
      rows.push_back(
          {comparison_.tested[pictures_[i]] + ", " + classes_[task].task,
           {figure_of("the picture", "", scenes_[i].picture),
            figure_of("its labels", "",
                      coloured(scenes_[i].charts[task], scenes_[i].width, classes_[task]))}});
    return rows;
  }

  std::vector<std::string> usual_targets() const {
    std::vector<std::string> targets;
    for (size_t task = 0; task < classes_.size(); task++) {
      const PixelClasses& one = classes_[task];
      std::vector<int64_t> counts(one.names.size(), 0);
      for (const ShownScene& scene : scenes_)
        count_middle(scene, scene.charts[task], crop_, counts);
      auto most = std::max_element(counts.begin() + 1, counts.end());
      if (*most == 0) most = counts.begin();
      targets.push_back((classes_.size() > 1 ? one.task + ":" : "") +
                        one.names[static_cast<size_t>(most - counts.begin())]);
    }
    return targets;
  }

  void add_cams_of_pixels(const std::string& target) {
    std::vector<ComparedRow> rows;
    for (const size_t picture : pictures_)
      rows.push_back({comparison_.tested[picture] + ", " + target, {}});
    for (size_t line = 0; line < models_.size(); line++) {
      ExplainOptions options = explain_options(
          models_[line], paths_of(models_[line].tested, pictures_), "cam-" + target);
      std::replace(options.out.begin() + std::ssize(models_[line].folder) + 1, options.out.end(),
                   '/', '-');
      options.target = target;
      options.region.what = "labelled";
      add_cams(line, options, pictures_, rows);
    }
    for (ComparedRow& row : rows) comparison_.cams.push_back(std::move(row));
  }

  // Each picture's own class is explained.
  void add_cams_of_pictures() {
    const data::Dataset& tested = models_.front().tested;
    std::vector<ComparedRow> rows;
    for (const size_t picture : pictures_)
      rows.push_back({comparison_.tested[picture] + ", " +
                          tested.classes[static_cast<size_t>(tested.samples[picture].label)],
                      {}});
    for (size_t line = 0; line < models_.size(); line++)
      for (size_t i = 0; i < pictures_.size(); i++) {
        ExplainOptions options =
            explain_options(models_[line], paths_of(models_[line].tested, {pictures_[i]}), "cam");
        options.target = tested.classes[static_cast<size_t>(tested.samples[pictures_[i]].label)];
        std::vector<ComparedRow> one{std::move(rows[i])};
        add_cams(line, options, {pictures_[i]}, one);
        rows[i] = std::move(one[0]);
      }
    comparison_.cams = std::move(rows);
  }

  void add_cams(size_t line, ExplainOptions options, const std::vector<size_t>& pictures,
                std::vector<ComparedRow>& rows) {
    options.methods = {"grad-cam"};
    options.max_pixels = max_pixels_;
    PictureExplainer explainer(context_, *models_[line].device, options);
    for (size_t i = 0; i < pictures.size(); i++) {
      stop_if_cancelled(context_);
      const std::string path = models_[line].tested.samples[pictures[i]].path;
      ExplainedPicture explained = explainer.explain(path);
      ComparedFigure figure{name_of(line), explained.error};
      if (explained.error.empty()) {
        const bool by_pixel = models_[line].by_pixel;
        figure.note =
            by_pixel ? counted(explained.pixels, "pixel", "pixels") + " labelled so"
                     : "probability " +
                           fixed(explained.probabilities[static_cast<size_t>(explained.target)], 4);
        figure.png = std::move(explained.png);
        figure.heat_png = std::move(explained.maps.front().heat_png);
        figure.height = explained.small_height, figure.width = explained.small_width;
      }
      rows[i].figures.push_back(std::move(figure));
    }
  }

  Comparison& comparison_;
  const std::vector<ComparedModel>& models_;
  int64_t max_pixels_;
  Context& context_;
  Observer& observer_;
  std::vector<size_t> pictures_;       // shown ones
  std::vector<PixelClasses> classes_;  // of the first line
  int64_t crop_ = 0;                   // likewise
  std::vector<ShownScene> scenes_;     // of the shown pictures
};

}  // namespace

std::vector<ComparedField> measure_fields(const ComparedModel& model,
                                          const std::vector<size_t>& pictures, Context& context,
                                          std::vector<ComparedFigure>* figures) {
  ExplainOptions options = explain_options(model, paths_of(model.tested, pictures), "field");
  options.methods.clear();
  options.region.what = "all";
  options.field = true;
  PictureExplainer explainer(context, *model.device, options);
  for (const std::string& path : explainer.paths()) {
    stop_if_cancelled(context);
    explainer.explain(path);
  }
  std::vector<ComparedField> fields;
  for (EffectiveField& field : explainer.fields()) {
    const std::string task = field.task.empty() ? explainer.task().output : field.task;
    if (field.pictures == 0) continue;
    fields.push_back({task, static_cast<double>(field.half), static_cast<double>(field.most),
                      field.effective, field.possible});
    figures->push_back({task, "90 % within " + with_separators(field.most) + " pixels",
                        std::move(field.png), "", field.side, field.side});
  }
  return fields;
}

void add_figures(Comparison& comparison, const std::vector<ComparedModel>& models,
                 const std::vector<std::string>& explained, int64_t max_pixels, Context& context,
                 Observer& observer) {
  Figures(comparison, models, max_pixels, context, observer).add(explained);
}

}  // namespace fulmar::tools
