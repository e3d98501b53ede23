#include "data/scenes/parameters.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/scenes/dice.h"
#include "data/scenes/noise.h"
#include "data/scenes/surface.h"
#include "kernels/error.h"

namespace fulmar::data {
namespace scenes {

namespace {

constexpr double pi = 3.14159265358979323846;

// A share whose mean is `mean` (at most 0.4): none in some scenes, much in a few.
double draw_share(Dice& dice, double mean) {
  const double some = std::min(1.0, 0.5 + mean);
  const bool any = dice.chance(some);
  const double share = dice.uniform(0, 2 * mean / some);
  return any ? share : 0;
}

struct Shares {
  double outside = 0, land = 0, ice = 0;
};

// Shares that leave a third of the scene for open water.
Shares draw_shares(Dice& dice, const SceneOptions& options) {
  for (;;) {
    Shares shares;
    shares.outside = draw_share(dice, options.swath_edge);
    shares.land = draw_share(dice, options.land);
    shares.ice = draw_share(dice, options.ice);
    if ((1 - shares.outside) * (1 - shares.land) * (1 - shares.ice) > 1.0 / 3) return shares;
  }
}

// The value that `share` of a field's values over the scene exceed.
template <typename Field>
double upper_quantile(const SceneParameters& scene, double share, const Field& field) {
  if (share <= 0) return 1e9;
  constexpr int side = 48;
  std::vector<double> values;
  for (int row = 0; row < side; row++)
    for (int column = 0; column < side; column++) {
      const double x = ((column + 0.5) / side - 0.5) * scene.extent();
      const double y = ((row + 0.5) / side - 0.5) * scene.extent();
      const double value = field(x, y);
      if (value > -1e8) values.push_back(value);
    }
  if (values.empty()) return 1e9;
  const auto place = static_cast<std::ptrdiff_t>((1 - share) * static_cast<double>(values.size()));
  std::nth_element(values.begin(), values.begin() + place, values.end());
  return values[static_cast<size_t>(place)];
}

Swath draw_swath(Dice& dice, double extent, double outside) {
  Swath swath;
  // Ascending passes head north by west, descending ones south by west.
  const double lean = dice.uniform(6, 22) * pi / 180;
  const bool ascending = dice.chance(0.5);
  swath.heading = ascending ? -pi / 2 - lean : pi / 2 + lean;
  const bool one_sided = dice.chance(0.7), on_the_left = dice.chance(0.5);
  const double somewhere = dice.uniform(0, 1);
  const double left = one_sided ? (on_the_left ? 1 : 0) : somewhere;
  const double reach = 0.5 * extent;  // of the scene's middle row, about
  swath.near = -reach + left * outside * extent;
  swath.far = reach - (1 - left) * outside * extent;
  // An edge that is not to be seen lies beyond the corners.
  if (left * outside == 0) swath.near = -1.5 * reach;
  if ((1 - left) * outside == 0) swath.far = 1.5 * reach;
  const bool ends = dice.chance(0.2), begins = dice.chance(0.5);
  const double end = dice.uniform(0.55, 0.95) * reach;
  if (outside > 0 && ends) (begins ? swath.start : swath.stop) = begins ? -end : end;
  const bool wide = dice.chance(0.6);  // the extra wide mode has five sub-swaths, the other three
  swath.subswaths = wide ? 5 : 3;
  swath.near_incidence = wide ? dice.uniform(20, 26) : 30;
  swath.far_incidence = wide ? 46.5 : 45.5;
  for (int i = 0; i < swath.subswaths; i++) swath.gain.push_back(dice.uniform(-0.35, 0.35));
  swath.noise_floor = dice.uniform(-40, -36);
  const bool interfered = dice.chance(0.08);
  swath.interference = std::pow(10, dice.uniform(-2.9, -2.3));
  if (!interfered) swath.interference = 0;
  swath.interference_at = dice.uniform(-0.4, 0.4) * extent;
  return swath;
}

// Share of the vortex's disc that shows water.
double visible_share(const SceneParameters& scene, const Vortex& vortex, double view) {
  constexpr int side = 13;
  const double reach = 0.5 * view * scene.extent();
  int disc = 0, seen = 0;
  for (int row = 0; row < side; row++)
    for (int column = 0; column < side; column++) {
      const double u = 2 * (column + 0.5) / side - 1, v = 2 * (row + 0.5) / side - 1;
      if (u * u + v * v > 1) continue;
      disc++;
      const double x = vortex.x + 1.5 * vortex.radius * u, y = vortex.y + 1.5 * vortex.radius * v;
      if (std::abs(x) < reach && std::abs(y) < reach && inside(scene.swath, x, y) &&
          height_at(scene, x, y) <= 0 && ice_at(scene, x, y) <= 0)
        seen++;
    }
  return static_cast<double>(seen) / disc;
}

Vortex draw_vortex(Dice& dice, const SceneParameters& scene, const SceneOptions& options) {
  Vortex vortex;
  const double extent = options.extent();
  // Polar lows have diameters of 200 to 600 km; what radar shows of them reaches two radii of the
  // strongest wind. In scenes of a smaller extent they are smaller.
  const double largest = std::min(115.0, 0.15 * extent);
  vortex.radius = dice.uniform(0.5 * largest, largest);
  vortex.strength = dice.uniform(0.9, 1.5);
  vortex.turn = dice.uniform(3.5, 6);
  vortex.inflow = dice.uniform(0.25, 0.6);
  // The first place that shows enough of it, else the best of them.
  const double reach = 0.5 * options.network_view * extent - 0.35 * vortex.radius;
  const double enough = dice.uniform(0.6, 0.95);
  Vortex best = vortex;
  best.visible = -1;
  for (int attempt = 0; attempt < 40 && best.visible < enough; attempt++) {
    vortex.x = dice.uniform(-reach, reach);
    vortex.y = dice.uniform(-reach, reach);
    vortex.visible = visible_share(scene, vortex, options.network_view);
    if (vortex.visible > best.visible) best = vortex;
  }
  return best;
}

Front draw_front(Dice& dice, double x, double y, double extent) {
  Front front;
  front.x = x;
  front.y = y;
  front.angle = dice.uniform(0, 2 * pi);
  front.curvature = dice.uniform(-1, 1) / (1.2 * extent);
  const double step = dice.uniform(0.18, 0.5);
  front.step = dice.chance(0.5) ? step : -0.7 * step;
  front.width = dice.uniform(0.06, 0.2) * extent;
  front.length = dice.uniform(0.35, 0.9) * extent;
  return front;
}

// Swath, land and ice, and the place of a vortex among them.
void draw_surroundings(Dice& dice, const SceneOptions& options, const Shares& shares,
                       SceneParameters& scene) {
  const double extent = options.extent();
  scene.swath = draw_swath(dice, extent, shares.outside);
  scene.land_tilt = dice.uniform(0, 2 * pi);
  scene.land_scale = dice.uniform(0.25, 0.6) * extent;
  scene.relief = dice.uniform(0.4, 1.5);
  scene.snow = dice.uniform(-2, 2);
  scene.land_share = shares.land;
  scene.land_level = upper_quantile(scene, scene.land_share,
                                    [&](double x, double y) { return ground_at(scene, x, y); });
  scene.ice_tilt = dice.uniform(0, 2 * pi);
  scene.ice_scale = dice.uniform(0.25, 0.5) * extent;
  scene.ice_share = shares.ice;
  scene.ice_level = upper_quantile(scene, scene.ice_share, [&](double x, double y) {
    return height_at(scene, x, y) > 0 ? -1e9 : cold_at(scene, x, y);
  });
  scene.vortex = draw_vortex(dice, scene, options);
}

void check_options(const SceneOptions& options) {
  const auto share = [](double value) { return value >= 0 && value <= 0.4; };
  if (options.size < 32)
    usage_error("a scene's side of " + std::to_string(options.size) + " pixels is less than 32");
  if (!(options.extent() >= 50 && options.extent() <= 3000))
    usage_error("a scene of " + std::to_string(options.size) + " pixels of " +
                std::to_string(static_cast<int64_t>(options.resolution)) +
                " m is outside 50 to 3000 km; change --size or --resolution");
  if (!share(options.swath_edge) || !share(options.land) || !share(options.ice))
    usage_error("the mean shares of swath edge, land and ice lie within 0 and 0.4");
}

}  // namespace

SceneParameters draw_scene(uint64_t seed, const SceneOptions& options, double amplitude) {
  check_options(options);
  Dice dice(seed);
  SceneParameters scene;
  scene.seed = seed;
  scene.size = options.size;
  scene.resolution = options.resolution;
  const double extent = options.extent();

  // Where there is no room to show a vortex, swath, land and ice are laid out anew, as much of each
  // as before, for either class.
  const Shares shares = draw_shares(dice, options);
  for (int attempt = 0; attempt < 24; attempt++) {
    draw_surroundings(dice, options, shares, scene);
    if (scene.vortex.visible >= 0.55) break;
  }
  // 60 looks in 500 m pixels; averaging to larger ones gives more.
  scene.looks = dice.uniform(40, 80) * std::pow(options.resolution / 500, 2);

  scene.wind_speed = dice.uniform(6, 17);
  scene.wind_spread = dice.uniform(0.16, 0.34);
  scene.wind_direction = dice.uniform(0, 2 * pi);
  scene.veer = dice.uniform(0.08, 0.3);
  scene.bands = dice.uniform(0.03, 0.13);
  scene.streaks = dice.uniform(0.02, 0.07);
  scene.streak_spacing = dice.uniform(1.6, 3.5);
  const bool convective = dice.chance(0.45);
  scene.convection = dice.uniform(0.08, 0.25);
  if (!convective) scene.convection = 0;
  scene.convection_size = dice.uniform(18, 45);

  scene.vortex.amplitude = amplitude;
  // One front ends where the vortex is or would be, the others anywhere.
  const Vortex& vortex = scene.vortex;
  const double front_x = vortex.x + dice.uniform(-0.3, 0.3) * vortex.radius;
  const double front_y = vortex.y + dice.uniform(-0.3, 0.3) * vortex.radius;
  scene.fronts.push_back(draw_front(dice, front_x, front_y, extent));
  for (int64_t i = dice.integer(0, 2); i > 0; i--) {
    const double x = dice.uniform(-0.4, 0.4) * extent, y = dice.uniform(-0.4, 0.4) * extent;
    scene.fronts.push_back(draw_front(dice, x, y, extent));
  }
  const int64_t cells = dice.chance(0.5) ? dice.integer(2, 14) : 0;
  for (int64_t i = 0; i < cells; i++) {
    RainCell cell;
    cell.x = dice.uniform(-0.5, 0.5) * extent;
    cell.y = dice.uniform(-0.5, 0.5) * extent;
    cell.radius = dice.uniform(4, 18);
    cell.strength = dice.uniform(0.15, 0.5);
    scene.rain.push_back(cell);
  }
  return scene;
}

std::string SceneParameters::to_json() const {
  using Json = nlohmann::ordered_json;
  Json fronts_json = Json::array(), rain_json = Json::array();
  for (const Front& f : fronts)
    fronts_json.push_back({{"x_km", f.x},
                           {"y_km", f.y},
                           {"angle", f.angle},
                           {"curvature_per_km", f.curvature},
                           {"step", f.step},
                           {"width_km", f.width},
                           {"length_km", f.length}});
  for (const RainCell& c : rain)
    rain_json.push_back(
        {{"x_km", c.x}, {"y_km", c.y}, {"radius_km", c.radius}, {"strength", c.strength}});
  const Json vortex_json = {
      {"amplitude", vortex.amplitude}, {"x_km", vortex.x},       {"y_km", vortex.y},
      {"column", pixel(vortex.x)},     {"row", pixel(vortex.y)}, {"radius_km", vortex.radius},
      {"strength", vortex.strength},   {"turn", vortex.turn},    {"inflow", vortex.inflow},
      {"visible", vortex.visible}};
  const Json swath_json = {{"heading", swath.heading},
                           {"near_km", swath.near},
                           {"far_km", swath.far},
                           {"start_km", std::max(swath.start, -extent())},
                           {"stop_km", std::min(swath.stop, extent())},
                           {"near_incidence_degrees", swath.near_incidence},
                           {"far_incidence_degrees", swath.far_incidence},
                           {"subswaths", swath.subswaths},
                           {"gain_db", swath.gain},
                           {"noise_floor_db", swath.noise_floor},
                           {"interference_sigma0", swath.interference},
                           {"interference_at_km", swath.interference_at}};
  const Json land_json = {{"share", land_share},    {"level", land_level}, {"tilt", land_tilt},
                          {"scale_km", land_scale}, {"relief", relief},    {"brightness_db", snow}};
  const Json ice_json = {
      {"share", ice_share}, {"level", ice_level}, {"tilt", ice_tilt}, {"scale_km", ice_scale}};
  const Json wind_json = {{"speed_ms", wind_speed},
                          {"spread", wind_spread},
                          {"direction", wind_direction},
                          {"veer", veer},
                          {"bands", bands},
                          {"streaks", streaks},
                          {"streak_spacing_km", streak_spacing},
                          {"convection", convection},
                          {"convection_size_km", convection_size}};
  const Json json = {{"seed", std::to_string(seed)},  // 64 bits: more than JSON's readers keep
                     {"size", size},
                     {"resolution_m", resolution},
                     {"vortex", vortex_json},
                     {"wind", wind_json},
                     {"fronts", fronts_json},
                     {"rain", rain_json},
                     {"swath", swath_json},
                     {"land", land_json},
                     {"ice", ice_json},
                     {"looks", looks}};
  return json.dump(2) + "\n";
}

}  // namespace scenes
}  // namespace fulmar::data
