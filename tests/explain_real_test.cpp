// The command `explain` on real scenes, read back: a map lies where the picture lies.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/encode_png.h"
#include "data/geotiff.h"
#include "data/image.h"
#include "engine/io/file.h"
#include "tests/support/html_page.h"
#include "tests/support/npy.h"
#include "tests/support/paths.h"
#include "tests/support/picture_model.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

// `map` is `picture` times one number a band in the crop, whose corner is at `top`, `left`, and 0
// around it; both [height, width, bands].
void check_place(const std::vector<float>& map, const std::vector<float>& picture, int64_t width,
                 int64_t bands, int64_t crop, int64_t top, int64_t left) {
  REQUIRE(map.size() == picture.size());
  std::vector<double> factor(static_cast<size_t>(bands));
  double outside = 0, apart = 0, most = 0;
  // First the numbers that fit best, by least squares, then what they leave.
  for (const bool fit : {true, false}) {
    std::vector<double> products(factor.size()), squares(factor.size());
    for (size_t i = 0; i < map.size(); i++) {
      const auto pixel = static_cast<int64_t>(i) / bands;
      const size_t band = i % factor.size();
      const int64_t row = pixel / width - top, column = pixel % width - left;
      const double at = static_cast<double>(picture[i]), value = static_cast<double>(map[i]);
      if (row < 0 || row >= crop || column < 0 || column >= crop) {
        outside = std::max(outside, std::abs(value));
        continue;
      }
      products[band] += at * value, squares[band] += at * at;
      if (fit) continue;
      apart = std::max(apart, std::abs(value - factor[band] * at));
      most = std::max(most, std::abs(value));
    }
    for (size_t band = 0; band < factor.size(); band++)
      factor[band] = products[band] / squares[band];
  }
  CHECK(outside == 0);
  CHECK(most > 0);
  CHECK(apart < 1e-5 * most);
}

std::vector<float> floats_of(const data::Image& image) {
  std::vector<float> values(static_cast<size_t>(image.pixels() * image.bands));
  if (image.type == DType::f32)
    std::memcpy(values.data(), image.data.data(), values.size() * sizeof(float));
  else
    std::copy(image.data.begin(), image.data.end(), values.begin());
  return values;
}

// Runs the program, and gives what it says of the picture.
Json explained(const std::string& model, const std::string& picture, const std::string& out) {
  const Ended e = fulmar_program({"explain", model, picture, "--out", out, "--target", "pos",
                                  "--method", "input-x-gradient", "--mask", "--json"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  check_page(out + "/report.html");
  return Json::parse(e.out);
}

}  // namespace

TEST_CASE("explain: the map of a real GeoTIFF lies where the picture lies") {
  const auto picture =
      test_data("s1-geotiff/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif");
  if (!picture) {
    MESSAGE("skipped: no s1-geotiff");
    return;
  }
  const TempFolder folder;
  constexpr int64_t crop = 151;
  Preprocess preprocess = Preprocess::of_pictures(0, crop, 1);
  preprocess.type = DType::f32;
  preprocess.scale = {1}, preprocess.offset = {0};
  const std::string model = folder.path("linear.safetensors");
  save_linear_model(model, preprocess);
  const Json line = explained(model, *picture, folder.path("maps"));
  const std::string stem =
      folder.path("maps/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.input-x-gradient");
  const data::Image from = data::read_image(*picture), to = data::read_image(stem + ".tif");
  const data::Image mask = data::read_image(stem + ".mask.tif");
  for (const data::Image* image : {&to, &mask}) {
    CHECK(image->height == 217);
    CHECK(image->width == 268);
    CHECK(image->bands == 1);
  }
  check_place(floats_of(to), floats_of(from), 268, 1, crop, 33, 58);
  CHECK(Npy(stem + ".npy").values == floats_of(to));
  const data::Georeference at = data::read_georeference(*picture);
  CHECK(at.epsg == 32631);
  for (const char* end : {".tif", ".mask.tif"}) {
    CAPTURE(end);
    const data::Georeference place = data::read_georeference(stem + end);
    CHECK(place.transform == at.transform);
    CHECK(place.geo_keys == at.geo_keys);
    CHECK(place.geo_ascii == at.geo_ascii);
  }
  CHECK(line["seen"]["left"] == 58);
  CHECK(line["seen"]["top"] == 33);
}

TEST_CASE("explain: the map of a real polar low lies on its picture") {
  const auto figure = test_data("polar-low-figure/cell07_1.png");
  if (!figure) {
    MESSAGE("skipped: no polar-low-figure");
    return;
  }
  const TempFolder folder;
  // The scene within its axes: columns 7 to 387, rows 22 to 402 of the figure, without opacity.
  const data::Image whole = data::read_image(*figure);
  REQUIRE(whole.width == 851);
  constexpr int64_t side = 381, crop = 256, corner = 62;
  data::Image scene;
  scene.height = scene.width = side, scene.bands = 3;
  for (int64_t pixel = 0; pixel < side * side; pixel++)
    for (int64_t band = 0; band < 3; band++)
      scene.data.push_back(whole.data[static_cast<size_t>(
          ((22 + pixel / side) * whole.width + 7 + pixel % side) * whole.bands + band)]);
  write_file(folder.path("scene.png"), data::encode_png(scene));
  const std::string model = folder.path("linear.safetensors");
  save_linear_model(model, Preprocess::of_pictures(0, crop, 3));
  explained(model, folder.path("scene.png"), folder.path("maps"));
  const std::string stem = folder.path("maps/scene.input-x-gradient");
  const Npy npy(stem + ".npy");
  CHECK(npy.shape == std::vector<int64_t>{side, side, 3});
  check_place(npy.values, floats_of(scene), side, 3, crop, corner, corner);
  // The overlay is the picture, but for the crop and the line around it.
  const data::Image overlay = data::read_image(stem + ".png");
  REQUIRE(overlay.data.size() == scene.data.size());
  int64_t changed_outside = 0, changed_inside = 0;
  for (size_t i = 0; i < scene.data.size(); i++) {
    const auto pixel = static_cast<int64_t>(i) / 3;
    const int64_t row = pixel / side, column = pixel % side;
    const bool inside =
        row >= corner && row <= corner + crop && column >= corner && column <= corner + crop;
    if (overlay.data[i] != scene.data[i]) (inside ? changed_inside : changed_outside)++;
  }
  CHECK(changed_outside == 0);
  CHECK(changed_inside > 50'000);
}
