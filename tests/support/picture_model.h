#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "model/polar_low.h"
#include "model/program.h"
#include "model/tasks/classification.h"
#include "tests/support/bitmap.h"
#include "tests/support/temp_folder.h"

namespace fulmar::test {

// A small model with random weights for RGB pictures of 16 pixels a side or more.
inline void save_model(const std::string& path, std::vector<std::string> classes,
                       const Preprocess& preprocess = Preprocess::of_pictures(0, 16, 3)) {
  Context context;
  const auto count = static_cast<int64_t>(classes.size());
  ModelInfo info =
      model::classifier_of(model::polar_low({3, count, {4, 8}, 0.5}), preprocess,
                           model::Classification(std::move(classes), count == 2 ? 1 : -1, 0.25));
  info.summary = R"({"epoch": 7, "metrics": {"val_fp": 3, "val_loss": 0.03125}})";
  Model weights = model::new_model(info, context.device("reference"), 7);
  save_checkpoint(path, info, weights);
}

// Two logits that are multiples of the crop's mean: input times gradient is the picture, times one
// number a band.
inline void save_linear_model(const std::string& path, const Preprocess& preprocess) {
  Network n;
  n.add("input", "input", {}, {{"channels", preprocess.bands}});
  n.add("global_average_pooling2d", "mean", {"input"});
  n.add("dense", "logits", {"mean"}, {{"units", int64_t{2}}});
  const ModelInfo info =
      model::classifier_of(n, preprocess, model::Classification({"neg", "pos"}, 1, 0.5));
  Context context;
  Model weights = model::new_model(info, context.device("reference"), 7);
  save_checkpoint(path, info, weights);
}

// A square picture of noise that depends on `seed`.
inline void save_picture(const std::string& path, int side, uint32_t seed) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  write_bitmap(path, side, side, [&](int row, int column) {
    const uint32_t x = seed * 2654435761u ^ static_cast<uint32_t>(row * 77 + column * 1313);
    return ((x ^ x >> 15) * 2246822519u) >> 8;
  });
}

}  // namespace fulmar::test
