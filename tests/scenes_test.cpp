#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>
#include <vector>

#include "data/scenes/backscatter.h"
#include "data/scenes/noise.h"
#include "data/scenes/scene.h"
#include "data/scenes/surface.h"
#include "data/scenes/wind.h"
#include "engine/io/file.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"

using namespace fulmar;
using namespace fulmar::data::scenes;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

SceneOptions small(int64_t size = 128, double resolution = 4000) {
  SceneOptions options;
  options.size = size;
  options.resolution = resolution;
  return options;
}

// A sea without edges, land, ice or anything in the air.
SceneParameters plain_sea(uint64_t seed) {
  SceneOptions options = small();
  options.swath_edge = options.land = options.ice = 0;
  SceneParameters scene = draw_scene(seed, options, 0);
  scene.fronts.clear();
  scene.rain.clear();
  scene.convection = scene.bands = scene.veer = scene.streaks = 0;
  scene.swath.interference = 0;
  return scene;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && !std::memcmp(a.data(), b.data(), a.size() * sizeof(float));
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); i++) {
    ma += a[i] / static_cast<double>(a.size());
    mb += b[i] / static_cast<double>(a.size());
  }
  for (size_t i = 0; i < a.size(); i++) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return ab / std::sqrt(aa * bb);
}

// Mean of the wind around the eye, counterclockwise on the map, at one radius of the vortex.
double circulation(const SceneParameters& scene) {
  const std::vector<Cover> cover(static_cast<size_t>(scene.size * scene.size), Cover::water);
  const Wind wind = wind_of(scene, cover);
  double sum = 0;
  constexpr int directions = 64;
  for (int k = 0; k < directions; k++) {
    const double angle = 2 * std::numbers::pi * k / directions;
    const auto pixel = [&](double km) {
      return static_cast<int64_t>((km / scene.extent() + 0.5) * static_cast<double>(scene.size));
    };
    const Vortex& v = scene.vortex;
    const int64_t row = pixel(v.y + v.radius * std::sin(angle));
    const int64_t column = pixel(v.x + v.radius * std::cos(angle));
    const auto i = static_cast<size_t>(row * scene.size + column);
    const double around = wind.direction[i] - (angle - std::numbers::pi / 2);
    sum += wind.speed[i] * std::cos(around) / directions;
  }
  return sum;
}

}  // namespace

TEST_CASE("CMOD5.N agrees with xsarsea") {
  const auto rows =
      nlohmann::json::parse(read_file(test::golden("backscatter_xsarsea.json"), 1 << 20));
  REQUIRE(rows.size() == 125);
  for (const auto& row : rows) {
    const double sigma = cmod5n(row[2], row[1], row[0]);
    CHECK(sigma == doctest::Approx(row[3].get<double>()).epsilon(1e-12).scale(0));
  }
  CHECK(10 * std::log10(cross_polarised(10)) == doctest::Approx(5.80 - 35.652));
}

TEST_CASE("noise is smooth, centred, and of the stated spread") {
  double sum = 0, squares = 0, largest = 0;
  constexpr int count = 40000;
  for (int i = 0; i < count; i++) {
    const double x = 0.37 * i, y = 0.11 * i + 0.003 * i * (i % 7);
    const double n = noise(5, x, y);
    sum += n;
    squares += n * n;
    largest = std::max(largest, std::abs(n));
    CHECK(std::abs(noise(5, x + 1e-6, y) - n) < 1e-5);
  }
  CHECK(std::abs(sum / count) < 0.02);
  CHECK(std::sqrt(squares / count) == doctest::Approx(0.33).epsilon(0.1).scale(0));
  CHECK(largest <= 1.0);
  CHECK(noise(5, 0.5, 0.5) != noise(6, 0.5, 0.5));
  // On a border between two cells both are as near, and a step to either side is in one of them.
  for (double x = 0; x < 6; x += 0.01) {
    const Cell here = cell_at(3, x, 5.9), next = cell_at(3, x + 0.01, 5.9);
    if (here.bits != next.bits) CHECK(here.border() < 0.03);
  }
}

TEST_CASE("a scene is the same whenever it is made") {
  const SceneParameters a = draw_scene(11, small(), 1), b = draw_scene(11, small(), 1);
  CHECK(a.to_json() == b.to_json());
  CHECK(same_bits(render(a).vv, render(b).vv));
  CHECK_FALSE(same_bits(render(a).vv, render(draw_scene(12, small(), 1)).vv));
}

