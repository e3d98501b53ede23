#include "data/scenes/surface.h"

#include <cmath>

#include "data/scenes/noise.h"

namespace fulmar::data::scenes {

namespace {

double tilted(const SceneParameters& scene, double tilt, double x, double y) {
  return 1.1 * (x * std::cos(tilt) + y * std::sin(tilt)) / scene.extent();
}

}  // namespace

double ground_at(const SceneParameters& scene, double x, double y) {
  const double scale = scene.land_scale;
  return tilted(scene, scene.land_tilt, x, y) +
         0.9 * fractal(scene.field_seed(1), x / scale, y / scale, 9, 0.56);
}

double cold_at(const SceneParameters& scene, double x, double y) {
  const double scale = scene.ice_scale;
  // Eddies of the ice edge: the places are shifted before the field is looked up.
  const double dx = 14 * noise(scene.field_seed(3), x / 45, y / 45);
  const double dy = 14 * noise(scene.field_seed(4), x / 45, y / 45);
  return tilted(scene, scene.ice_tilt, x, y) +
         0.5 * fractal(scene.field_seed(2), (x + dx) / scale, (y + dy) / scale, 6, 0.5);
}

double height_at(const SceneParameters& scene, double x, double y) {
  return ground_at(scene, x, y) - scene.land_level;
}

double ice_at(const SceneParameters& scene, double x, double y) {
  return cold_at(scene, x, y) - scene.ice_level;
}

double mountains_at(const SceneParameters& scene, double x, double y, double height) {
  const double rise = smoothstep(-0.02, 0.3, height);
  const double massif = smoothstep(-0.35, 0.45, fractal(scene.field_seed(5), x / 110, y / 110, 2));
  const double valleys = ridges(scene.field_seed(6), x / 26, y / 26, 6);
  const double hills = 0.5 + 0.5 * fractal(scene.field_seed(12), x / 14, y / 14, 5, 0.55);
  return scene.relief * rise * (2100 * massif * valleys + 260 * hills);
}

Backscatter land_backscatter(const SceneParameters& scene, double x, double y, double height,
                             double metres) {
  const double cover = fractal(scene.field_seed(7), x / 16, y / 16, 6, 0.65);
  const double forest = smoothstep(-0.3, 0.3, fractal(scene.field_seed(8), x / 70, y / 70, 3));
  Backscatter s;
  s.vv = -11 + scene.snow + 1.6 * forest + 1.8 * cover;
  s.vh = s.vv - 8.4 + 0.8 * cover;
  // Lakes lie low and inland.
  const double low = smoothstep(700, 150, metres);
  const double lakes = fractal(scene.field_seed(9), x / 17, y / 17, 4);
  if (height > 0.06 && lakes > 0.78 && low > 0.3) return {-20, -30};
  // Towns lie low and near the coast; their corners are bright.
  const double town = smoothstep(0.3, 0.8, noise(scene.field_seed(10), x / 26, y / 26)) * low *
                      smoothstep(0.45, 0.1, height);
  const double houses = smoothstep(-0.1, 0.6, fractal(scene.field_seed(11), x / 3, y / 3, 2));
  s.vv += 9 * town * houses;
  s.vh += 11 * town * houses;
  return s;
}

Ice ice_cover(const SceneParameters& scene, double x, double y, double inside) {
  // From the edge inwards: loose floes, close floes, pack ice that leads cut.
  const double concentration = smoothstep(-0.01, 0.11, inside) * 0.97;
  const double patches = fractal(scene.field_seed(40), x / 55, y / 55, 5, 0.6);
  const double ridged = fractal(scene.field_seed(41), x / 4, y / 4, 4, 0.65);
  double age = patches, pack = smoothstep(0.75, 0.95, concentration);
  Ice ice;
  // Leads: where a wandering field passes through zero, in bundles of one direction.
  const double bend_x = x + 9 * noise(scene.field_seed(42), x / 30, y / 30);
  const double bend_y = y + 9 * noise(scene.field_seed(43), x / 30, y / 30);
  const double c = std::cos(scene.ice_tilt + 0.9), s = std::sin(scene.ice_tilt + 0.9);
  const double lead = fractal(scene.field_seed(44), (c * bend_x + s * bend_y) / 60,
                              (-s * bend_x + c * bend_y) / 24, 3, 0.6);
  const double width = 0.012 + 0.03 * smoothstep(-0.1, 0.5, patches);
  const bool cracked = std::abs(lead) < width;
  constexpr double sizes[] = {19, 7, 2.6};  // km, of floes
  bool covered = false;
  for (uint32_t i = 0; i < 3 && !covered; i++) {
    const double size = sizes[i];
    const double bend = 0.3 * fractal(scene.field_seed(20 + i), 1.7 * x / size, 1.7 * y / size, 2);
    const Cell floe = cell_at(scene.field_seed(30 + i), x / size + bend, y / size - bend);
    const double gap = 0.03 + 0.33 * (1 - concentration);  // floes in loose ice are round
    covered = floe.uniform() < concentration * (i == 0 ? 0.55 : 0.85) && floe.border() > gap;
    if (covered) age += (0.9 - 0.6 * pack) * (2 * ((floe.bits >> 8 & 0xffff) * 0x1p-16) - 1);
  }
  if (cracked || (!covered && pack < 0.5)) return ice;
  ice.open = 0;
  // What lies between floes of the pack is brash and young ice.
  if (!covered) age -= 0.5 * (1 - smoothstep(0.5, 1, pack));
  ice.backscatter.vv = -14.5 + 2.4 * age + 1.5 * ridged;
  ice.backscatter.vh = ice.backscatter.vv - 11.3 + 1.2 * age + 0.8 * ridged;
  return ice;
}

Track track_of(const Swath& swath, double x, double y) {
  const double east = std::cos(swath.heading), south = std::sin(swath.heading);
  return {-south * x + east * y, east * x + south * y};  // to the right of the flight; forwards
}

bool inside(const Swath& swath, double x, double y) {
  const Track track = track_of(swath, x, y);
  return track.across >= swath.near && track.across <= swath.far && track.along >= swath.start &&
         track.along <= swath.stop;
}

}  // namespace fulmar::data::scenes
