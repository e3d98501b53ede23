#include "tools/run/explain_target.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "data/label_raster.h"
#include "data/raster_folder.h"
#include "kernels/error.h"
#include "model/tasks/classification.h"
#include "tools/run/mask_truth.h"
#include "tools/run/measured.h"

namespace fulmar::tools {

namespace fs = std::filesystem;

namespace {

std::vector<ExplainedTask> tasks_of(const model::LoadedModel& model) {
  std::vector<ExplainedTask> tasks;
  if (is_by_pixel(model.heads())) {
    const std::vector<PixelClasses> all = classes_of(model.heads());
    for (const PixelClasses& one : all)
      tasks.push_back({all.size() > 1 ? one.task : "", one.task, one.names, one});
  } else {
    const model::Classification task = model::classification_of(model.info());
    tasks.push_back({"", model.info().network.output(), task.classes});
  }
  return tasks;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

int64_t class_of(const ExplainedTask& task, const std::string& name, const std::string& asked) {
  const auto found = std::find(task.classes.begin(), task.classes.end(), name);
  if (found != task.classes.end()) return found - task.classes.begin();
  size_t read = 0;
  int64_t number = -1;
  try {
    number = std::stoll(name, &read);
  } catch (const std::logic_error&) {
    read = 0;
  }
  if (read == name.size() && number >= 0 && number < std::ssize(task.classes)) return number;
  usage_error("--target " + asked + ": the " +
              (task.name.empty() ? "model's classes" : "classes of " + task.name) + " are " +
              listed(task.classes) + ", or numbers from 0");
}

// The first of the most frequent.
int64_t most_of(const std::vector<int64_t>& counts) {
  return std::max_element(counts.begin(), counts.end()) - counts.begin();
}

}  // namespace

ExplainedTask explained_task(const model::LoadedModel& model, const std::string& target) {
  std::vector<ExplainedTask> tasks = tasks_of(model);
  if (target.empty()) return tasks[0];
  if (tasks.size() == 1) {
    tasks[0].target = class_of(tasks[0], target, target);
    return tasks[0];
  }
  std::vector<std::string> names;
  for (ExplainedTask& task : tasks) {
    names.push_back(task.name);
    if (target == task.name) return task;
    const std::string start = task.name + ":";
    if (target.rfind(start, 0) != 0) continue;
    task.target = class_of(task, target.substr(start.size()), target);
    return task;
  }
  usage_error("--target " + target + ": say of which task, as " + names[0] + ":" +
              tasks[0].classes[0] + "; the model's tasks are " + listed(names));
}

RegionFinder::RegionFinder(RegionChoice choice, ExplainedTask task, const ModelInfo& info,
                           Preprocess preprocess, data::BandFiles bands,
                           const data::ImageLimits& limits)
    : choice_(std::move(choice)),
      task_(std::move(task)),
      info_(&info),
      preprocess_(std::move(preprocess)),
      bands_(std::move(bands)),
      limits_(limits) {
  if (preprocess_.size != 0)
    usage_error(
        "pictures are resized before the network gives their pixels a class, which can't "
        "be explained");
}

Region RegionFinder::of(const std::string& path, const data::Image& image,
                        const std::vector<float>& logits) {
  const int64_t crop = preprocess_.crop;
  const Geometry geometry(preprocess_, image.height, image.width);
  const Affine to_picture = compose(geometry.frame_to_picture, geometry.crop_to_frame);
  const int64_t top = std::llround(to_picture.a[5]), left = std::llround(to_picture.a[2]);
  const WarpOptions read = preprocess_.warp_options();

  Region region;
  region.what = choice_.what;
  std::vector<int64_t> called(static_cast<size_t>(crop * crop), -1);
  std::vector<int64_t> counts(task_.classes.size(), 0);
  // Each pixel of the crop that shows one of the picture, and its place there.
  const auto each_pixel = [&](const auto& what) {
    for (int64_t y = 0; y < crop; y++)
      for (int64_t x = 0; x < crop; x++)
        if (y + top >= 0 && y + top < image.height && x + left >= 0 && x + left < image.width)
          what(static_cast<size_t>(y * crop + x), (y + top) * image.width + x + left);
  };
  const std::vector<uint8_t> seen = measured_pixels(path, image, {}, read, limits_);
  each_pixel([&](size_t at, int64_t pixel) {
    if (seen[static_cast<size_t>(pixel)] == 0) return;
    called[at] = task_.pixels->called(&logits[at * static_cast<size_t>(task_.pixels->channels())]);
    counts[static_cast<size_t>(called[at])]++;
  });
  int64_t measured = 0;
  for (const int64_t count : counts) measured += count;
  if (measured == 0) file_error(path + ": no pixel that the network sees of it was measured");
  for (const int64_t count : counts)
    region.shares.push_back(static_cast<double>(count) / static_cast<double>(measured));
  region.target = task_.target.value_or(most_of(counts));

  const bool predicted = choice_.what == "predicted", all = choice_.what == "all";
  std::vector<uint8_t> inside;
  if (choice_.what == "labelled")
    inside = labelled(path, image, region.target);
  else if (!predicted && !all)
    inside = masked(path, image, region);
  region.mask.assign(called.size(), 0.0F);
  each_pixel([&](size_t at, int64_t pixel) {
    const bool in = predicted ? called[at] == region.target
                    : all     ? called[at] >= 0
                              : inside[static_cast<size_t>(pixel)] != 0;
    if (!in) return;
    region.mask[at] = 1;
    region.pixels++;
  });
  if (region.pixels == 0) {
    const std::string& name = task_.classes[static_cast<size_t>(region.target)];
    file_error(path + ": of what the network sees of it, no pixel is " +
               (predicted                    ? "called '" + name + "'"
                : choice_.what == "labelled" ? "labelled '" + name + "'"
                                             : "in " + region.what));
  }
  return region;
}

std::string RegionFinder::label_file_of(const std::string& path) {
  const fs::path parent = fs::absolute(path).lexically_normal().parent_path();
  std::string folder = parent.string();
  if (data::has_label_folders(parent.parent_path().string()) && parent.filename() == "images")
    folder = parent.parent_path().string();
  if (!folders_.count(folder)) {
    LabelChoice choice = choice_.labels;
    take_from_training(choice, *info_, folder);
    folders_[folder] = data::scan_labelled(folder, data::LabelFiles::parse(*choice.labels),
                                           *choice.pictures, data::SceneRule::name, bands_);
  }
  const data::Dataset& dataset = folders_.at(folder);
  const auto layer = std::find(dataset.layers.begin(), dataset.layers.end(), task_.output);
  if (layer == dataset.layers.end())
    file_error(path + ": there are no labels of the task '" + task_.output + "' beside it");
  for (const data::Sample& sample : dataset.samples) {
    std::error_code error;
    if (fs::equivalent(sample.path, path, error))
      return sample.label_files[static_cast<size_t>(layer - dataset.layers.begin())];
  }
  file_error(path + ": there are no labels beside it");
}

std::vector<uint8_t> RegionFinder::labelled(const std::string& path, const data::Image& image,
                                            int64_t target) {
  const std::string file = label_file_of(path);
  LabelChoice choice = choice_.labels;
  take_from_training(choice, *info_, fs::path(path).parent_path().string());
  data::Image labels = data::read_labels(
      file, {task_.pixels->numbers, ignored_numbers(choice.ignore), task_.output}, limits_);
  if (labels.height != image.height || labels.width != image.width)
    file_error(file + ": labels of " + std::to_string(labels.width) + " x " +
               std::to_string(labels.height) + " pixels; their picture has " +
               std::to_string(image.width) + " x " + std::to_string(image.height));
  std::vector<uint8_t> inside(labels.data.size());
  for (size_t i = 0; i < inside.size(); i++) inside[i] = labels.data[i] == target;
  return inside;
}

std::vector<uint8_t> RegionFinder::masked(const std::string& path, const data::Image& image,
                                          Region& region) {
  std::error_code error;
  if (fs::is_directory(choice_.what, error)) {
    region.what = find_mask(path, choice_.what);
    if (region.what.empty())
      file_error(path + ": there is no mask of it in " + choice_.what +
                 ", a PNG of the picture's name");
  }
  const SeenArea whole{0, 0, static_cast<double>(image.width), static_cast<double>(image.height)};
  return MaskTruth(region.what, image, whole).inside;
}

}  // namespace fulmar::tools
