#include "data/projection.h"

#include <GeographicLib/Ellipsoid.hpp>
#include <GeographicLib/LambertConformalConic.hpp>
#include <GeographicLib/PolarStereographic.hpp>
#include <GeographicLib/TransverseMercator.hpp>
#include <algorithm>
#include <cmath>
#include <numbers>

namespace fulmar::data {

namespace {

using LonLat = std::array<double, 2>;  // longitude and latitude, degrees

constexpr double pi = std::numbers::pi;
double radians(double degrees) { return degrees * (pi / 180); }
double degrees(double radians) { return radians * (180 / pi); }

struct Spheroid {
  double a = 6378137, f = 1 / 298.257223563;  // metres; WGS 84's
};
constexpr Spheroid wgs84, grs80{6378137, 1 / 298.257222101}, wgs72{6378135, 1 / 298.26},
    hughes{6378273, 1 / 298.279411123064}, ease_sphere{6371228, 0}, web_sphere{6378137, 0};

enum class Method {
  transverse_mercator,
  polar_stereographic,
  mercator,
  azimuthal_equal_area,
  conformal_conic
};

// A projected system. Degrees and metres.
struct Projection {
  Method method = Method::transverse_mercator;
  Spheroid spheroid;
  double longitude = 0, latitude = 0;  // of the origin; of a polar one its sign is the pole's
  double east = 0, north = 0;          // false easting and northing
  double scale = 1;                    // at the origin
  std::optional<double> parallel{};    // of true scale, instead of `scale`
  std::optional<double> second{};      // of a conic with two
};

// Universal Transverse Mercator: numbers of a row are those of zones, one after the other.
struct UtmRow {
  int first, last, zone;  // zone: that of `first`
  bool south;
  Spheroid spheroid;
};
constexpr UtmRow utm_rows[] = {
    {32601, 32660, 1, false, wgs84},  {32701, 32760, 1, true, wgs84},
    {32201, 32260, 1, false, wgs72},  {32301, 32360, 1, true, wgs72},
    {25828, 25838, 28, false, grs80},  // ETRS89
    {26901, 26923, 1, false, grs80},   // NAD83
    {28348, 28358, 48, true, grs80},   // GDA94
    {7846, 7859, 46, true, grs80},     // GDA2020
};

struct NamedProjection {
  int epsg;
  Projection projection;
};
const NamedProjection named[] = {
    {3031, {Method::polar_stereographic, wgs84, 0, -90, 0, 0, 1, -71}},
    {3032, {Method::polar_stereographic, wgs84, 70, -90, 6e6, 6e6, 1, -71}},
    {3411, {Method::polar_stereographic, hughes, -45, 90, 0, 0, 1, 70}},
    {3412, {Method::polar_stereographic, hughes, 0, -90, 0, 0, 1, -70}},
    {3413, {Method::polar_stereographic, wgs84, -45, 90, 0, 0, 1, 70}},
    {3976, {Method::polar_stereographic, wgs84, 0, -90, 0, 0, 1, -70}},
    {3995, {Method::polar_stereographic, wgs84, 0, 90, 0, 0, 1, 71}},
    {3996, {Method::polar_stereographic, wgs84, 0, 90, 0, 0, 1, 75}},
    {5041, {Method::polar_stereographic, wgs84, 0, 90, 2e6, 2e6, .994}},
    {32661, {Method::polar_stereographic, wgs84, 0, 90, 2e6, 2e6, .994}},
    {5042, {Method::polar_stereographic, wgs84, 0, -90, 2e6, 2e6, .994}},
    {32761, {Method::polar_stereographic, wgs84, 0, -90, 2e6, 2e6, .994}},
    {5936, {Method::polar_stereographic, wgs84, -150, 90, 2e6, 2e6, .994}},
    {5937, {Method::polar_stereographic, wgs84, -100, 90, 2e6, 2e6, .994}},
    {5938, {Method::polar_stereographic, wgs84, -33, 90, 2e6, 2e6, .994}},
    {5939, {Method::polar_stereographic, wgs84, 18, 90, 2e6, 2e6, .994}},
    {5940, {Method::polar_stereographic, wgs84, 105, 90, 2e6, 2e6, .994}},
    {3395, {Method::mercator, wgs84}},
    {3832, {Method::mercator, wgs84, 150}},
    {3857, {Method::mercator, web_sphere}},
    {3035, {Method::azimuthal_equal_area, grs80, 10, 52, 4321e3, 321e4}},
    {3408, {Method::azimuthal_equal_area, ease_sphere, 0, 90}},
    {3409, {Method::azimuthal_equal_area, ease_sphere, 0, -90}},
    {3571, {Method::azimuthal_equal_area, wgs84, 180, 90}},
    {3572, {Method::azimuthal_equal_area, wgs84, -150, 90}},
    {3573, {Method::azimuthal_equal_area, wgs84, -100, 90}},
    {3574, {Method::azimuthal_equal_area, wgs84, -40, 90}},
    {3575, {Method::azimuthal_equal_area, wgs84, 10, 90}},
    {3576, {Method::azimuthal_equal_area, wgs84, 90, 90}},
    {6931, {Method::azimuthal_equal_area, wgs84, 0, 90}},
    {6932, {Method::azimuthal_equal_area, wgs84, 0, -90}},
    {3034, {Method::conformal_conic, grs80, 10, 52, 4e6, 28e5, 1, 35, 65}},
};

std::optional<Projection> projection_of_epsg(int epsg) {
  for (const UtmRow& row : utm_rows)
    if (epsg >= row.first && epsg <= row.last) {
      const int zone = row.zone + epsg - row.first;
      return Projection{Method::transverse_mercator, row.spheroid, 6.0 * zone - 183, 0, 5e5,
                        row.south ? 1e7 : 0,         .9996};
    }
  for (const NamedProjection& one : named)
    if (one.epsg == epsg) return one.projection;
  return {};
}

// GeoTIFF 1.1 (OGC 19-008r4), Annex B; numbers of keys and of what they may hold.
enum Key : uint16_t {
  key_model = 1024,
  key_geographic = 2048,
  key_angular_unit = 2054,
  key_ellipsoid = 2056,
  key_semi_major = 2057,
  key_semi_minor = 2058,
  key_inverse_flattening = 2059,
  key_projected = 3072,
  key_method = 3075,
  key_linear_unit = 3076,
  key_parallel_1 = 3078,
  key_parallel_2 = 3079,
  key_origin_longitude = 3080,
  key_origin_latitude = 3081,
  key_east = 3082,
  key_north = 3083,
  key_false_longitude = 3084,
  key_false_latitude = 3085,
  key_false_east = 3086,
  key_false_north = 3087,
  key_centre_longitude = 3088,
  key_centre_latitude = 3089,
  key_centre_east = 3090,
  key_centre_north = 3091,
  key_scale = 3092,
  key_pole_longitude = 3095,
};
constexpr int model_geographic = 2, unit_metre = 9001, unit_degree = 9102;

// The first of the keys that is there.
double parameter(const Georeference& g, std::initializer_list<uint16_t> keys, double otherwise) {
  for (const uint16_t key : keys)
    if (const auto value = g.real_key(key)) return *value;
  return otherwise;
}

std::optional<Spheroid> spheroid_of_keys(const Georeference& g) {
  if (const auto a = g.real_key(key_semi_major)) {
    const auto inverse = g.real_key(key_inverse_flattening);
    const double b = parameter(g, {key_semi_minor}, *a);
    if (!(*a > 0)) return {};
    return Spheroid{*a, inverse && *inverse != 0 ? 1 / *inverse : (*a - b) / *a};
  }
  const int system = g.key(key_geographic), ellipsoid = g.key(key_ellipsoid);
  if (system == 4326 || ellipsoid == 7030) return wgs84;
  if (system == 4258 || system == 4269 || ellipsoid == 7019) return grs80;
  return {};
}

// A system that the file describes by its parameters.
std::optional<Projection> projection_of_keys(const Georeference& g) {
  const std::optional<Spheroid> spheroid = spheroid_of_keys(g);
  const int unit = g.key(key_linear_unit), angle = g.key(key_angular_unit);
  if (!spheroid || (unit != 0 && unit != unit_metre) || (angle != 0 && angle != unit_degree))
    return {};
  Projection p;
  p.spheroid = *spheroid;
  p.longitude = parameter(
      g, {key_origin_longitude, key_false_longitude, key_centre_longitude, key_pole_longitude}, 0);
  p.latitude = parameter(g, {key_origin_latitude, key_false_latitude, key_centre_latitude}, 0);
  p.east = parameter(g, {key_east, key_false_east, key_centre_east}, 0);
  p.north = parameter(g, {key_north, key_false_north, key_centre_north}, 0);
  p.scale = parameter(g, {key_scale}, 1);
  const std::optional<double> first = g.real_key(key_parallel_1);
  switch (g.key(key_method)) {
    case 1:
      p.method = Method::transverse_mercator;
      return p;
    case 7:
      p.method = Method::mercator;
      p.parallel = first;
      return p;
    case 8:
      p.method = Method::conformal_conic;
      p.parallel = first;
      p.second = g.real_key(key_parallel_2);
      return first && p.second ? std::optional(p) : std::nullopt;
    case 9:
      p.method = Method::conformal_conic;
      return p;
    case 10:
      p.method = Method::azimuthal_equal_area;
      return p;
    case 15:
      // Its latitude is that of true scale; at the pole the scale is given.
      p.method = Method::polar_stereographic;
      p.longitude = parameter(g, {key_pole_longitude, key_origin_longitude}, 0);
      if (std::abs(p.latitude) < 90) p.parallel = p.latitude;
      return p;
    default:
      return {};
  }
}

// Of a map whose y begins at another latitude than the projection's.
template <class Map>
LonLat from_origin(const Map& map, const Projection& p, double x, double y) {
  double zero_x = 0, zero_y = 0;
  map.Forward(p.longitude, p.latitude, p.longitude, zero_x, zero_y);
  LonLat place;
  map.Reverse(p.longitude, x, y + zero_y, place[1], place[0]);
  return place;
}

// x and y without false easting and northing.
LonLat transverse_mercator(const Projection& p, double x, double y) {
  const GeographicLib::TransverseMercator map(p.spheroid.a, p.spheroid.f, p.scale);
  return from_origin(map, p, x, y);
}

LonLat polar_stereographic(const Projection& p, double x, double y) {
  GeographicLib::PolarStereographic map(p.spheroid.a, p.spheroid.f, p.scale);
  const bool north = p.latitude > 0;
  if (p.parallel) map.SetScale(std::abs(*p.parallel));
  LonLat place;
  map.Reverse(north, x, y, place[1], place[0]);
  place[0] += p.longitude;
  return place;
}

// Snyder (1987), USGS Professional Paper 1395, page 44: a conformal sphere about the equator.
LonLat mercator(const Projection& p, double x, double y) {
  double scale = p.scale;
  if (p.parallel) {
    const double sine = std::sin(radians(*p.parallel)), f = p.spheroid.f;
    scale = std::cos(radians(*p.parallel)) / std::sqrt(1 - f * (2 - f) * sine * sine);
  }
  const double radius = p.spheroid.a * scale;
  const GeographicLib::Ellipsoid spheroid(p.spheroid.a, p.spheroid.f);
  const double conformal = std::atan(std::sinh(y / radius));
  return {p.longitude + degrees(x / radius), spheroid.InverseConformalLatitude(degrees(conformal))};
}

// Snyder (1987), equations 24-17 and 24-26 to 24-30, on the sphere of the same area.
LonLat azimuthal_equal_area(const Projection& p, double x, double y) {
  const double f = p.spheroid.f, latitude = radians(p.latitude);
  const GeographicLib::Ellipsoid spheroid(p.spheroid.a, f);
  const double radius = std::sqrt(spheroid.Area() / (4 * pi));
  const double origin = radians(spheroid.AuthalicLatitude(p.latitude));
  double stretch = 1;  // D; at the poles there is none
  if (std::abs(p.latitude) < 90)
    stretch = p.spheroid.a * std::cos(latitude) /
              std::sqrt(1 - f * (2 - f) * std::pow(std::sin(latitude), 2)) /
              (radius * std::cos(origin));
  x /= stretch;
  y *= stretch;
  const double distance = std::hypot(x, y);
  if (distance == 0) return {p.longitude, p.latitude};
  const double angle = 2 * std::asin(distance / (2 * radius));
  const double sine =
      std::cos(angle) * std::sin(origin) + y * std::sin(angle) * std::cos(origin) / distance;
  const double east =
      std::atan2(x * std::sin(angle), distance * std::cos(origin) * std::cos(angle) -
                                          y * std::sin(origin) * std::sin(angle));
  return {p.longitude + degrees(east),
          spheroid.InverseAuthalicLatitude(degrees(std::asin(std::clamp(sine, -1.0, 1.0))))};
}

LonLat conformal_conic(const Projection& p, double x, double y) {
  const double first = p.parallel.value_or(p.latitude), second = p.second.value_or(first);
  const GeographicLib::LambertConformalConic map(p.spheroid.a, p.spheroid.f, first, second,
                                                 p.scale);
  return from_origin(map, p, x, y);
}

LonLat inverse(const Projection& p, double x, double y) {
  switch (p.method) {
    case Method::transverse_mercator:
      return transverse_mercator(p, x, y);
    case Method::polar_stereographic:
      return polar_stereographic(p, x, y);
    case Method::mercator:
      return mercator(p, x, y);
    case Method::azimuthal_equal_area:
      return azimuthal_equal_area(p, x, y);
    default:
      return conformal_conic(p, x, y);
  }
}

}  // namespace

bool is_geographic(const Georeference& g) {
  const int model = g.key(key_model), unit = g.key(key_angular_unit);
  if (unit != 0 && unit != unit_degree) return false;
  // These count from other meridians than Greenwich's, some in other units.
  const int code = g.key(key_geographic);
  if (code >= 4801 && code <= 4904) return false;
  return model == model_geographic || (model == 0 && code != 0 && g.key(key_projected) == 0);
}

std::optional<std::array<double, 2>> longitude_latitude(const Georeference& g, double x, double y) {
  LonLat place{x, y};
  if (!is_geographic(g)) {
    const std::optional<Projection> projection =
        g.epsg != 0 ? projection_of_epsg(g.epsg) : projection_of_keys(g);
    if (!projection) return {};
    try {
      place = inverse(*projection, x - projection->east, y - projection->north);
    } catch (const std::exception&) {  // GeographicLib's, for parameters that make no map
      return {};
    }
  }
  if (!std::isfinite(place[0]) || !std::isfinite(place[1]) || std::abs(place[1]) > 90) return {};
  place[0] = std::remainder(place[0], 360);
  return place;
}

}  // namespace fulmar::data