TEST_CASE("a twin differs by its wind alone") {
  int with_land = 0;
  for (uint64_t seed = 0; seed < 12; seed++) {
    const SceneParameters with = draw_scene(seed, small(), 1);
    SceneParameters without = draw_scene(seed, small(), 0);
    const Scene a = render(with), b = render(without);
    without.vortex.amplitude = 1;
    CHECK(with.to_json() == without.to_json());
    int64_t differ = 0;
    for (size_t i = 0; i < a.vv.size(); i++) {
      CHECK(std::isnan(a.vv[i]) == std::isnan(b.vv[i]));
      CHECK((a.vv[i] == no_data) == (b.vv[i] == no_data));
      differ += a.vv[i] != b.vv[i] && !std::isnan(a.vv[i]);
      CHECK(b.vortex[i] == 0);
    }
    CHECK(differ > 0);
    CHECK(std::count(a.vortex.begin(), a.vortex.end(), 255) > 0);
    // Land has the same bits in both.
    for (int64_t row = 0; row < 128; row++)
      for (int64_t column = 0; column < 128; column++) {
        const double x = (static_cast<double>(column) + 0.5) * 4 - 256;
        const double y = (static_cast<double>(row) + 0.5) * 4 - 256;
        const auto i = static_cast<size_t>(row * 128 + column);
        if (with.land_share == 0 || height_at(with, x, y) <= 0 || std::isnan(a.vv[i])) continue;
        with_land++;
        CHECK(a.vv[i] == b.vv[i]);
        CHECK(a.vh[i] == b.vh[i]);
        CHECK(a.vortex[i] == 0);
      }
  }
  CHECK(with_land > 0);
}

TEST_CASE("the vortex turns the wind, and nothing else does as much") {
  for (uint64_t seed = 0; seed < 20; seed++) {
    const SceneParameters with = draw_scene(seed, small(), 1);
    const SceneParameters without = draw_scene(seed, small(), 0);
    CHECK(circulation(with) > 0.35 * with.wind_speed);
    CHECK(std::abs(circulation(without)) < 0.3 * without.wind_speed);
  }
}

TEST_CASE("a vortex adds no wind: mean and spread stay as drawn") {
  for (uint64_t seed = 0; seed < 6; seed++)
    for (const double amplitude : {0.0, 1.0}) {
      SceneParameters scene = draw_scene(seed, small(), amplitude);
      scene.streaks = 0;
      scene.wind_spread = 0.15;  // small enough that no speed is cut
      const std::vector<Cover> cover(static_cast<size_t>(scene.size * scene.size), Cover::water);
      const Wind wind = wind_of(
          [&] {
            SceneParameters open = scene;
            open.land_share = 0;
            return open;
          }(),
          cover);
      double sum = 0, squares = 0;
      for (float speed : wind.speed) {
        sum += speed;
        squares += double{speed} * speed;
      }
      const double mean = sum / static_cast<double>(wind.speed.size());
      const double spread =
          std::sqrt(squares / static_cast<double>(wind.speed.size()) - mean * mean);
      CHECK(mean == doctest::Approx(scene.wind_speed).epsilon(0.01).scale(0));
      CHECK(spread == doctest::Approx(0.15 * scene.wind_speed).epsilon(0.02).scale(0));
    }
}

TEST_CASE("a front is sharp, and turned with the air about it") {
  SceneParameters scene = plain_sea(5);
  scene.size = 256;
  scene.resolution = 1000;
  scene.vortex = {};
  Front front;
  front.step = 0.4;
  front.length = 200;
  scene.fronts = {front};  // from the centre to the east
  const std::vector<Cover> cover(256 * 256, Cover::water);
  const auto step_at = [&](int64_t column, int64_t row) {
    const Wind wind = wind_of(scene, cover);
    return wind.speed[static_cast<size_t>((row + 1) * 256 + column)] -
           wind.speed[static_cast<size_t>((row - 1) * 256 + column)];
  };
  const double sharp = step_at(128 + 60, 128);
  CHECK(std::abs(sharp) > 0.2 * scene.wind_speed);
  CHECK(std::abs(step_at(128 - 60, 128)) < 0.1 * scene.wind_speed);
  // A vortex at the front's end carries the near part away and leaves the far one.
  scene.vortex.radius = 60;
  scene.vortex.turn = 4;
  scene.vortex.strength = 0.01;
  scene.vortex.amplitude = 1;
  CHECK(std::abs(step_at(128 + 50, 128)) < 0.3 * std::abs(sharp));
}

TEST_CASE("speckle has the stated number of looks") {
  SceneParameters scene = plain_sea(3);
  scene.wind_spread = 0;
  scene.looks = 25;
  scene.swath.gain.assign(scene.swath.gain.size(), 0);
  const Scene a = render(scene);
  // Neighbours differ by speckle alone, nearly: var(a - b) = 2 var, of mean one.
  double squares = 0, mean = 0;
  int64_t pairs = 0;
  for (int64_t row = 20; row < 100; row++)
    for (int64_t column = 20; column < 100; column++) {
      const auto i = static_cast<size_t>(row * 128 + column);
      const double left = std::pow(10, a.vv[i] / 10), below = std::pow(10, a.vv[i + 128] / 10);
      squares += std::pow((left - below) / ((left + below) / 2), 2);
      pairs++;
    }
  // For gamma variables of shape n the mean of ((a - b) / ((a + b) / 2))^2 is 4 / (2n + 1).
  mean = squares / static_cast<double>(pairs);
  CHECK(mean == doctest::Approx(4.0 / 51).epsilon(0.06).scale(0));
}

