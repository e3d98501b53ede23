#include "data/ice_scene.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numbers>
#include <utility>

#include "data/ice_bands.h"
#include "data/image_format.h"
#include "data/netcdf.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

constexpr const char* latitude = "sar_grid2d_latitude";
constexpr const char* longitude = "sar_grid2d_longitude";

struct Extents {
  int64_t height = 0, width = 0;
};

std::string to_text(const Extents& extents) {
  return std::to_string(extents.width) + " x " + std::to_string(extents.height);
}

// Of a variable that is there, on any grid.
Extents extents_of(const std::string& path, const NetcdfFile& file, const std::string& variable) {
  const auto found = file.variables.find(variable);
  if (found == file.variables.end())
    file_error(path + ": it has no variable '" + variable +
               "'; is it a ready-to-train scene? --bands says which variables are taken");
  const std::vector<int64_t>& shape = found->second;
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1)
    file_error(path + ": variable '" + variable + "' has " + std::to_string(shape.size()) +
               " dimensions, or is empty; rows and columns are expected");
  return {shape[0], shape[1]};
}

// Cells that hold too few or too many pixels lie elsewhere than the pixels say.
bool fit(int64_t pixels, int64_t cells) {
  const int64_t left = pixels - cells * pixels_of_cell;
  return left > -pixels_of_cell && left < 2 * pixels_of_cell;
}

// What a scene is, by its variables' shapes.
struct Scene {
  Extents pixels, cells, sparse;
};

Scene scene_of(const std::string& path, const NetcdfFile& file,
               const std::vector<std::string>& bands) {
  Scene scene;
  // Of a scene without SAR among its bands the picture is as large as the SAR all the same.
  scene.pixels = extents_of(path, file, "nersc_sar_primary");
  for (const std::string& band : bands) {
    const IceGrid grid = grid_of_ice_band(band);
    if (grid == IceGrid::pixels) {
      const Extents own = extents_of(path, file, band);
      if (own.height != scene.pixels.height || own.width != scene.pixels.width)
        file_error(path + ": variable '" + band + "' has " + to_text(own) +
                   " numbers, and the SAR picture " + to_text(scene.pixels));
    } else if (grid == IceGrid::cells) {
      const Extents own = extents_of(path, file, band);
      const bool first = scene.cells.height == 0;
      if (!fit(scene.pixels.height, own.height) || !fit(scene.pixels.width, own.width))
        file_error(path + ": variable '" + band + "' has " + to_text(own) +
                   " cells, which don't fit " + to_text(scene.pixels) +
                   " pixels of which 25 x 25 " + "make a cell");
      if (!first && (own.height != scene.cells.height || own.width != scene.cells.width))
        file_error(path + ": variable '" + band + "' has " + to_text(own) + " cells, and others " +
                   to_text(scene.cells));
      scene.cells = own;
    } else if (grid == IceGrid::location) {
      scene.sparse = extents_of(path, file, latitude);
      const Extents other = extents_of(path, file, longitude);
      if (other.height != scene.sparse.height || other.width != scene.sparse.width)
        file_error(path + ": it has " + to_text(scene.sparse) + " latitudes and " + to_text(other) +
                   " longitudes");
      if (other.height > scene.pixels.height || other.width > scene.pixels.width)
        file_error(path + ": it has " + to_text(other) + " latitudes, more than its " +
                   to_text(scene.pixels) + " pixels");
    }
  }
  return scene;
}

void check_pixels(const std::string& path, const ImageHeader& header, const ImageLimits& limits) {
  const int64_t times = (header.bands + 2) / 3;
  if (header.height > limits.max_pixels / header.width / times)
    file_error(path + ": " + std::to_string(header.width) + " x " + std::to_string(header.height) +
               " pixels of " + std::to_string(header.bands) + " bands are more than the limit of " +
               std::to_string(limits.max_pixels) + "; raise it (--max-pixels)");
}

