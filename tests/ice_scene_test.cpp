#include "data/ice_scene.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "data/band_files.h"
#include "data/geotiff.h"
#include "data/ice_bands.h"
#include "data/label_store.h"
#include "data/netcdf.h"
#include "data/raster_folder.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/ice_scene.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::data;
using fulmar::test::error_of;
using fulmar::test::has;
using fulmar::test::IceFile;
using fulmar::test::TempFolder;

namespace {

// Tells variable, row and column apart.
double number(const std::string& name, int64_t row, int64_t column) {
  if (name == "sar_grid2d_latitude") return 70 + static_cast<double>(row);
  // Across the 180th meridian.
  if (name == "sar_grid2d_longitude") return column == 0 ? 179 : -180 + static_cast<double>(column);
  if (name == "SIC" || name == "SOD" || name == "FLOE")
    return row < 10 ? 255 : static_cast<double>((row + column) % 6);
  double base = 0;
  const std::vector<std::string>& bands = usual_ice_bands();
  for (size_t i = 0; i < bands.size(); i++)
    if (bands[i] == name) base = 10000.0 * static_cast<double>(i);
  return base + static_cast<double>(100 * row + column);
}

IceFile usual() {
  IceFile file;
  file.number = number;
  return file;
}

const float* floats(const Image& image) {
  return reinterpret_cast<const float*>(image.data.data());
}

std::string refused(const std::string& path, const std::vector<std::string>& words = {"amsr2"}) {
  return error_of(ErrorKind::file, [&] { read_sample(path, BandFiles(words)); });
}

}  // namespace

TEST_CASE("words name the bands of a scene") {
  CHECK(ice_bands({"18.7", "hh"}) ==
        std::vector<std::string>{"btemp_18_7h", "btemp_18_7v", "nersc_sar_primary"});
  CHECK(usual_ice_bands().size() == 24);
  CHECK(usual_ice_bands()[3] == "distance_map");
  CHECK(usual_ice_bands()[23] == "tclw");
  CHECK(ice_bands({"location", "month", "t2m"}).size() == 6);
  CHECK(has(error_of(ErrorKind::usage, [] { ice_bands({"sar", "hh"}); }), "stands there twice"));
  CHECK(has(error_of(ErrorKind::usage, [] { BandFiles::parse("sar,19.7"); }), "'19.7' is no band"));
  const BandFiles bands = BandFiles::parse("hv,89");
  CHECK(bands.empty());  // a file is a sample
  CHECK(bands.to_string() == "nersc_sar_secondary,btemp_89_0h,btemp_89_0v");
  CHECK(BandFiles(bands.words()).words() == bands.words());
  CHECK(
      has(error_of(ErrorKind::file, [&] { probe_sample("a.tif", bands); }), "no scene in NetCDF"));
}

TEST_CASE("a pixel's cell lies over it, where the public starter's is up to 23 pixels away") {
  CHECK(cell_of_pixel(24, 3) == 0);
  CHECK(cell_of_pixel(25, 3) == 1);
  CHECK(cell_of_pixel(74, 3) == 2);
  CHECK(cell_of_pixel(79, 3) == 2);  // what is left over
  // The starter cuts a patch of 256 pixels out of the cells from row / 25 on, and stretches 11 of
  // them over it.
  const auto distance = [](int64_t pixel, int64_t cell) {
    return std::max<int64_t>({0, 25 * cell - pixel, pixel - (25 * cell + 24)});
  };
  int64_t of_starter = 0, ours = 0;
  for (int64_t start = 0; start < 25; start++)
    for (int64_t p = 0; p < 256; p++) {
      of_starter = std::max(of_starter, distance(start + p, start / 25 + p * 11 / 256));
      ours = std::max(ours, distance(start + p, cell_of_pixel(start + p, 100)));
    }
  CHECK(of_starter == 23);
  CHECK(ours == 0);
}

