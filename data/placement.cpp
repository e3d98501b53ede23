#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/georeference.h"
#include "data/projection.h"

namespace fulmar::data {

namespace {

using Triple = std::array<double, 3>;

constexpr double degree = std::numbers::pi / 180;

Triple direction(double longitude, double latitude) {
  const double lon = longitude * degree, lat = latitude * degree;
  return {std::cos(lat) * std::cos(lon), std::cos(lat) * std::sin(lon), std::sin(lat)};
}

// Longitude and latitude; a direction's length doesn't matter.
std::array<double, 2> angles(const Triple& d) {
  return {std::atan2(d[1], d[0]) / degree, std::atan2(d[2], std::hypot(d[0], d[1])) / degree};
}

std::array<double, 6> terms_at(double column, double row) {
  return {1, column, row, column * column, column * row, row * row};
}

// Solves for the factors of a polynomial's terms by Gauss' elimination with pivots. False where
// the points don't determine them.
bool solve(std::vector<std::vector<double>>& matrix, std::vector<Triple>& right) {
  const size_t n = right.size();
  for (size_t step = 0; step < n; step++) {
    size_t pivot = step;
    for (size_t row = step; row < n; row++)
      if (std::abs(matrix[row][step]) > std::abs(matrix[pivot][step])) pivot = row;
    if (!(std::abs(matrix[pivot][step]) > 1e-12 * static_cast<double>(n))) return false;
    std::swap(matrix[pivot], matrix[step]);
    std::swap(right[pivot], right[step]);
    for (size_t row = 0; row < n; row++) {
      if (row == step) continue;
      const double factor = matrix[row][step] / matrix[step][step];
      for (size_t k = step; k < n; k++) matrix[row][k] -= factor * matrix[step][k];
      for (size_t k = 0; k < 3; k++) right[row][k] -= factor * right[step][k];
    }
  }
  for (size_t row = 0; row < n; row++)
    for (double& value : right[row]) value /= matrix[row][row];
  return true;
}

std::vector<double> distinct(const std::vector<GroundPoint>& points, double GroundPoint::*axis) {
  std::vector<double> values;
  for (const GroundPoint& point : points) values.push_back(point.*axis);
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

size_t place_in(const std::vector<double>& values, double value) {
  return static_cast<size_t>(std::lower_bound(values.begin(), values.end(), value) -
                             values.begin());
}

// The cell of an axis that a place lies in, or is nearest to.
size_t cell_of(const std::vector<double>& edges, double value) {
  const auto above = std::upper_bound(edges.begin(), edges.end(), value) - edges.begin();
  return static_cast<size_t>(std::clamp<std::ptrdiff_t>(above - 1, 0, std::ssize(edges) - 2));
}

}  // namespace

Placement::Placement(const Georeference& georeference) : transform_(georeference.transform) {
  if (!transform_ && georeference.points.size() >= 3) use_points(georeference);
}

void Placement::use_points(const Georeference& g) {
  points_ = g.points;
  on_sphere_ = is_geographic(g);
  std::vector<Triple> values;
  for (const GroundPoint& point : points_)
    values.push_back(on_sphere_ ? direction(point.x, point.y) : Triple{point.x, point.y, 0});
  const size_t components = on_sphere_ ? 3 : 2;
  if (use_grid(values)) {
    components_ = components;
    return;
  }
  // Higher orders swing between the points.
  if (!(points_.size() >= 6 && use_polynomial(values, 6)) && !use_polynomial(values, 3)) return;
  components_ = components;
  double squares = 0;
  for (const GroundPoint& point : points_) {
    const auto [x, y] = at(point.column, point.row);
    double east = x - point.x, north = y - point.y;
    if (on_sphere_) {
      constexpr double metres_of_degree = 111195;
      east = std::remainder(east, 360) * std::cos(point.y * degree) * metres_of_degree;
      north *= metres_of_degree;
    }
    squares += east * east + north * north;
  }
  residual_ = std::sqrt(squares / static_cast<double>(points_.size()));
}

bool Placement::use_grid(const std::vector<Triple>& values) {
  columns_ = distinct(points_, &GroundPoint::column);
  rows_ = distinct(points_, &GroundPoint::row);
  const bool full =
      columns_.size() >= 2 && rows_.size() >= 2 && points_.size() == columns_.size() * rows_.size();
  std::vector<bool> there(full ? points_.size() : 0);
  grid_.assign(there.size(), Triple{});
  for (size_t i = 0; i < there.size(); i++) {
    const size_t at =
        place_in(rows_, points_[i].row) * columns_.size() + place_in(columns_, points_[i].column);
    there[at] = true;
    grid_[at] = values[i];
  }
  if (full && std::all_of(there.begin(), there.end(), [](bool is) { return is; })) return true;
  grid_.clear();
  return false;
}

bool Placement::use_polynomial(const std::vector<Triple>& values, size_t terms) {
  const auto middle = [](const std::vector<double>& v) { return (v.front() + v.back()) / 2; };
  centre_column_ = middle(columns_);
  centre_row_ = middle(rows_);
  reach_ = std::max({columns_.back() - columns_.front(), rows_.back() - rows_.front(), 1e-9}) / 2;
  std::vector<std::vector<double>> matrix(terms, std::vector<double>(terms));
  std::vector<Triple> right(terms, Triple{});
  const double share = 1 / static_cast<double>(points_.size());
  for (size_t i = 0; i < points_.size(); i++) {
    const auto term = terms_at((points_[i].column - centre_column_) / reach_,
                               (points_[i].row - centre_row_) / reach_);
    for (size_t row = 0; row < terms; row++) {
      for (size_t k = 0; k < terms; k++) matrix[row][k] += share * term[row] * term[k];
      for (size_t k = 0; k < 3; k++) right[row][k] += share * term[row] * values[i][k];
    }
  }
  if (!solve(matrix, right)) return false;
  factors_ = std::move(right);
  return true;
}

Triple Placement::components_at(double column, double row) const {
  Triple sum{};
  const auto add = [&](double factor, const Triple& values) {
    for (size_t k = 0; k < 3; k++) sum[k] += factor * values[k];
  };
  if (grid_.empty()) {
    const auto term = terms_at((column - centre_column_) / reach_, (row - centre_row_) / reach_);
    for (size_t i = 0; i < factors_.size(); i++) add(term[i], factors_[i]);
    return sum;
  }
  const size_t i = cell_of(columns_, column), k = cell_of(rows_, row), width = columns_.size();
  const double x = (column - columns_[i]) / (columns_[i + 1] - columns_[i]);
  const double y = (row - rows_[k]) / (rows_[k + 1] - rows_[k]);
  add((1 - x) * (1 - y), grid_[k * width + i]);
  add(x * (1 - y), grid_[k * width + i + 1]);
  add((1 - x) * y, grid_[(k + 1) * width + i]);
  add(x * y, grid_[(k + 1) * width + i + 1]);
  return sum;
}

std::array<double, 2> Placement::at(double column, double row) const {
  if (transform_) {
    const std::array<double, 6>& t = *transform_;
    return {t[0] + column * t[1] + row * t[2], t[3] + column * t[4] + row * t[5]};
  }
  const Triple components = components_at(column, row);
  if (on_sphere_) return angles(components);
  return {components[0], components[1]};
}

std::array<double, 4> Placement::bounds(double left, double top, double right,
                                        double bottom) const {
  // The sides are straight on the ground only with a transform.
  const int steps = transform_ ? 1 : 32;
  const double middle = on_sphere_ ? at((left + right) / 2, (top + bottom) / 2)[0] : 0;
  double west = HUGE_VAL, south = HUGE_VAL, east = -HUGE_VAL, north = -HUGE_VAL;
  double turned = 0, before = 0;  // longitude along the border
  for (int i = 0; i <= 4 * steps; i++) {
    const int side = i / steps % 4;
    const double share = static_cast<double>(i % steps) / steps;
    const double columns[] = {left + share * (right - left), right, right - share * (right - left),
                              left};
    const double rows[] = {top, top + share * (bottom - top), bottom,
                           bottom - share * (bottom - top)};
    auto [x, y] = at(columns[side], rows[side]);
    if (on_sphere_) x = middle + std::remainder(x - middle, 360);
    if (on_sphere_ && i > 0) turned += std::remainder(x - before, 360);
    before = x;
    west = std::min(west, x);
    east = std::max(east, x);
    south = std::min(south, y);
    north = std::max(north, y);
  }
  if (!on_sphere_) return {west, south, east, north};
  // Once round is round a pole.
  if (std::abs(turned) > 180)
    return north > 0 ? std::array<double, 4>{-180, south, 180, 90}
                     : std::array<double, 4>{-180, -90, 180, north};
  return {std::remainder(west, 360), south, std::remainder(east, 360), north};
}

}  // namespace fulmar::data
