#include "data/scenes/wind.h"

#include <algorithm>
#include <cmath>

#include "data/scenes/noise.h"

namespace fulmar::data::scenes {

namespace {

struct Vector {
  double x = 0, y = 0;
};

// The wind that the vortex is put into.
Vector background(const SceneParameters& scene, double x, double y) {
  const double scale = 0.35 * scene.extent();
  const double veer = 3 * scene.veer * fractal(scene.field_seed(50), x / scale, y / scale, 2);
  const double speed =
      1 + 0.45 * fractal(scene.field_seed(51), 1.3 * x / scale, 1.3 * y / scale, 2);
  const double direction = scene.wind_direction + veer;
  return {speed * std::cos(direction), speed * std::sin(direction)};
}

// Wind of the vortex relative to the scene's mean, after the Rankine-like profile 2 s / (1 + s^2)
// (Vatistas' vortex of n = 1), s = r / radius, fading out from three radii on; turned towards the
// eye by the inflow. Counterclockwise on the map: cyclonic in the north.
Vector swirl(const Vortex& vortex, double dx, double dy) {
  const double r = std::hypot(dx, dy);
  if (r == 0) return {};
  const double s = r / vortex.radius;
  const double speed =
      vortex.amplitude * vortex.strength * 2 * s / (1 + s * s) * std::exp(-std::pow(s / 3.2, 4));
  const double around_x = dy / r, around_y = -dx / r;
  const double c = std::cos(vortex.inflow), i = -std::sin(vortex.inflow);
  return {speed * (c * around_x + i * dx / r), speed * (c * around_y + i * dy / r)};
}

// Where the air at a place was before the vortex turned it.
Vector before(const Vortex& vortex, double x, double y) {
  const double dx = x - vortex.x, dy = y - vortex.y, r = std::hypot(dx, dy);
  const double turn = vortex.amplitude * vortex.turn * std::exp(-r / (1.1 * vortex.radius));
  const double c = std::cos(turn), s = std::sin(turn);
  return {vortex.x + c * dx - s * dy, vortex.y + s * dx + c * dy};
}

// Relative change of the wind's speed by a front.
double change_by(const Front& front, const Vector& at, double blur) {
  const double dx = at.x - front.x, dy = at.y - front.y;
  const double c = std::cos(front.angle), s = std::sin(front.angle);
  const double along = c * dx + s * dy;
  const double behind = -s * dx + c * dy - 0.5 * front.curvature * along * along;
  const double fade = smoothstep(-0.12 * front.length, 0.06 * front.length, along) *
                      smoothstep(front.length, 0.55 * front.length, along);
  if (fade == 0) return 0;
  const double edge = smoothstep(-blur, blur, behind);
  const double line = -0.35 * std::exp(-std::pow(behind / (2 * blur), 2));  // calm air at the line
  return fade * front.step *
         (edge * std::exp(-std::max(0.0, behind) / front.width) + (front.step > 0 ? line : 0));
}

// A downdraught: strong wind where it meets the sea's air, weak within.
double change_by(const RainCell& cell, double s) {
  if (s > 3) return 0;
  return cell.strength *
         (std::exp(-std::pow((s - 1) / 0.3, 2)) - 0.8 * std::exp(-std::pow(s / 0.75, 2)));
}

// Open cells: weak wind in each, gusts along their borders.
double convection_at(const SceneParameters& scene, const Vector& at) {
  if (scene.convection == 0) return 0;
  const double size = scene.convection_size;
  const double where =
      smoothstep(-0.15, 0.3, noise(scene.field_seed(52), at.x / (6 * size), at.y / (6 * size)));
  if (where == 0) return 0;
  const double bend = 0.3 * noise(scene.field_seed(53), 2 * at.x / size, 2 * at.y / size);
  const Cell cell = cell_at(scene.field_seed(54), at.x / size + bend, at.y / size - bend);
  return where * scene.convection * (std::exp(-cell.border() / 0.12) * 1.6 - 0.5);
}

class Painter {
 public:
  Painter(const SceneParameters& scene, const std::vector<Cover>& cover)
      : scene_(scene), cover_(cover), grid_(scene) {}

  Wind paint() {
    const auto pixels = grid_.pixels();
    wind_.speed.resize(pixels);
    wind_.direction.resize(pixels);
    wind_.rain.resize(pixels);
    for (int64_t row = 0; row < grid_.size; row++)
      for (int64_t column = 0; column < grid_.size; column++)
        if (blows(grid_.index(row, column))) paint_air(row, column);
    scale_speed();
    shelter();
    streak();
    return std::move(wind_);
  }

