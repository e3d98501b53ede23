#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <vector>

#include "data/georeference.h"
#include "data/projection.h"

// Where places of a picture lie on the ground.

using namespace fulmar;
using data::EarthModel;
using data::Georeference;
using data::Placement;

namespace {

struct Row {
  int epsg;
  double x, y, longitude, latitude;
};

// By pyproj 3.7.2 (PROJ 9.5.1): Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).
constexpr Row rows[] = {
    {32633, 4e5, 5.3e6, 13.663409025147702, 47.845561252465465},
    {32733, 5e5, 9.2e6, 14.999999999999982, -7.237465617539088},
    {25833, 4e5, 5.9e6, 13.501552128317849, 53.23984891054558},
    {26905, 4e5, 6e6, -154.53070125637973, 54.138373318915754},
    {3413, 5e5, -2e6, -30.96375653207352, 71.13464395802907},
    {3411, 5e5, -2e6, -30.96375653207352, 71.13503510724095},
    {3976, 5e5, 2e6, 14.036243467926479, -71.13464395802907},
    {3031, -1e6, 1.5e6, -33.690067525979785, -73.5178836452227},
    {3995, 3e5, -2e6, 8.530765609948133, 71.54161870614622},
    {3996, -5e5, 2e6, -165.96375653207352, 71.38196476023815},
    {5041, 2.3e6, 1.5e6, 30.96375653207352, 84.75154173399615},
    {32661, 2.3e6, 1.5e6, 30.96375653207352, 84.75154173399615},
    {5042, 2.3e6, 1.5e6, 149.03624346792648, -84.75154173399615},
    {32761, 1.7e6, 2.5e6, -30.96375653207352, -84.75154173399615},
    {5939, 2.1e6, -2e5, 20.602562202499808, 70.35105200566714},
    {3857, 1.5e6, 9e6, 13.47472926179282, 62.588277328733206},
    {3395, 1.5e6, 9e6, 13.47472926179282, 62.745118560044354},
    {3832, 5e6, -1e6, -165.0842357940239, -9.005882635079505},
    {3035, 4.5e6, 5e6, 14.253258999612541, 68.07253492842287},
    {6931, 5e5, -2e6, 14.036243467926479, 71.45566496674253},
    {6932, 5e5, 2e6, 14.036243467926479, -71.45566496674253},
    {3575, 4e5, -2e6, 21.309932474020215, 71.65491318614758},
    {3409, 5e5, 2e6, 14.036243467926479, -71.37882881542953},
    {3034, 4.5e6, 5e6, 23.523778251123623, 71.48153602255326},
};

// Metres between two places.
double apart(const std::array<double, 2>& a, double longitude, double latitude) {
  constexpr double degree = 111195;
  return std::hypot(std::remainder(a[0] - longitude, 360) * std::cos(latitude * .0174532925),
                    a[1] - latitude) *
         degree;
}

std::array<double, 2> polar(double x, double y) {
  return *data::longitude_latitude(data::make_georeference(EarthModel::projected, 3413, 0, 0, 1, 1),
                                   x, y);
}

// Control points in longitude and latitude, as raw Sentinel-1 scenes have them, of a picture of
// 25,000 x 16,700 pixels of 10 m whose corner is at (x, y) of EPSG:3413.
Georeference points_at(double x, double y) {
  Georeference g = data::make_georeference(EarthModel::geographic, 4326, 0, 0, 1, 1);
  g.transform.reset();
  for (int row = 0; row <= 10; row++)
    for (int column = 0; column <= 20; column++) {
      const double c = 1250.0 * column, r = 1670.0 * row;
      const auto [longitude, latitude] = polar(x + 10 * c, y - 10 * r);
      g.points.push_back({c, r, longitude, latitude, 0});
    }
  return g;
}

}  // namespace

