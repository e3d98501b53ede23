#include "data/geotiff.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/array.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using data::EarthModel;
using data::Georeference;
using data::Image;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

// Noise of all bits, rows that are longer than a strip included.
Image noise(DType type, int64_t height, int64_t width, int64_t bands) {
  Image image;
  static_cast<data::ImageHeader&>(image) = {height, width, bands, type};
  image.data.resize(static_cast<size_t>(image.bytes()));
  for (int64_t i = 0; i < image.pixels() * bands; i++) {
    const uint64_t bits = test::splitmix64(static_cast<uint64_t>(i));
    const float real = std::ldexp(static_cast<float>(bits >> 40), -20) - 8;
    uint8_t* at = image.data.data() + i * static_cast<int64_t>(size_of(type));
    std::memcpy(at, type == DType::f32 ? static_cast<const void*>(&real) : &bits, size_of(type));
  }
  return image;
}

}  // namespace

TEST_CASE("a GeoTIFF that was written reads back, to the bit") {
  const test::TempFolder folder;
  const std::string path = folder.path("scene.tif");
  const Georeference place =
      data::make_georeference(EarthModel::projected, 3996, 5e5, -2e6, 40, 20);
  for (const DType type : {DType::u8, DType::u16, DType::f32})
    for (const int64_t bands : {1, 2, 3, 4, 9})
      for (const int64_t width : {1, 37, 9000}) {
        CAPTURE(name_of(type));
        CAPTURE(bands);
        CAPTURE(width);
        const Image image = noise(type, 11, width, bands);
        write_geotiff(path, image, place);
        const Image again = data::read_image(path);
        CHECK(again.height == 11);
        CHECK(again.width == width);
        CHECK(again.bands == bands);
        CHECK(again.type == type);
        CHECK_FALSE(again.nodata);
        CHECK_FALSE(again.dropped_alpha);
        CHECK(again.data == image.data);
        CHECK(data::probe_image(path).bands == bands);
        // The header stands before the pixels, so that its start tells it.
        const std::string bytes = read_file(path, 1 << 26);
        uint32_t page = 0;
        std::memcpy(&page, bytes.data() + 4, 4);
        CHECK(page < 4096);
      }
  const Georeference found = data::read_georeference(path);
  CHECK(found.epsg == 3996);
  CHECK(found.transform == place.transform);
  CHECK(found.geo_keys == place.geo_keys);
  CHECK(data::Placement(found).bounds(0, 0, 100, 11) ==
        std::array<double, 4>{5e5, -2e6 - 220, 5e5 + 4000, -2e6});
}

TEST_CASE("nodata is NaN in float pictures and said of whole ones") {
  const test::TempFolder folder;
  const std::string path = folder.path("scene.tif");
  Image image = noise(DType::f32, 8, 8, 2);
  auto* values = reinterpret_cast<float*>(image.data.data());
  values[3] = -9999;
  values[6] = std::numeric_limits<float>::quiet_NaN();
  values[7] = std::numeric_limits<float>::infinity();
  write_geotiff(path, image, {}, -9999);
  Image again = data::read_image(path);
  CHECK_FALSE(again.nodata);
  for (int i = 0; i < 128; i++) {
    const float value = again.view().as<float>()[i];
    if (i == 3 || i == 6)
      CHECK(std::isnan(value));
    else
      CHECK(value == values[i]);
  }
  write_geotiff(path, noise(DType::u16, 8, 8, 1), {}, 7);
  CHECK(data::read_image(path).nodata == 7);
  CHECK(data::probe_image(path).nodata == 7);
  // What no pixel can hold is no nodata.
  for (const double impossible : {-1.0, 65536.0, 0.5, std::nan("")}) {
    write_geotiff(path, noise(DType::u16, 8, 8, 1), {}, impossible);
    CHECK_FALSE(data::read_image(path).nodata);
  }
  write_geotiff(path, noise(DType::f32, 8, 8, 1), {}, std::nan(""));
  CHECK_FALSE(std::isnan(*data::read_image(path).view().as<float>()));
}

TEST_CASE("rotated pictures, control points and pixels that are points keep their place") {
  const test::TempFolder folder;
  const std::string path = folder.path("scene.tif");
  const Image image = noise(DType::u8, 4, 4, 1);
  Georeference rotated = data::make_georeference(EarthModel::projected, 32633, 0, 0, 10, 10);
  rotated.transform = {100, 3, 4, 200, 5, -6};
  write_geotiff(path, image, rotated);
  CHECK(data::read_georeference(path).transform == rotated.transform);
  CHECK(data::Placement(rotated).bounds(0, 0, 4, 4) == std::array<double, 4>{100, 176, 128, 220});

  Georeference points = data::make_georeference(EarthModel::geographic, 4326, 0, 0, 1, 1);
  points.transform.reset();
  points.points = {{0, 0, 10, 70, 5}, {4, 0, 11, 70.5, 6}, {0, 4, 10.25, 69, 7}};
  write_geotiff(path, image, points);
  Georeference found = data::read_georeference(path);
  CHECK(found.epsg == 4326);
  CHECK_FALSE(found.transform);
  REQUIRE(found.points.size() == 3);
  CHECK(found.points[1].column == 4);
  CHECK(found.points[1].x == 11);
  CHECK(found.points[2].y == 69);
  CHECK(found.points[2].z == 7);

  Georeference centred = data::make_georeference(EarthModel::geographic, 4326, 10, 70, 1, 2);
  centred.geo_keys[11] = 2;  // RasterPixelIsPoint
  CHECK(centred.pixel_is_point());
  write_geotiff(path, image, centred);
  found = data::read_georeference(path);
  CHECK(found.pixel_is_point());
  CHECK(found.transform == centred.transform);

  write_geotiff(path, image, {});
  CHECK(data::read_georeference(path).empty());
}