// Whole rows and columns around a part.
struct Hull {
  int64_t top, left, height, width;
};
Hull hull(const std::string& path, const PicturePart& part, const Extents& extents) {
  if (part.whole()) return {0, 0, extents.height, extents.width};
  const auto check = [&](const std::vector<int64_t>& lines, int64_t extent) {
    if (lines.empty() || lines.front() < 0 || lines.back() >= extent ||
        !std::is_sorted(lines.begin(), lines.end()))
      usage_error(path + ": it has no such rows and columns");
  };
  check(part.rows, extents.height);
  check(part.columns, extents.width);
  return {part.rows.front(), part.columns.front(), part.rows.back() - part.rows.front() + 1,
          part.columns.back() - part.columns.front() + 1};
}

// The part itself of its hull.
Image cut_out(Image image, const PicturePart& part, const Hull& hull) {
  const auto all = [](const std::vector<int64_t>& lines, int64_t extent) {
    return std::ssize(lines) == extent &&
           std::adjacent_find(lines.begin(), lines.end()) == lines.end();
  };
  if (part.whole() || (all(part.rows, hull.height) && all(part.columns, hull.width))) return image;
  PicturePart within = part;
  for (int64_t& row : within.rows) row -= hull.top;
  for (int64_t& column : within.columns) column -= hull.left;
  return cut(std::move(image), within);
}

// Months since the start of the year, 0 to 11, by the file's name (20180607T184326_dmi_prep.nc), or
// the name of the product that it was made of.
int64_t month_of(const std::string& path, const NetcdfFile& file) {
  std::vector<std::string> texts{std::filesystem::path(path).filename().string()};
  for (const char* attribute : {"scene_id", "original_id"})
    if (const auto found = file.attributes.find(attribute); found != file.attributes.end())
      texts.push_back(found->second);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (const std::string& text : texts)
    for (size_t t = text.find('T'); t != std::string::npos; t = text.find('T', t + 1)) {
      if (t < 8 || t + 6 >= text.size()) continue;
      const std::string date = text.substr(t - 8, 8), time = text.substr(t + 1, 6);
      if (!std::all_of(date.begin(), date.end(), is_digit) ||
          !std::all_of(time.begin(), time.end(), is_digit))
        continue;
      const int64_t month = (date[4] - '0') * 10 + (date[5] - '0');
      if (month >= 1 && month <= 12) return month - 1;
    }
  file_error(path +
             ": neither its name nor its attributes tell when it was taken; name it as "
             "20180607T184326_dmi_prep.nc, or leave month out of --bands");
}

// A plane of the sparse grid between whose points is interpolated, over the pixels of a scene.
class SparsePlane {
 public:
  SparsePlane(std::vector<double> values, const Extents& points, const Extents& pixels)
      : values_(std::move(values)), points_(points), pixels_(pixels) {}

  double at(int64_t row, int64_t column) const {
    const auto [y, fy] = place(row, pixels_.height, points_.height);
    const auto [x, fx] = place(column, pixels_.width, points_.width);
    const int64_t below = std::min(y + 1, points_.height - 1);
    const int64_t right = std::min(x + 1, points_.width - 1);
    const double upper = value(y, x) + fx * (value(y, right) - value(y, x));
    const double lower = value(below, x) + fx * (value(below, right) - value(below, x));
    return upper + fy * (lower - upper);
  }

 private:
  static std::pair<int64_t, double> place(int64_t pixel, int64_t pixels, int64_t points) {
    if (pixels == 1 || points == 1) return {0, 0};
    const double at = static_cast<double>(pixel) * static_cast<double>(points - 1) /
                      static_cast<double>(pixels - 1);
    const auto first = static_cast<int64_t>(at);
    return {first, at - static_cast<double>(first)};
  }
  double value(int64_t y, int64_t x) const {
    return values_[static_cast<size_t>(y * points_.width + x)];
  }

  std::vector<double> values_;
  Extents points_, pixels_;
};

// Sines and cosines are interpolated, so that the 180th meridian is not in the way. Latitudes count
// double: all of them are told apart.
std::vector<double> plane_of(const std::string& band, const std::vector<double>& latitudes,
                             const std::vector<double>& longitudes) {
  const bool of_longitude = band.find("longitude") != std::string::npos;
  const bool sine = band.rfind("sin", 0) == 0;
  std::vector<double> values;
  for (const double degrees : of_longitude ? longitudes : latitudes) {
    const double angle = std::numbers::pi * degrees / (of_longitude ? 180 : 90);
    values.push_back(sine ? std::sin(angle) : std::cos(angle));
  }
  return values;
}