TEST_CASE("longitude and latitude are PROJ's, in every system that is known") {
  for (const Row& row : rows) {
    CAPTURE(row.epsg);
    const Georeference g = data::make_georeference(EarthModel::projected, row.epsg, 0, 0, 1, 1);
    const auto place = data::longitude_latitude(g, row.x, row.y);
    REQUIRE(place);
    CHECK(apart(*place, row.longitude, row.latitude) < 1e-3);
  }
  const Georeference degrees = data::make_georeference(EarthModel::geographic, 4326, 0, 0, 1, 1);
  CHECK(*data::longitude_latitude(degrees, 190, 70) == std::array<double, 2>{-170, 70});
  for (const int unknown : {27700, 2154, 4326})
    CHECK_FALSE(data::longitude_latitude(
        data::make_georeference(EarthModel::projected, unknown, 0, 0, 1, 1), 4e5, 4e5));
  CHECK_FALSE(data::longitude_latitude({}, 4, 5));
  CHECK_FALSE(data::longitude_latitude(degrees, 4, 95));
}

TEST_CASE("a system that the file describes by its parameters is known by them") {
  // EPSG:3413 written out, as GDAL does for one without a number.
  Georeference g;
  g.geo_keys = {1,    1,     0,    9, 1024, 0,     1,    1, 2048, 0,     1,    4326,  3072, 0,
                1,    32767, 3075, 0, 1,    15,    3076, 0, 1,    9001,  3081, 34736, 1,    0,
                3082, 34736, 1,    2, 3083, 34736, 1,    3, 3095, 34736, 1,    1};
  g.geo_doubles = {70, -45, 1000, 2000};
  const auto place = data::longitude_latitude(g, 501e3, -1998e3);
  REQUIRE(place);
  CHECK(apart(*place, -30.96375653207352, 71.13464395802907) < 1e-3);
  g.geo_keys[23] = 9002;  // feet
  CHECK_FALSE(data::longitude_latitude(g, 501e3, -1998e3));
}

TEST_CASE("a grid of control points gives every place within metres, and bounds") {
  for (const auto& [x, y] : {std::array{-3e5, -1.9e6}, std::array{3e5, 1.9e6}}) {
    const Placement placed(points_at(x, y));
    REQUIRE(placed);
    CHECK(placed.residual() == 0);
    for (const auto& [column, row] :
         {std::array{12500.0, 8350.0}, std::array{600.0, 900.0}, std::array{24999.5, 16699.5}}) {
      const auto [longitude, latitude] = polar(x + 10 * column, y - 10 * row);
      CHECK(apart(placed.at(column, row), longitude, latitude) < 15);
    }
    const auto box = placed.bounds(0, 0, 25000, 16700);
    CHECK(box[1] < box[3]);
    for (const double value : box) CHECK(std::abs(value) <= 180);
  }
  // Across the 180th meridian the box begins in the east.
  const auto [x, y] = std::array{-1.5e6, 1.45e6};
  const auto box = Placement(points_at(x, y)).bounds(0, 0, 25000, 16700);
  CHECK(box[0] > 170);
  CHECK(box[2] < -170);
  // Round the pole.
  const auto pole = Placement(points_at(-1e5, 1e5)).bounds(0, 0, 25000, 16700);
  CHECK(pole[0] == -180);
  CHECK(pole[2] == 180);
  CHECK(pole[3] == 90);
}

TEST_CASE("control points that form no grid are fitted, with their residual") {
  Georeference g = points_at(-3e5, -1.9e6);
  g.points.pop_back();
  const Placement fitted(g);
  REQUIRE(fitted);
  CHECK(fitted.residual() > 0);
  CHECK(fitted.residual() < 30);
  const auto [longitude, latitude] = polar(-3e5 + 125e3, -1.9e6 - 83.5e3);
  CHECK(apart(fitted.at(12500, 8350), longitude, latitude) < 100);
  g.points.resize(3);  // on a line
  CHECK_FALSE(Placement(g));
  g.points = {{0, 0, 10, 70, 0}, {100, 0, 11, 70, 0}, {0, 100, 10, 69, 0}};
  const auto place = Placement(g).at(50, 0);
  CHECK(place[0] == doctest::Approx(10.5));
  g.points.pop_back();
  CHECK_FALSE(Placement(g));
  CHECK_FALSE(Placement(Georeference{}));
}
