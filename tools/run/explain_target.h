#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"
#include "engine/picture/geometry.h"
#include "model/loaded_model.h"
#include "tools/run/label_choice.h"
#include "tools/run/pixel_classes.h"

namespace fulmar::tools {

// The task whose decision is explained, and the class of it.
struct ExplainedTask {
  std::string name;                      // of several; else ""
  std::string output;                    // of the network
  std::vector<std::string> classes;      // names
  std::optional<PixelClasses> pixels{};  // none: a picture has one class
  std::optional<int64_t> target{};       // a class; none: the one that the model finds

  bool by_pixel() const { return pixels.has_value(); }
  // Of the output: what a class' pixels are added up of.
  int64_t channel_of(int64_t k) const { return pixels && pixels->of_numbers ? 0 : k; }
};
// `target`: CLASS, by name or number; of several tasks TASK:CLASS, or TASK alone; empty: the first
// task is meant. Error(usage) that lists what there is; of a model that neither
// gives pictures nor their pixels a class.
ExplainedTask explained_task(const model::LoadedModel& model, const std::string& target);

// The pixels of what the network sees, [crop,crop], of which a class' logits are added up.
struct Region {
  std::string what;         // "predicted", "labelled", "all" or the mask's file
  std::vector<float> mask;  // 1 inside
  int64_t target = 0;       // class
  int64_t pixels = 0;       // inside
  // Of the pixels of the picture that were measured, each class' share of those called so.
  std::vector<double> shares{};
};

// Which pixels of a picture are meant.
struct RegionChoice {
  std::string what = "predicted";  // or labelled, all, a mask's file, or a folder of masks
  LabelChoice labels{};
};

// Finds the region of each picture.
class RegionFinder {
 public:
  // Error(usage): a picture is resized before the network sees it. `info` must outlive it.
  RegionFinder(RegionChoice choice, ExplainedTask task, const ModelInfo& info,
               Preprocess preprocess, data::BandFiles bands, const data::ImageLimits& limits);

  // `logits`: of the task, [crop,crop,classes]. Error(file): nothing of the picture is in it, or
  // its mask or labels don't fit.
  Region of(const std::string& path, const data::Image& image, const std::vector<float>& logits);

 private:
  std::string label_file_of(const std::string& path);
  // 1 where a pixel of the picture is of the class by its labels, or within its mask; on the
  // picture's own grid.
  std::vector<uint8_t> labelled(const std::string& path, const data::Image& image, int64_t target);
  std::vector<uint8_t> masked(const std::string& path, const data::Image& image, Region& region);

  RegionChoice choice_;
  ExplainedTask task_;
  const ModelInfo* info_;
  Preprocess preprocess_;
  data::BandFiles bands_;
  data::ImageLimits limits_;
  std::map<std::string, data::Dataset> folders_;  // of labels, by folder
};

}  // namespace fulmar::tools
