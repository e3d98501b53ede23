#include "tools/run/ground_area.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "data/projection.h"

namespace fulmar::tools {
namespace {

using Point = std::array<double, 3>;

constexpr int64_t block = 32;
constexpr double radius = 6371.0088;  // km: (2a + b) / 3 of WGS 84

std::optional<Point> direction(const data::Placement& placement, const data::Georeference& place,
                               double column, double row) {
  const auto [x, y] = placement.at(column, row);
  const auto found = data::longitude_latitude(place, x, y);
  if (!found) return {};
  const double longitude = (*found)[0] * std::numbers::pi / 180,
               latitude = (*found)[1] * std::numbers::pi / 180;
  return Point{std::cos(latitude) * std::cos(longitude), std::cos(latitude) * std::sin(longitude),
               std::sin(latitude)};
}

// Of a pixel there: the parallelogram of the ways to its neighbours.
std::optional<double> pixel_area(const data::Placement& placement, const data::Georeference& place,
                                 double column, double row) {
  const auto here = direction(placement, place, column, row);
  const auto right = direction(placement, place, column + 1, row);
  const auto below = direction(placement, place, column, row + 1);
  if (!here || !right || !below) return {};
  Point a{}, b{};
  for (size_t i = 0; i < 3; i++) {
    a[i] = (*right)[i] - (*here)[i];
    b[i] = (*below)[i] - (*here)[i];
  }
  const double area =
      std::hypot(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]);
  return area * radius * radius;
}

}  // namespace

std::optional<std::vector<double>> class_areas(const SceneMap& map, size_t task, size_t classes,
                                               const data::Georeference& place) {
  const data::Placement placement(place);
  if (!placement) return {};
  std::vector<double> areas(classes, 0.0);
  for (int64_t top = 0; top < map.height; top += block)
    for (int64_t left = 0; left < map.width; left += block) {
      const int64_t bottom = std::min(top + block, map.height),
                    right = std::min(left + block, map.width);
      const auto pixel = pixel_area(placement, place, static_cast<double>(left + right - 1) / 2,
                                    static_cast<double>(top + bottom - 1) / 2);
      if (!pixel) return {};
      for (int64_t y = top; y < bottom; y++)
        for (int64_t x = left; x < right; x++) {
          const uint8_t k = map.tasks[task][static_cast<size_t>(y * map.width + x)];
          if (k < classes) areas[k] += *pixel;
        }
    }
  return areas;
}

}  // namespace fulmar::tools