 private:
  bool blows(size_t i) const { return cover_[i] == Cover::water || cover_[i] == Cover::ice; }

  void paint_air(int64_t row, int64_t column) {
    const double x = grid_.place(column), y = grid_.place(row);
    const Vortex& vortex = scene_.vortex;
    const Vector at = before(vortex, x, y);
    Vector wind = background(scene_, x, y);
    // The eye is calm: the wind around it gives way.
    const double s = std::hypot(x - vortex.x, y - vortex.y) / vortex.radius;
    const double calm = 1 - vortex.amplitude * std::exp(-s * s / 0.5);
    const Vector around = swirl(vortex, x - vortex.x, y - vortex.y);
    wind = {wind.x * calm + around.x, wind.y * calm + around.y};
    double change = 3 * scene_.bands * fractal(scene_.field_seed(55), at.x / 90, at.y / 90, 4);
    const double blur = std::max(0.8, 0.75 * grid_.km);
    for (const Front& front : scene_.fronts) change += change_by(front, at, blur);
    double rain = 0;
    for (const RainCell& cell : scene_.rain) {
      if (std::abs(x - cell.x) > 4 * cell.radius || std::abs(y - cell.y) > 4 * cell.radius)
        continue;
      // No cell is round.
      const double shape =
          1 + 0.9 * fractal(scene_.field_seed(57), 0.7 * x / cell.radius, 0.7 * y / cell.radius, 3);
      const double r = std::hypot(x - cell.x, y - cell.y) / (cell.radius * std::max(0.2, shape));
      change += change_by(cell, r);
      rain += std::exp(-r * r / 0.4) * cell.strength * 2;
    }
    change += convection_at(scene_, at);
    const size_t i = grid_.index(row, column);
    wind_.speed[i] = static_cast<float>(std::hypot(wind.x, wind.y) * std::max(0.1, 1 + change));
    wind_.direction[i] = static_cast<float>(std::atan2(wind.y, wind.x));
    wind_.rain[i] = static_cast<float>(std::min(1.0, rain));
  }

  // The mean and the spread over what is seen are what was drawn for the scene, whatever blows
  // there: a vortex moves the wind about and adds none, so that brightness tells nothing of it.
  void scale_speed() {
    double sum = 0, squares = 0;
    int64_t count = 0;
    for (size_t i = 0; i < cover_.size(); i++) {
      if (!blows(i)) continue;
      sum += wind_.speed[i];
      squares += double{wind_.speed[i]} * wind_.speed[i];
      count++;
    }
    if (count == 0) return;
    const double mean = sum / static_cast<double>(count);
    const double spread =
        std::sqrt(std::max(1e-12, squares / static_cast<double>(count) - mean * mean));
    for (size_t i = 0; i < cover_.size(); i++) {
      if (!blows(i)) continue;
      const double relative = 1 + scene_.wind_spread * (wind_.speed[i] - mean) / spread;
      wind_.speed[i] = static_cast<float>(std::clamp(scene_.wind_speed * relative, 0.8, 32.0));
    }
  }

  // Weaker wind in the lee of land, on a coarse grid.
  void shelter() {
    if (scene_.land_share <= 0) return;
    const int64_t step = std::max<int64_t>(1, static_cast<int64_t>(std::lround(4 / grid_.km)));
    const int64_t side = (grid_.size + step - 1) / step;
    std::vector<float> lee(static_cast<size_t>(side * side));
    for (int64_t row = 0; row < side; row++)
      for (int64_t column = 0; column < side; column++) {
        const int64_t r = std::min(grid_.size - 1, row * step),
                      c = std::min(grid_.size - 1, column * step);
        if (!blows(grid_.index(r, c))) continue;
        const double towards = wind_.direction[grid_.index(r, c)];
        double shade = 0;
        for (double distance = 0; distance < 70; distance += 4) {
          const auto from_r = static_cast<int64_t>(
              std::lround(static_cast<double>(r) - distance * std::sin(towards) / grid_.km));
          const auto from_c = static_cast<int64_t>(
              std::lround(static_cast<double>(c) - distance * std::cos(towards) / grid_.km));
          if (from_r < 0 || from_r >= grid_.size || from_c < 0 || from_c >= grid_.size) break;
          if (cover_[grid_.index(from_r, from_c)] == Cover::land) {
            shade = std::exp(-distance / 25);
            break;
          }
        }
        lee[static_cast<size_t>(row * side + column)] = static_cast<float>(shade);
      }
    for (int64_t row = 0; row < grid_.size; row++)
      for (int64_t column = 0; column < grid_.size; column++) {
        const double v = static_cast<double>(row) / static_cast<double>(step);
        const double u = static_cast<double>(column) / static_cast<double>(step);
        const auto r = std::min(side - 1, static_cast<int64_t>(v));
        const auto c = std::min(side - 1, static_cast<int64_t>(u));
        const auto at = [&](int64_t y, int64_t x) {
          return lee[static_cast<size_t>(std::min(y, side - 1) * side + std::min(x, side - 1))];
        };
        const double a = between(at(r, c), at(r, c + 1), u - static_cast<double>(c));
        const double b = between(at(r + 1, c), at(r + 1, c + 1), u - static_cast<double>(c));
        wind_.speed[grid_.index(row, column)] *=
            static_cast<float>(1 - 0.5 * between(a, b, v - static_cast<double>(r)));
      }
  }

