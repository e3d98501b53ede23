#include "data/label_raster.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "data/ice_scene.h"
#include "data/image_file.h"
#include "data/image_format.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

// The numbers as they are stored, of one band.
Image read_stored(const std::string& path, const ImageLimits& limits, const PicturePart& part,
                  const std::string& chart) {
  if (is_netcdf(path)) return read_ice_chart(path, chart, limits, part);
  const ImageHeader header = probe_image(path, limits);  // checks the limits
  for (const std::vector<int64_t>* lines : {&part.rows, &part.columns}) {
    const int64_t extent = lines == &part.rows ? header.height : header.width;
    if (!lines->empty() && (lines->front() < 0 || lines->back() >= extent))
      usage_error(path + ": it has no such rows and columns");
  }
  const ImageFile file(path, limits.memory_bytes);
  const Bytes start = file.start(16);
  const bool png = png_format.matches(start), tiff = tiff_format.matches(start);
  if (!png && !tiff)
    file_error(path + ": labels are read from PNG and TIFF, which keep every number; convert it");
  Image image = png ? stored_png(file, part, limits.memory_bytes)
                    : stored_tiff(file, part, limits.memory_bytes);
  if (image.bands != 1)
    file_error(path + ": it has " + std::to_string(image.bands) +
               " bands, and a label raster has one: the class of each pixel");
  return image;
}

// Where a pixel of a part lies in its file.
std::string place_of(int64_t pixel, const Image& image, const PicturePart& part) {
  const auto row = static_cast<size_t>(pixel / image.width);
  const auto column = static_cast<size_t>(pixel % image.width);
  const auto in_file = [](const std::vector<int64_t>& lines, size_t at) {
    return std::to_string(lines.empty() ? static_cast<int64_t>(at) : lines[at]);
  };
  return "row " + in_file(part.rows, row) + ", column " + in_file(part.columns, column);
}

// Calls each(number or nothing, pixel) for every pixel. Error(file): one that isn't whole.
template <class Each>
void each_number(const Image& image, const std::string& path, const PicturePart& part,
                 const Each& each) {
  const auto visit = [&](const auto* values) {
    for (int64_t i = 0; i < image.pixels(); i++) {
      const auto value = static_cast<double>(values[i]);
      if (!std::isfinite(value) || value == image.nodata) {
        each(std::optional<int64_t>(), i);
        continue;
      }
      if (std::floor(value) != value || std::abs(value) > most_number)
        file_error(path + ": the number " + std::to_string(value) + " at " +
                   place_of(i, image, part) + " is no whole number, as labels are");
      each(std::optional<int64_t>(static_cast<int64_t>(value)), i);
    }
  };
  switch (image.type) {
    case DType::u8:
      return visit(image.data.data());
    case DType::u16:
      return visit(reinterpret_cast<const uint16_t*>(image.data.data()));
    default:
      return visit(reinterpret_cast<const float*>(image.data.data()));
  }
}

}  // namespace

bool means_unlabelled(int64_t number, const std::vector<int64_t>& ignored) {
  return number < 0 || number == unlabelled ||
         std::count(ignored.begin(), ignored.end(), number) > 0;
}

LabelValues LabelValues::counted(size_t classes) {
  LabelValues values;
  for (size_t i = 0; i < classes; i++) values.of_class.push_back(static_cast<int64_t>(i));
  return values;
}

void LabelValues::check() const {
  if (of_class.empty() || of_class.size() > unlabelled)
    usage_error(std::to_string(of_class.size()) + " classes of pixels; 1 to 255 are possible");
  for (const int64_t value : of_class)
    if (std::count(of_class.begin(), of_class.end(), value) > 1)
      usage_error("two classes of pixels have the number " + std::to_string(value));
}

Image read_labels(const std::string& path, const LabelValues& values, const ImageLimits& limits,
                  const PicturePart& part) {
  Image stored = read_stored(path, limits, part, values.chart);
  std::map<int64_t, uint8_t> place;
  for (size_t k = 0; k < values.of_class.size(); k++)
    place[values.of_class[k]] = static_cast<uint8_t>(k);
  Image image;
  static_cast<ImageHeader&>(image) = {stored.height, stored.width, 1, DType::u8};
  image.data.resize(static_cast<size_t>(image.pixels()));
  std::optional<int64_t> latest;  // neighbours are alike
  uint8_t latest_place = unlabelled;
  each_number(stored, path, part, [&](std::optional<int64_t> number, int64_t pixel) {
    if (number != latest) {
      const auto found = number ? place.find(*number) : place.end();
      if (number && found == place.end() && !means_unlabelled(*number, values.ignored))
        file_error(path + ": the number " + std::to_string(*number) + " at " +
                   place_of(pixel, stored, part) +
                   " is no class's; name its class, or leave it out with --ignore " +
                   std::to_string(*number));
      latest = number;
      latest_place = found == place.end() ? unlabelled : found->second;
    }
    image.data[static_cast<size_t>(pixel)] = latest_place;
  });
  return image;
}

ImageHeader probe_labels(const std::string& path, const ImageLimits& limits,
                         const std::string& chart) {
  return is_netcdf(path) ? probe_ice_chart(path, chart, limits) : probe_image(path, limits);
}

LabelCounts count_labels(const std::string& path, const ImageLimits& limits,
                         const std::string& chart) {
  LabelCounts counts;
  std::map<int64_t, int64_t> of_number;
  each_number(read_stored(path, limits, {}, chart), path, {},
              [&](std::optional<int64_t> number, int64_t) {
                if (number)
                  of_number[*number]++;
                else
                  counts.nothing++;
              });
  counts.pixels.assign(of_number.begin(), of_number.end());
  return counts;
}

}  // namespace fulmar::data