TEST_CASE("a projected system without a number isn't called by that of its degrees") {
  const test::TempFolder folder;
  const std::string path = folder.path("scene.tif");
  Georeference place = data::make_georeference(EarthModel::geographic, 4326, 5e5, -2e6, 40, 40);
  const auto epsg = [&] {
    write_geotiff(path, noise(DType::u8, 4, 4, 1), place);
    const Georeference found = data::read_georeference(path);
    CHECK(found.geo_keys == place.geo_keys);
    return found.epsg;
  };
  CHECK(epsg() == 4326);
  uint16_t& model = place.geo_keys[7];
  model = 1;  // projected
  CHECK(epsg() == 0);
  model = 0;  // not told
  CHECK(epsg() == 4326);
  // As GDAL writes a system with parameters of its own.
  model = 1;
  place.geo_keys[3]++;
  place.geo_keys.insert(place.geo_keys.end(), {3072, 0, 1, 32767});
  CHECK(epsg() == 0);
  place.geo_keys.back() = 32633;
  CHECK(epsg() == 32633);
}

TEST_CASE("control points and nodata that GDAL wrote") {
  const Georeference found = data::read_georeference(test::golden("images/tiff/points.tif"));
  CHECK(found.epsg == 4326);
  CHECK_FALSE(found.transform);
  REQUIRE(found.points.size() == 3);
  const double expected[3][5] = {{0, 0, 10, 70, 5}, {23, 0, 11, 70.5, 6}, {0, 19, 10.25, 69, 7}};
  for (size_t i = 0; i < 3; i++) {
    const data::GroundPoint& point = found.points[i];
    const double values[5] = {point.column, point.row, point.x, point.y, point.z};
    for (size_t k = 0; k < 5; k++) CHECK(values[k] == expected[i][k]);
  }
  const Georeference polar = data::read_georeference(test::golden("images/tiff/nodata_int16.tif"));
  CHECK(polar.epsg == 3996);
  CHECK(*polar.transform == std::array<double, 6>{-5e5, 1000, 0, 2e6, 0, -1000});
}

TEST_CASE("systems that only their own text describes are kept") {
  const auto path = test::test_data("tiff-corpus/rasterio/tests/data/test_esri_wkt.tif");
  if (!path) {
    MESSAGE("skipped: no tiff-corpus");
    return;
  }
  const Georeference found = data::read_georeference(*path);
  CHECK(found.epsg == 0);
  CHECK(has(found.geo_ascii, "USA_Contiguous_Albers_Equal_Area_Conic"));
  const test::TempFolder folder;
  data::write_geotiff(folder.path("copy.tif"), data::read_image(*path), found);
  const Georeference copy = data::read_georeference(folder.path("copy.tif"));
  CHECK(copy.geo_keys == found.geo_keys);
  CHECK(copy.geo_doubles == found.geo_doubles);
  CHECK(copy.geo_ascii == found.geo_ascii);
  CHECK(copy.transform == found.transform);
}

TEST_CASE("what can't be written is refused, and leaves what was there") {
  const test::TempFolder folder;
  const std::string path = folder.path("scene.tif");
  write_file(path, "before");
  Image image = noise(DType::u8, 4, 4, 1);
  image.type = DType::i32;
  CHECK(has(error_of(ErrorKind::usage, [&] { write_geotiff(path, image, {}); }), "i32"));
  image = noise(DType::u8, 4, 4, 1);
  image.data.pop_back();
  CHECK(has(error_of(ErrorKind::usage, [&] { write_geotiff(path, image, {}); }), "15 bytes"));
  image = noise(DType::u8, 4, 4, 1);
  Georeference bare;
  bare.epsg = 4326;
  CHECK(has(error_of(ErrorKind::usage, [&] { write_geotiff(path, image, bare); }), "EPSG number"));
  CHECK(read_file(path, 100) == "before");
  const std::string nowhere = folder.path("absent/scene.tif");
  CHECK(has(error_of(ErrorKind::file, [&] { write_geotiff(nowhere, image, {}); }), nowhere));
}
