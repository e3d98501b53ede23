#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/image.h"

namespace fulmar::data {

// What a pixel without a label has in place of a class.
constexpr uint8_t unlabelled = 255;
// Numbers of label rasters are whole, and no further from 0.
constexpr double most_number = 1e15;

// Whether a number in a label raster, of no class, means a pixel without a label: 255, a negative
// number, or one of `ignored`.
bool means_unlabelled(int64_t number, const std::vector<int64_t>& ignored);

// Which numbers of a label raster mean which class. A pixel without a label has the file's nodata
// value, NaN or infinity, or a number of no class that means_unlabelled().
struct LabelValues {
  std::vector<int64_t> of_class;  // the number of each class, no two alike; at most 255
  std::vector<int64_t> ignored{};
  std::string chart{};  // of a sea-ice scene in NetCDF, the variable that holds them

  static LabelValues counted(size_t classes);  // 0, 1, 2, …
  // Error(usage): too many classes, or two of one number.
  void check() const;
};

// The labels of a file, or of a part of it as read_image() takes it: u8, one band, the place of
// each pixel's class or `unlabelled`. PNG (a palette's places, not its colours) or TIFF.
// Error(file): a file that can't be read, of several bands, or a pixel that is no class's and no
// unlabelled one, naming number and place.
Image read_labels(const std::string& path, const LabelValues& values,
                  const ImageLimits& limits = {}, const PicturePart& part = {});

// All whole numbers that a label raster holds, and how often; pixels without a label (but those of
// 255 or negative ones) count as `nothing`. For `fulmar check`, and where nobody named classes.
struct LabelCounts {
  std::vector<std::pair<int64_t, int64_t>> pixels;  // number and count, by number
  int64_t nothing = 0;                              // NaN, infinity or nodata
};
LabelCounts count_labels(const std::string& path, const ImageLimits& limits = {},
                         const std::string& chart = "");

// The header of a file of labels: of its picture, or of a scene's chart.
ImageHeader probe_labels(const std::string& path, const ImageLimits& limits = {},
                         const std::string& chart = "");

}  // namespace fulmar::data
