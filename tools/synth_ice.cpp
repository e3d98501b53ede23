#include "tools/synth_ice.h"

#include <array>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "data/geotiff.h"
#include "data/ice_bands.h"
#include "data/ice_scene.h"
#include "data/netcdf.h"
#include "data/scenes/sea_ice.h"
#include "kernels/error.h"
#include "kernels/version.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/run/memory.h"
#include "tools/run/results.h"
#include "tools/signals.h"
#include "tools/synth_folder.h"

namespace fulmar::tools {
namespace {

namespace fs = std::filesystem;
using data::NetcdfArray;
using data::scenes::SeaIce;

constexpr int64_t chunk = 128;  // pixels of a side: a patch reads little beyond its own

template <class T>
NetcdfArray array_of(const std::string& name, const std::vector<std::string>& dimensions,
                     const std::vector<T>& values, DType type) {
  NetcdfArray array{name, dimensions, type, {}};
  array.data.resize(values.size() * sizeof(T));
  std::memcpy(array.data.data(), values.data(), array.data.size());
  return array;
}

std::array<std::pair<const char*, const std::vector<uint8_t>*>, 3> charts_of(const SeaIce& scene) {
  return {{{"SIC", &scene.sic}, {"SOD", &scene.sod}, {"FLOE", &scene.floe}}};
}

// All bands of the pixels in one file, those of cells repeated, and a label raster for each chart:
// path_SIC.tif and so on, 255 where there is no label.
void write_rasters(const SeaIce& scene, const std::string& path) {
  const data::Georeference where = data::georeference_of_grid(
      scene.latitudes, scene.longitudes, scene.points, scene.points, scene.size, scene.size);
  for (const auto& [name, values] : charts_of(scene)) {
    data::Image chart;
    static_cast<data::ImageHeader&>(chart) = {scene.size, scene.size, 1, DType::u8};
    chart.data = *values;
    data::write_geotiff(path + "_" + name + ".tif", chart, where, 255);
  }
  data::Image image;
  static_cast<data::ImageHeader&>(image) = {scene.size, scene.size,
                                            static_cast<int64_t>(scene.bands.size()), DType::f32};
  image.data.resize(static_cast<size_t>(image.bytes()));
  const std::vector<std::string>& bands = data::usual_ice_bands();
  uint8_t* to = image.data.data();
  for (int64_t row = 0; row < scene.size; row++)
    for (int64_t column = 0; column < scene.size; column++)
      for (size_t band = 0; band < bands.size(); band++, to += sizeof(float)) {
        const bool of_pixels = data::grid_of_ice_band(bands[band]) == data::IceGrid::pixels;
        const int64_t at = of_pixels ? row * scene.size + column
                                     : data::cell_of_pixel(row, scene.cells) * scene.cells +
                                           data::cell_of_pixel(column, scene.cells);
        std::memcpy(to, &scene.bands[band][static_cast<size_t>(at)], sizeof(float));
      }
  data::write_geotiff(path + ".tif", image, where);
}

// The challenge's names. A test's charts lie in a file of their own.
void write_scene(const SeaIce& scene, const std::string& path, bool test) {
  const std::vector<std::string> pixels{"sar_lines", "sar_samples"},
      cells{"2km_grid_lines", "2km_grid_samples"},
      points{"sar_line_2dgrid_points", "sar_sample_2dgrid_points"};
  const std::vector<std::pair<std::string, int64_t>> dimensions{
      {pixels[0], scene.size},   {pixels[1], scene.size}, {points[0], scene.points},
      {points[1], scene.points}, {cells[0], scene.cells}, {cells[1], scene.cells}};
  const std::map<std::string, std::string> attributes{
      {"scene_id", fs::path(path).filename().string()},
      {"original_id", "made by fulmar " + std::string(version()) + ", not measured"},
      {"ice_service", "dmi"},
      {"pixel_spacing", "80"}};
  const std::vector<int64_t> chunks{std::min(chunk, scene.size), std::min(chunk, scene.size)};
  std::vector<NetcdfArray> charts, arrays;
  for (const auto& [name, values] : charts_of(scene)) {
    charts.push_back(array_of(name, pixels, *values, DType::u8));
    charts.back().chunks = chunks;
    charts.back().numbers["chart_fill_value"] = 255;
  }
  const std::vector<std::string>& bands = data::usual_ice_bands();
  for (size_t band = 0; band < bands.size(); band++) {
    const bool of_pixels = data::grid_of_ice_band(bands[band]) == data::IceGrid::pixels;
    arrays.push_back(
        array_of(bands[band], of_pixels ? pixels : cells, scene.bands[band], DType::f32));
    if (!of_pixels) continue;
    arrays.back().chunks = chunks;
    arrays.back().numbers["variable_fill_value"] = 0;
  }
  arrays.push_back(array_of("sar_grid2d_latitude", points, scene.latitudes, DType::f64));
  arrays.push_back(array_of("sar_grid2d_longitude", points, scene.longitudes, DType::f64));
  if (test) {
    std::string reference = path;
    reference.insert(reference.size() - 3, "_reference");
    data::write_netcdf(reference, {dimensions[0], dimensions[1]}, attributes, charts);
  } else {
    arrays.insert(arrays.end(), charts.begin(), charts.end());
  }
  data::write_netcdf(path, dimensions, attributes, arrays);
}

}  // namespace

int synth_ice(const SynthIceOptions& options, const SharedOptions& shared) {
  if (options.size < data::scenes::least_sea_ice || options.size > data::scenes::most_sea_ice)
    usage_error("--size: a side of a sea-ice scene has " +
                std::to_string(data::scenes::least_sea_ice) + " to " +
                std::to_string(data::scenes::most_sea_ice) + " pixels");
  Json record{{"kind", "sea-ice"},    {"train", options.train}, {"test", options.test},
              {"size", options.size}, {"seed", shared.seed},    {"version", version()}};
  if (options.geotiff) record["format"] = "geotiff";
  CommandContext command(shared);
  prepare_folder(options.folder, record);
  for (const char* part : {"train", "test"}) {
    std::error_code error;
    fs::create_directories(options.folder + "/" + part, error);
    if (error) file_error(options.folder + "/" + part + ": can't be made: " + error.message());
  }
  const int64_t count = options.train + options.test;
  Progress progress(count, "scenes");
  std::mutex mutex;
  int64_t done = 0;
  // A scene and its file's contents.
  const double bytes = 80 * static_cast<double>(options.size * options.size);
  ThreadPool pool(threads_within(bytes, options.size, command.context().pool().threads()));
  pool.run(count, [&](int64_t i, int) {
    stop_if_interrupted();
    const bool test = i >= options.train;
    const SeaIce scene = data::scenes::make_sea_ice(scene_seed(shared.seed, i), options.size);
    // The same second of two scenes is told apart by the number in its place.
    std::string number = std::to_string(i);
    number.insert(0, 6 - std::min<size_t>(6, number.size()), '0');
    const std::string path = options.folder + (test ? "/test/" : "/train/") +
                             scene.start.substr(0, 9) + number + "_dmi_prep";
    const std::string last = path + (options.geotiff ? ".tif" : ".nc");
    if (fs::exists(last)) {
      // It was made before the last stop.
    } else if (options.geotiff) {
      write_rasters(scene, path);
    } else {
      write_scene(scene, last, test);
    }
    const std::scoped_lock lock(mutex);
    progress.update(++done);
  });
  if (shared.json)
    print_pretty(record);
  else
    print(std::to_string(count) + " scenes in " + options.folder + "\n");
  return exit_ok;
}

}  // namespace fulmar::tools