TEST_CASE("a scene looks alike at every resolution") {
  SceneOptions fine = small(256, 1000), coarse = small(64, 4000);
  for (uint64_t seed = 20; seed < 24; seed++) {
    const Scene a = render(draw_scene(seed, fine, 1)), b = render(draw_scene(seed, coarse, 1));
    std::vector<double> averaged, direct;
    for (int64_t row = 0; row < 64; row++)
      for (int64_t column = 0; column < 64; column++) {
        double sum = 0;
        for (int64_t k = 0; k < 16; k++)
          sum += a.vv[static_cast<size_t>((4 * row + k / 4) * 256 + 4 * column + k % 4)] / 16;
        const double other = b.vv[static_cast<size_t>(row * 64 + column)];
        if (std::isnan(sum) || std::isnan(other) || sum < -900 || other < -900) continue;
        averaged.push_back(sum);
        direct.push_back(other);
      }
    CHECK(correlation(averaged, direct) > 0.85);
  }
}

TEST_CASE("shares of swath edge, land and ice follow the options") {
  const auto shares = [](const SceneOptions& options) {
    double outside = 0, land = 0, ice = 0;
    constexpr int scenes = 400;
    for (uint64_t seed = 0; seed < scenes; seed++) {
      const SceneParameters scene = draw_scene(seed, options, 0);
      land += scene.land_share / scenes;
      ice += scene.ice_share / scenes;
      constexpr int side = 24;
      const auto place = [&](int i) { return ((i + 0.5) / side - 0.5) * scene.extent(); };
      for (int row = 0; row < side; row++)
        for (int column = 0; column < side; column++)
          outside += !inside(scene.swath, place(column), place(row)) / double{side * side} / scenes;
    }
    return std::vector<double>{outside, land, ice};
  };
  SceneOptions options = small();
  options.swath_edge = options.land = options.ice = 0;
  CHECK(shares(options) == std::vector<double>{0, 0, 0});
  options.swath_edge = 0.2;
  options.land = 0.15;
  options.ice = 0.1;
  const std::vector<double> some = shares(options);
  CHECK(some[0] == doctest::Approx(0.2).epsilon(0.12).scale(0));
  CHECK(some[1] == doctest::Approx(0.15).epsilon(0.12).scale(0));
  CHECK(some[2] == doctest::Approx(0.1).epsilon(0.12).scale(0));
}

TEST_CASE("a seed gives one scene, whichever compiler made the program") {
  const auto golden = nlohmann::json::parse(read_file(test::golden("scene_11.json"), 1 << 20));
  const auto drawn = nlohmann::json::parse(draw_scene(11, small(), 1).to_json());
  const auto flat_golden = golden.flatten(), flat = drawn.flatten();
  REQUIRE(flat.size() == flat_golden.size());
  for (const auto& item : flat_golden.items()) {
    CAPTURE(item.key());
    const nlohmann::json &value = item.value(), &now = flat.at(item.key());
    if (value.is_number_float())
      CHECK(std::abs(now.get<double>() - value.get<double>()) <=
            1e-9 * std::abs(value.get<double>()));
    else
      CHECK(now == value);
  }
}

TEST_CASE("every vortex shows, in part at least") {
  SceneOptions options = small();
  options.swath_edge = 0.3;
  options.land = 0.25;
  options.ice = 0.25;
  int cut = 0;
  for (uint64_t seed = 0; seed < 60; seed++) {
    const Vortex vortex = draw_scene(seed, options, 1).vortex;
    CHECK(vortex.visible >= 0.4);
    cut += vortex.visible < 0.9;
  }
  CHECK(cut > 10);
}

TEST_CASE("the picture is black outside the swath, and only there") {
  SceneOptions options = small();
  options.swath_edge = 0.4;
  int64_t outside_swath = 0, at_its_rim = 0;
  for (uint64_t seed = 0; seed < 6; seed++) {
    const Scene scene = render(draw_scene(seed, options, 1));
    const data::Image picture = composite(scene), rasters = bands_db(scene);
    CHECK(picture.bands == 3);
    CHECK(rasters.bands == 2);
    for (size_t i = 0; i < scene.vv.size(); i++) {
      const bool outside = std::isnan(scene.vv[i]) || scene.vv[i] == no_data;
      const uint8_t* p = &picture.data[3 * i];
      outside_swath += scene.vv[i] == no_data;
      at_its_rim += std::isnan(scene.vv[i]);
      if (outside) CHECK((p[0] == 0 && p[1] == 0 && p[2] == 0));
    }
  }
  CHECK(outside_swath > 0);
  CHECK(at_its_rim > 0);
}

TEST_CASE("options that can't be are refused") {
  const auto refused = [](const SceneOptions& options) {
    return error_of(ErrorKind::usage, [&] { draw_scene(1, options, 1); });
  };
  CHECK(has(refused(small(16)), "less than 32"));
  CHECK(has(refused(small(16384, 2000)), "3000 km"));
  SceneOptions options = small();
  options.land = 0.7;
  CHECK(has(refused(options), "land"));
}