class SceneReader {
 public:
  SceneReader(const std::string& path, const std::vector<std::string>& bands, const Hull& hull,
              const NetcdfFile& file, const Scene& scene)
      : path_(path), bands_(bands), hull_(hull), file_(file), scene_(scene) {}

  Image read() {
    Image image;
    static_cast<ImageHeader&>(image) = {hull_.height, hull_.width, std::ssize(bands_), DType::f32};
    image.data.resize(static_cast<size_t>(image.bytes()));
    ask();
    auto* to = reinterpret_cast<float*>(image.data.data());
    size_t at = 0;  // in what was read
    for (size_t band = 0; band < bands_.size(); band++) {
      const IceGrid grid = grid_of_ice_band(bands_[band]);
      const auto* values = reinterpret_cast<const float*>(data_.data() + at);
      if (grid == IceGrid::pixels) {
        put(to + band,
            [&](int64_t row, int64_t column) { return values[row * hull_.width + column]; });
        at += static_cast<size_t>(hull_.height * hull_.width) * sizeof(float);
      } else if (grid == IceGrid::cells) {
        put_cells(to + band, values);
        at += static_cast<size_t>(cells_.height * cells_.width) * sizeof(float);
      } else if (grid == IceGrid::location) {
        const SparsePlane plane(plane_of(bands_[band], latitudes_, longitudes_), scene_.sparse,
                                scene_.pixels);
        put(to + band, [&](int64_t row, int64_t column) {
          return static_cast<float>(plane.at(hull_.top + row, hull_.left + column));
        });
      } else {
        const auto month = static_cast<double>(month_of(path_, file_));
        put(to + band, [&](int64_t, int64_t) { return static_cast<float>(2 * month / 11 - 1); });
      }
    }
    return image;
  }

 private:
  // One request for all variables.
  void ask() {
    const int64_t top = cell_of_pixel(hull_.top, scene_.cells.height),
                  left = cell_of_pixel(hull_.left, scene_.cells.width);
    cells_ = {top, left, cell_of_pixel(hull_.top + hull_.height - 1, scene_.cells.height) - top + 1,
              cell_of_pixel(hull_.left + hull_.width - 1, scene_.cells.width) - left + 1};
    std::vector<NetcdfPart> parts;
    bool located = false;
    for (const std::string& band : bands_) {
      const IceGrid grid = grid_of_ice_band(band);
      if (grid == IceGrid::pixels)
        parts.push_back({band, {hull_.top, hull_.left}, {hull_.height, hull_.width}});
      if (grid == IceGrid::cells)
        parts.push_back({band, {cells_.top, cells_.left}, {cells_.height, cells_.width}});
      located |= grid == IceGrid::location;
    }
    data_ = read_netcdf(path_, parts);
    if (!located) return;
    const auto points = static_cast<size_t>(scene_.sparse.height * scene_.sparse.width);
    for (const char* name : {latitude, longitude}) {
      const std::vector<uint8_t> bytes = read_netcdf(
          path_, {{name, {0, 0}, {scene_.sparse.height, scene_.sparse.width}, DType::f64}});
      std::vector<double>& to = name == latitude ? latitudes_ : longitudes_;
      to.resize(points);
      std::memcpy(to.data(), bytes.data(), bytes.size());
    }
  }

  template <class Value>
  void put(float* to, const Value& value) const {
    const auto step = std::ssize(bands_);
    for (int64_t row = 0; row < hull_.height; row++)
      for (int64_t column = 0; column < hull_.width; column++)
        to[(row * hull_.width + column) * step] = value(row, column);
  }

  void put_cells(float* to, const float* values) const {
    std::vector<int64_t> cell(static_cast<size_t>(hull_.width));
    for (int64_t column = 0; column < hull_.width; column++)
      cell[static_cast<size_t>(column)] =
          cell_of_pixel(hull_.left + column, scene_.cells.width) - cells_.left;
    put(to, [&](int64_t row, int64_t column) {
      const int64_t line = cell_of_pixel(hull_.top + row, scene_.cells.height) - cells_.top;
      return values[line * cells_.width + cell[static_cast<size_t>(column)]];
    });
  }

