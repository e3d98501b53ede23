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
  // The same of one that holds a real number, in geo_doubles.
  std::optional<double> real_key(uint16_t id) const;
  // The EPSG code that the keys give.
  int epsg_of_keys() const;
};

enum class EarthModel { projected, geographic };

// A picture in a system of the EPSG register, whose first pixel's corner is at (x, y), with pixels
// of `width` x `height` units, rows going down (towards smaller y).
Georeference make_georeference(EarthModel model, int epsg, double x, double y, double width,
                               double height);

// Places of a picture in the system's units, by its transform or through its control points.
// Where these form a grid, as in raw Sentinel-1 products, places between them are interpolated
// bilinearly; else a polynomial is fitted to them by least squares, of second order from six points
// on, as GDAL does. Of longitude and latitude the directions from the Earth's centre are
// interpolated, so that neither a pole nor the 180th meridian is in the way.
class Placement {
 public:
  explicit Placement(const Georeference& georeference);

  // Whether there is anything to go by: a transform, or three control points not on a line.
  explicit operator bool() const { return transform_ || components_ > 0; }
  // x and y of a place in pixels from the picture's corner.
  std::array<double, 2> at(double column, double row) const;
  // The smallest box around a part of the picture: x and y of its lower left, then of its upper
  // right corner. A box across the 180th meridian begins in the east (RFC 7946, 5.2) where control
  // points give it.
  std::array<double, 4> bounds(double left, double top, double right, double bottom) const;
  // How far control points are from where this places them, root mean square: metres (degrees on
  // the ground, 111 km each); 0 on a grid.
  double residual() const { return residual_; }

 private:
  void use_points(const Georeference& georeference);
  bool use_grid(const std::vector<std::array<double, 3>>& values);
  bool use_polynomial(const std::vector<std::array<double, 3>>& values, size_t terms);
  std::array<double, 3> components_at(double column, double row) const;

  std::optional<std::array<double, 6>> transform_;
  std::vector<GroundPoint> points_;
  bool on_sphere_ = false;                      // components are a direction, else x and y
  size_t components_ = 0;                       // 3 or 2; 0: nothing to go by
  std::vector<double> columns_, rows_;          // of the grid
  std::vector<std::array<double, 3>> grid_;     // row after row
  std::vector<std::array<double, 3>> factors_;  // of the polynomial's terms
  double centre_column_ = 0, centre_row_ = 0, reach_ = 1;  // its columns and rows are about 1
  double residual_ = 0;
};

}  // namespace fulmar::data
