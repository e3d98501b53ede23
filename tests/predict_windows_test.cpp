// A classifier over scenes that are larger than its crop: fulmar predict --stride.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/geotiff.h"
#include "engine/io/file.h"
#include "tests/support/picture_model.h"
#include "tests/support/program.h"
#include "tests/support/raster.h"
#include "tests/support/refusal.h"
#include "tools/run/window_map.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

constexpr int64_t height = 45, width = 54, side = 16, stride = 8;

// A bright place, and a wedge where nothing was measured.
double value(int64_t row, int64_t column) {
  if (column < 12) return std::nan("");
  return std::exp(-(std::pow(row - 30, 2) + std::pow(column - 40, 2)) / 60.0) * 8 +
         0.01 * static_cast<double>((row * 7 + column * 3) % 11);
}

struct Scene {
  TempFolder folder;
  std::string model = folder.path("model.safetensors"), path = folder.path("scene.tif"),
              out = folder.path("out"), csv = folder.path("found.csv");

  Scene() {
    Preprocess p = Preprocess::of_pictures(0, side, 1);
    p.type = DType::f32;
    p.scale = {1}, p.offset = {0}, p.fill = {0};
    save_linear_model(model, p);
    write_raster(path, height, width, 1,
                 [](int64_t row, int64_t column, int64_t) { return value(row, column); });
  }
};

}  // namespace

TEST_CASE("predict --stride: a map of windows that lies where the scene lies, and what is found") {
  const Scene s;
  const Ended e = fulmar_program({"predict", s.model, s.path, "--stride", "8", "--out", s.out,
                                  "--csv", s.csv, "--batch", "3", "--threshold", "0", "--json"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const Json json = Json::parse(e.out);
  const std::string file = s.out + "/scene.probabilities.tif";
  CHECK(json["file"] == file);
  const data::Image map = data::read_image(file);
  CHECK(map.height == (height - side) / stride + 1);
  CHECK(map.width == (width - side) / stride + 1);
  REQUIRE(map.bands == 2);
  const int64_t top = (height - side) % stride / 2, left = (width - side) % stride / 2;
  CHECK(*data::read_georeference(file).transform ==
        std::array<double, 6>{4e5 + 10.0 * static_cast<double>(left + 4), 80, 0,
                              5.3e6 - 10.0 * static_cast<double>(top + 4), 0, -80});
  const auto probability = [&](int64_t row, int64_t column) {
    float value = 0;
    std::memcpy(&value, &map.data[static_cast<size_t>(((row * map.width + column) * 2 + 1) * 4)],
                sizeof value);
    return value;
  };
  // Cut out, a window gets the same number; where most of it is missing it gets none.
  const std::string cut = s.folder.path("cut.tif");
  float most = 0;
  for (int64_t row = 0; row < map.height; row++)
    for (int64_t column = 0; column < map.width; column++) {
      CHECK(std::isnan(probability(row, column)) == (left + 8 * column + 8 < 12));
      if (!std::isnan(probability(row, column))) most = std::max(most, probability(row, column));
      if ((row + column) % 3 != 0 || std::isnan(probability(row, column))) continue;
      write_raster(cut, side, side, 1, [&](int64_t y, int64_t x, int64_t) {
        return value(top + 8 * row + y, left + 8 * column + x);
      });
      const Json one = Json::parse(fulmar_program({"predict", s.model, cut, "--json"}).out);
      CHECK(one["probabilities"]["pos"].get<float>() ==
            doctest::Approx(probability(row, column)).epsilon(1e-5));
    }
  REQUIRE_FALSE(json["detections"].empty());
  const Json& best = json["detections"][0];
  CHECK(best["probability"].get<float>() == doctest::Approx(most));
  CHECK(best["x"].get<double>() == 4e5 + 10 * best["column"].get<double>());
  CHECK(best["y"].get<double>() == 5.3e6 - 10 * best["row"].get<double>());
  CHECK(best["latitude"].get<double>() == doctest::Approx(47.85).epsilon(1e-3));
  const std::string table = read_file(s.csv, 1 << 20);
  CHECK(table.rfind("path,class,probability,column,row,x,y,longitude,latitude\n" + s.path + ",pos,",
                    0) == 0);
}

TEST_CASE("detections: no two lie within half a window, the likeliest stays") {
  tools::WindowMap map;
  map.side = 4, map.stride = 2, map.rows = 1, map.columns = 5, map.classes = 1;
  map.probabilities = {0.7F, 0.9F, 0.8F, 0.6F, NAN};
  const std::vector<tools::Detection> found = tools::detections(map, 0, 0.5);
  REQUIRE(found.size() == 2);
  CHECK(found[0].column == 4);
  CHECK(found[1].column == 8);
  CHECK(tools::detections(map, 0, 0.85).size() == 1);
}

TEST_CASE("predict --stride: what can't be is refused") {
  const Scene s;
  const std::string small = s.folder.path("small.tif"), many = s.folder.path("many.safetensors");
  write_raster(small, side - 1, 40, 1, [](int64_t, int64_t, int64_t) { return 1.0; });
  check_refused({{"predict", s.model, small, "--stride", "8"}, 3, {"fewer than", "crop of 16"}},
                s.folder.path());
  save_model(many, {"a", "b", "c"});
  check_refused(
      {{"predict", many, s.path, "--stride", "8", "--csv", s.csv}, 2, {"models of two classes"}},
      s.folder.path());
  check_refused({{"predict", s.model, s.path, "--out", s.out}, 2, {"--stride N"}}, s.folder.path());
}