  const std::string& path_;
  const std::vector<std::string>& bands_;
  Hull hull_, cells_{};
  const NetcdfFile& file_;
  const Scene& scene_;
  std::vector<uint8_t> data_;
  std::vector<double> latitudes_, longitudes_;
};

ImageHeader header_of(const Scene& scene, size_t bands) {
  return {scene.pixels.height, scene.pixels.width, static_cast<int64_t>(bands), DType::f32};
}

}  // namespace

bool is_netcdf(const std::string& path) { return extension_of(path) == ".nc"; }

ImageHeader probe_ice_scene(const std::string& path, const std::vector<std::string>& bands,
                            const ImageLimits& limits) {
  ImageHeader header = header_of(scene_of(path, describe_netcdf(path), bands), bands.size());
  check_pixels(path, header, limits);
  return header;
}

Image read_ice_scene(const std::string& path, const std::vector<std::string>& bands,
                     const ImageLimits& limits, const PicturePart& part) {
  const NetcdfFile file = describe_netcdf(path);
  const Scene scene = scene_of(path, file, bands);
  check_pixels(path, header_of(scene, bands.size()), limits);
  const Hull around = hull(path, part, scene.pixels);
  require_memory(static_cast<uint64_t>(around.height * around.width) * bands.size() * 2 * 4,
                 limits.memory_bytes, path);
  return cut_out(SceneReader(path, bands, around, file, scene).read(), part, around);
}

ImageHeader probe_ice_chart(const std::string& path, const std::string& chart,
                            const ImageLimits& limits) {
  const Extents extents = extents_of(path, describe_netcdf(path), chart);
  ImageHeader header{extents.height, extents.width, 1, DType::u8};
  check_pixels(path, header, limits);
  return header;
}

Image read_ice_chart(const std::string& path, const std::string& chart, const ImageLimits& limits,
                     const PicturePart& part) {
  const ImageHeader header = probe_ice_chart(path, chart, limits);
  const Hull around = hull(path, part, {header.height, header.width});
  Image image;
  static_cast<ImageHeader&>(image) = {around.height, around.width, 1, DType::u8};
  image.data = read_netcdf(
      path, {{chart, {around.top, around.left}, {around.height, around.width}, DType::u8}});
  return cut_out(std::move(image), part, around);
}

bool has_ice_chart(const std::string& path, const std::string& chart) {
  return describe_netcdf(path).has(chart);
}

Georeference ice_georeference(const std::string& path) {
  const NetcdfFile file = describe_netcdf(path);
  if (!file.has(latitude) || !file.has(longitude)) return {};
  const std::vector<std::string> located{"sin_latitude"};
  const Scene scene = scene_of(path, file, located);
  const Extents& sparse = scene.sparse;
  const std::vector<int64_t> all{sparse.height, sparse.width};
  const std::vector<uint8_t> bytes = read_netcdf(
      path, {{latitude, {0, 0}, all, DType::f64}, {longitude, {0, 0}, all, DType::f64}});
  const size_t points = static_cast<size_t>(sparse.height * sparse.width);
  std::vector<double> values(2 * points);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  const std::span<const double> both(values);
  return georeference_of_grid(both.first(points), both.last(points), sparse.height, sparse.width,
                              scene.pixels.height, scene.pixels.width);
}

Georeference georeference_of_grid(std::span<const double> latitudes,
                                  std::span<const double> longitudes, int64_t rows, int64_t columns,
                                  int64_t height, int64_t width) {
  Georeference georeference = make_georeference(EarthModel::geographic, 4326, 0, 0, 1, 1);
  georeference.transform.reset();
  const auto place = [](int64_t point, int64_t points, int64_t pixels) {
    if (points == 1) return 0.5;
    return 0.5 + static_cast<double>(point) * static_cast<double>(pixels - 1) /
                     static_cast<double>(points - 1);
  };
  for (int64_t row = 0; row < rows; row++)
    for (int64_t column = 0; column < columns; column++) {
      const auto at = static_cast<size_t>(row * columns + column);
      georeference.points.push_back({place(column, columns, width), place(row, rows, height),
                                     longitudes[at], latitudes[at], 0});
    }
  return georeference;
}

}  // namespace fulmar::data