TEST_CASE("a scene is a picture of its bands, and a part of it is what lies there") {
  if (!test::reads_netcdf()) return;
  const TempFolder folder;
  const std::string path = folder.path("20180607T184326_dmi_prep.nc");
  usual().write(path);
  const std::vector<std::string> words{"hv", "t2m", "location", "month"};
  const ImageHeader header = probe_sample(path, BandFiles(words));
  CHECK(header.height == 60);
  CHECK(header.width == 80);
  CHECK(header.bands == 7);
  const Image whole = read_sample(path, BandFiles(words));
  const auto at = [&](const Image& image, int64_t row, int64_t column, int64_t band) {
    return floats(image)[(row * image.width + column) * image.bands + band];
  };
  const double pi = 3.14159265358979323846;
  for (int64_t row = 0; row < 60; row++)
    for (int64_t column = 0; column < 80; column++) {
      CHECK_EQ(at(whole, row, column, 0), 10000 + 100 * row + column);
      const int64_t cell = 100 * std::min<int64_t>(row / 25, 1) + std::min<int64_t>(column / 25, 2);
      CHECK_EQ(at(whole, row, column, 1), 200000 + cell);
      // Half-way between the rows of points is half-way between their sines.
      CHECK(at(whole, row, column, 6) == doctest::Approx(2 * 5.0 / 11 - 1));
    }
  CHECK(at(whole, 0, 0, 2) == doctest::Approx(std::sin(179 * pi / 180)));
  CHECK(at(whole, 59, 79, 3) == doctest::Approx(std::cos(-178 * pi / 180)));
  CHECK(at(whole, 59, 0, 4) == doctest::Approx(std::sin(72 * pi / 90)));
  CHECK(at(whole, 0, 0, 5) == doctest::Approx(std::cos(70 * pi / 90)));
  // Longitudes turn at the meridian and don't run back through 0.
  for (int64_t column = 0; column < 80; column++) CHECK(at(whole, 0, column, 3) < -0.99);
  const Image part = read_sample(path, BandFiles(words), {}, window(22, 47, 30, 33));
  const Image same = cut(whole, window(22, 47, 30, 33));
  CHECK(part.height == 30);
  CHECK(part.data == same.data);
  const PicturePart lines{{3, 3, 27, 59}, {0, 26, 79}};
  CHECK(read_sample(path, BandFiles(words), {}, lines).data == cut(whole, lines).data);
  CHECK(read_sample(path, {}).bands == 24);
  // Cells alone are as large as the picture that they belong to.
  CHECK(read_sample(path, BandFiles({"89"})).width == 80);
  const Georeference place = read_georeference(path);
  REQUIRE(place.points.size() == 9);
  CHECK(place.epsg == 4326);
  CHECK(place.points[8].column == 79.5);
  CHECK(place.points[8].x == -178);
  CHECK(place.points[8].y == 72);
}

TEST_CASE("threads read the same file at once, and one that was exchanged anew") {
  if (!test::reads_netcdf()) return;
  const TempFolder folder;
  const std::string path = folder.path("20180607T184326_dmi_prep.nc");
  usual().write(path);
  const Image expected = read_sample(path, BandFiles({"sar", "amsr2"}));
  std::vector<std::thread> threads;
  std::vector<Image> read(4);
  for (Image& image : read)
    threads.emplace_back([&] {
      for (int i = 0; i < 3; i++) image = read_sample(path, BandFiles({"sar", "amsr2"}));
    });
  for (std::thread& thread : threads) thread.join();
  for (const Image& image : read) CHECK(image.data == expected.data);
  IceFile other = usual();
  other.number = [](const std::string& name, int64_t row, int64_t column) {
    return number(name, row, column) + 1;
  };
  other.write(path);
  CHECK(floats(read_sample(path, BandFiles({"hh"})))[0] == 1);
}