  // Streaks: noise averaged along the wind's lines (Cabral & Leedom, "Imaging vector fields using
  // line integral convolution", SIGGRAPH 1993).
  void streak() {
    const double spacing = std::max(scene_.streak_spacing, 1.5 * grid_.km);
    const uint32_t seed = scene_.field_seed(56);
    std::vector<float> grain(wind_.speed.size()), cosine(grain.size()), sine(grain.size());
    for (int64_t row = 0; row < grid_.size; row++)
      for (int64_t column = 0; column < grid_.size; column++) {
        const size_t i = grid_.index(row, column);
        if (!blows(i)) continue;
        grain[i] = static_cast<float>(
            fractal(seed, grid_.place(column) / spacing, grid_.place(row) / spacing, 2));
        cosine[i] = std::cos(wind_.direction[i]);
        sine[i] = std::sin(wind_.direction[i]);
      }
    const double reach = 8 * spacing;  // km each way
    const auto steps = static_cast<int>(std::clamp(reach / grid_.km / 1.5, 6.0, 48.0));
    const auto stride = static_cast<float>(reach / grid_.km / steps);
    const auto sum_along = [&](int64_t row, int64_t column, float sign, int& count) {
      float x = static_cast<float>(column) + 0.5f, y = static_cast<float>(row) + 0.5f, sum = 0;
      size_t i = grid_.index(row, column);
      for (int step = 0; step < steps; step++) {
        x += sign * cosine[i];
        y += sign * sine[i];
        if (x < 0 || y < 0) break;
        const auto c = static_cast<int64_t>(x), r = static_cast<int64_t>(y);
        if (c >= grid_.size || r >= grid_.size || !blows(grid_.index(r, c))) break;
        i = grid_.index(r, c);
        sum += grain[i];
        count++;
      }
      return sum;
    };
    std::vector<float> streaks(grain.size());
    double squares = 0;
    for (int64_t row = 0; row < grid_.size; row++)
      for (int64_t column = 0; column < grid_.size; column++) {
        const size_t i = grid_.index(row, column);
        if (!blows(i)) continue;
        int count = 1;
        float sum = grain[i] + sum_along(row, column, stride, count);
        sum = (sum + sum_along(row, column, -stride, count)) / std::sqrt(static_cast<float>(count));
        streaks[i] = sum;
        squares += double{sum} * sum;
      }
    const double unit = std::sqrt(squares / static_cast<double>(grain.size())) + 1e-9;
    // They come and go over some 40 km.
    for (int64_t row = 0; row < grid_.size; row++)
      for (int64_t column = 0; column < grid_.size; column++) {
        const size_t i = grid_.index(row, column);
        if (!blows(i)) continue;
        const double here =
            smoothstep(-0.5, 0.6, noise(seed + 1, grid_.place(column) / 40, grid_.place(row) / 40));
        wind_.speed[i] *= static_cast<float>(std::max(
            0.3, 1 + 1.6 * here * scene_.streaks * static_cast<double>(streaks[i]) / unit));
      }
  }

  const SceneParameters& scene_;
  const std::vector<Cover>& cover_;
  Grid grid_;
  Wind wind_;
};

}  // namespace

Wind wind_of(const SceneParameters& scene, const std::vector<Cover>& cover) {
  return Painter(scene, cover).paint();
}

}  // namespace fulmar::data::scenes
