#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fulmar::data {

// A place of the picture (pixels from the top left corner of its first pixel) and where it lies on
// the ground, in the units of the reference system.
struct GroundPoint {
  double column = 0, row = 0;
  double x = 0, y = 0, z = 0;
};

// Where a picture lies on the ground.
struct Georeference {
  // Of the reference system in the EPSG register; 0: none is given, or it is described in the keys
  // alone.
  int epsg = 0;
  // GDAL's order: x = t[0] + column t[1] + row t[2], y = t[3] + column t[4] + row t[5], columns and
  // rows counted from the top left corner of the first pixel.
  std::optional<std::array<double, 6>> transform;
  std::vector<GroundPoint> points;  // ground control points, where there is no transform

  // The file's own description of the system, GeoTIFF's tags 34735 to 34737, kept as it is: a
  // picture written with it has the same, user-defined systems included.
  std::vector<uint16_t> geo_keys;
  std::vector<double> geo_doubles;
  std::string geo_ascii;

  bool empty() const { return geo_keys.empty() && !transform && points.empty(); }
  // The position given is that of a pixel's centre (GeoTIFF's RasterPixelIsPoint); `transform` and
  // `points` count from corners all the same.
  bool pixel_is_point() const;
  // The value of a GeoKey that holds a number; 0 where it is not there.
  int key(uint16_t id) const;
  // What `epsg` is by the keys.
  int epsg_of_keys() const;
};

enum class EarthModel { projected, geographic };

// A picture in a system of the EPSG register, whose first pixel's corner is at (x, y), with pixels
// of `width` x `height` units, rows going down (towards smaller y).
Georeference make_georeference(EarthModel model, int epsg, double x, double y, double width,
                               double height);

// The smallest box, in the system's units, around a picture of these extents: x and y of its lower
// left, then of its upper right corner. Nothing without a transform.
std::optional<std::array<double, 4>> bounds_of(const Georeference& georeference, int64_t height,
                                               int64_t width);

}  // namespace fulmar::data