TEST_CASE("charts are labels, in the scene's file or in one beside it") {
  if (!test::reads_netcdf()) return;
  const TempFolder folder;
  usual().write(folder.path("20180607T184326_dmi_prep.nc"));
  IceFile of_test = usual();
  of_test.charts = false;
  of_test.write(folder.path("20190607T184326_cis_prep.nc"));
  IceFile reference = usual();
  reference.pictures = false;
  reference.write(folder.path("20190607T184326_cis_prep_reference.nc"));
  of_test.write(folder.path("20200607T184326_cis_prep.nc"));
  CHECK(usual_label_files(folder.path()) == "SIC,SOD,FLOE");
  const Folder found = survey_rasters(folder.path(), LabelFiles::parse("SIC,FLOE"));
  CHECK(found.faults.empty());
  REQUIRE(found.train.samples.size() == 2);
  CHECK(found.train.layers == std::vector<std::string>{"SIC", "FLOE"});
  CHECK(found.train.samples[0].scene == "20180607T184326");
  CHECK(has(found.train.samples[1].label_files[1], "prep_reference.nc"));
  REQUIRE(found.notes.size() == 1);
  CHECK(has(found.notes[0], "20200607T184326"));
  LabelValues values = LabelValues::counted(12);
  values.chart = "SIC";
  const Image labels =
      read_labels(found.train.samples[1].label_files[0], values, {}, window(9, 4, 2, 3));
  CHECK(labels.data == std::vector<uint8_t>{255, 255, 255, 2, 3, 4});
  values = LabelValues::counted(5);
  values.chart = "SIC";
  const std::string beyond =
      error_of(ErrorKind::file, [&] { read_labels(found.train.samples[0].path, values); });
  CHECK(has(beyond, "20180607T184326_dmi_prep.nc: the number 5 at row 10, column 1"));
}

TEST_CASE("scenes that can't be are named, with what is wrong") {
  if (!test::reads_netcdf()) return;
  const TempFolder folder;
  const std::string path = folder.path("20180607T184326_dmi_prep.nc");
  CHECK(has(refused(path), path + ": no such file"));
  IceFile file = usual();
  file.left_out = {"btemp_89_0v"};
  file.write(path);
  CHECK(has(refused(path), path + ": it has no variable 'btemp_89_0v'"));
  CHECK(read_sample(path, BandFiles({"36.5"})).bands == 2);
  file = usual();
  file.cell_rows = 4;
  file.write(path);
  CHECK(has(refused(path), "has 3 x 4 cells, which don't fit 80 x 60 pixels"));
  file = usual();
  file.chart_height = 59;
  file.write(path);
  LabelLayer layer{"SOD", LabelValues::counted(7), {path}};
  layer.values.chart = "SOD";
  const LabelStore store({layer}, {{60, 80, 3, DType::f32}}, {}, 1 << 20);
  CHECK(has(error_of(ErrorKind::file, [&] { store.read(0); }),
            "it has 80 x 59 pixels, and its picture 80 x 60"));
  const std::string other = folder.path("scene_dmi_prep.nc");
  usual().write(other);
  CHECK(has(refused(other, {"month"}), "tell when it was taken"));
  const ImageLimits few{60 * 80 - 1};
  CHECK(has(error_of(ErrorKind::file, [&] { probe_sample(other, BandFiles({"hh"}), few); }),
            "--max-pixels"));
  write_file(path, "CDF, but no more");
  CHECK(has(refused(path), path + ": it is no NetCDF file, or a damaged one"));
  write_file(path, "");
  CHECK(has(refused(path), path));
}

TEST_CASE("damaged files of NetCDF are refused or read, and never end the program") {
  if (!test::reads_netcdf()) return;
  const TempFolder folder;
  const std::string path = folder.path("20180607T184326_dmi_prep.nc");
  usual().write(path);
  const std::string good = read_file(path, 1 << 22);
  int refusals = 0;
  for (size_t i = 0; i < 24; i++) {
    std::string bad = good;
    if (i < 6) bad.resize(good.size() * i / 6);
    for (size_t k = 0; i >= 6 && k < 40; k++)
      bad[(i * 7919 + k * k * 131) % (i % 2 ? 4000 : bad.size())] ^= static_cast<char>(0x55 + i);
    write_file(path, bad);
    try {
      read_sample(path, BandFiles({"sar", "amsr2"}));
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::file);
      CHECK(has(error.what(), path));
      refusals++;
    }
  }
  CHECK(refusals >= 6);
  usual().write(path);
  CHECK(read_sample(path, BandFiles({"sar"})).bands == 3);
}
