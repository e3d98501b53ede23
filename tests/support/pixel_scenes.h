#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "tests/support/array.h"
#include "tests/support/program.h"
#include "tests/support/raster.h"
#include "tests/support/temp_folder.h"

// Made scenes with labels by pixel of two tasks, and a training on them.
namespace fulmar::test::pixels {

using Words = std::vector<std::string>;

constexpr int64_t height = 52, width = 45;

// Which kind of ice lies where: blobs that move from scene to scene. 0, 2 and 5 are classes.
inline int kind(int scene, int64_t row, int64_t column) {
  const double wave = std::sin(0.21 * static_cast<double>(row + 5 * scene)) +
                      std::cos(0.17 * static_cast<double>(column - 3 * scene));
  return wave < -0.5 ? 0 : wave < 0.6 ? 2 : 5;
}

inline bool labelled(int64_t row, int64_t column) { return (row + column) % 7 != 0; }

// dB of two polarisations that tell the kinds apart, with a wedge of NaN. Labels of two tasks:
// the kind, and whether there is ice at all, -1 where nothing is known.
inline void write_scenes(const TempFolder& folder, int scenes) {
  make_folders(folder.path("data"));
  for (int scene = 0; scene < scenes; scene++) {
    const std::string name = folder.path("data/s" + std::to_string(scene));
    write_raster(name + "_sar.tif", height, width, 2,
                 [&](int64_t row, int64_t column, int64_t band) {
                   if (column < row / 20) return std::nan("");
                   const int64_t at = ((scene * height + row) * width + column) * 2 + band;
                   return -20 + 3.0 * kind(scene, row, column) * (band == 0 ? 1 : 0.4) +
                          uniform_value(9, at, -1.5, 1.5);
                 });
    for (const bool any : {false, true})
      write_raster(name + (any ? "_any.tif" : "_kind.tif"), height, width, 1,
                   [&](int64_t row, int64_t column, int64_t) {
                     const int k = kind(scene, row, column);
                     return !labelled(row, column) ? -1.0 : any ? (k > 0 ? 1.0 : 0.0) : k;
                   });
  }
}

inline const std::string tasks = "kind=*_kind.tif,any=*_any.tif";
inline const std::string classes =
    R"({"kind":{"0":"water","2":"thin","5":"thick"},"any":["no","yes"]})";

inline Words train(const TempFolder& folder, const std::string& run, const Words& more) {
  Words words{"train",
              folder.path("data"),
              "--out",
              folder.path(run),
              "--labels",
              tasks,
              "--crop",
              "32",
              "--widths",
              "4,8",
              "--batch",
              "4",
              "--epochs",
              "6",
              "--lr",
              "1e-2",
              "--epoch-batches",
              "12",
              "--classes",
              classes};
  // An option given anew takes the place of the usual one.
  for (const std::string& word : more) {
    const auto usual =
        word.rfind("--", 0) == 0 ? std::find(words.begin(), words.end(), word) : words.end();
    if (usual != words.end()) words.erase(usual, usual + 2);
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

inline nlohmann::ordered_json json_of(const Ended& ended) {
  CHECK_MESSAGE(ended.code == 0, ended.err);
  return nlohmann::ordered_json::parse(ended.out, nullptr, false);
}

}  // namespace fulmar::test::pixels
