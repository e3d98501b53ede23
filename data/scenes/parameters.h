#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// What makes up a synthetic Sentinel-1-like scene. Places are in km from the scene's centre, x to
// the east (right), y to the south (down); angles in radians from x towards y; directions of the
// wind are where it blows to.
namespace fulmar::data::scenes {

struct SceneOptions {
  int64_t size = 1536;            // pixels of a side
  double resolution = 500;        // metres of a pixel
  double swath_edge = 0.2;        // mean share of a scene that lies outside the swath
  double land = 0.15;             // mean share of land
  double ice = 0.1;               // mean share of sea ice
  double network_view = 2.0 / 3;  // share of a side, centred, where a vortex is to be seen

  double extent() const { return static_cast<double>(size) * resolution / 1000; }  // km
};

// The mesocyclone. Its wind is added to the scene's; what lies in the air (fronts, cells, bands) is
// turned about its eye, so that a straight front becomes a spiral arm.
struct Vortex {
  double amplitude = 0;  // 0: there is none, 1: as drawn
  double x = 0, y = 0;   // of the eye
  double radius = 60;    // of the strongest wind, km
  double strength = 1;   // strongest wind of the vortex, relative to the scene's mean wind
  double turn = 4;       // how far the air at the eye has been turned, radians
  double inflow = 0.4;   // angle of the wind towards the eye
  double visible = 0;    // share of its disc that is open water within the view and the swath
};

// A line in the air. Ahead of it nothing changes; behind it the wind steps up or down, at once, and
// goes back over `width`.
struct Front {
  double x = 0, y = 0, angle = 0;  // a point of it and its direction there
  double curvature = 0;            // 1/km
  double step = 0;                 // relative change of the wind's speed
  double width = 100;              // km
  double length = 400;             // km from the point on, in its direction; it fades out
};

struct RainCell {
  double x = 0, y = 0, radius = 10, strength = 0.3;
};

// One pass of the radar. Its width and its sub-swaths are stretched to what is seen of it in the
// scene: a mosaic of several passes would show jumps of incidence, unlike the published pictures.
struct Swath {
  double heading = 0;                              // of the flight; the radar looks to its right
  double near = -400, far = 400;                   // edges across the flight, km
  double start = -1e9, stop = 1e9;                 // along the flight
  double near_incidence = 25, far_incidence = 46;  // degrees
  int subswaths = 5;
  std::vector<double> gain;    // of each sub-swath, dB
  double noise_floor = -38;    // what noise is left at its best, sigma0 in dB
  double interference = 0;     // of a line across the swath, sigma0, linear; 0: none
  double interference_at = 0;  // km along the flight
};

struct SceneParameters {
  uint64_t seed = 0;
  int64_t size = 1536;
  double resolution = 500;  // metres

  double wind_speed = 10;    // mean over the scene, m/s
  double wind_spread = 0.2;  // standard deviation over the scene, relative
  double wind_direction = 0;
  double veer = 0.3;            // how far its direction wanders
  double bands = 0.1;           // relative, of changes over 30 to 120 km
  double streaks = 0.08;        // relative, of streaks along the wind
  double streak_spacing = 2;    // km
  double convection = 0;        // relative, of open convective cells
  double convection_size = 30;  // km
  std::vector<Front> fronts;
  std::vector<RainCell> rain;
  Vortex vortex;

  Swath swath;
  double land_share = 0, land_level = 9, land_tilt = 0, land_scale = 300;
  double relief = 1, snow = 0;  // height of mountains; brightness of land, dB
  double ice_share = 0, ice_level = 9, ice_tilt = 0, ice_scale = 250;
  double looks = 60;  // equivalent number of looks

  double extent() const { return static_cast<double>(size) * resolution / 1000; }
  // Column (row) of a place that lies `km` east (south) of the scene's middle.
  double pixel(double km) const { return (km / extent() + 0.5) * static_cast<double>(size); }
  // Seed of one of its random fields.
  uint32_t field_seed(uint32_t field) const {
    return static_cast<uint32_t>(seed ^ (seed >> 32)) * 0x9E3779B1u + field * 0x632BE5ABu;
  }
  std::string to_json() const;  // all of it; angles in radians unless a name says degrees
};

// Pixels of a scene, and where they lie.
struct Grid {
  explicit Grid(const SceneParameters& scene) : size(scene.size), km(scene.resolution / 1000) {}

  size_t pixels() const { return static_cast<size_t>(size * size); }
  size_t index(int64_t row, int64_t column) const {
    return static_cast<size_t>(row * size + column);
  }
  // Of the centre of a row or a column.
  double place(int64_t i) const {
    return (static_cast<double>(i) + 0.5 - 0.5 * static_cast<double>(size)) * km;
  }

  int64_t size;
  double km;  // of a pixel's side
};

// All but the vortex's amplitude comes from `seed` and the options alone, so that a scene with
// amplitude 0 is its own twin without the vortex. Error(usage): options out of range.
SceneParameters draw_scene(uint64_t seed, const SceneOptions& options, double amplitude);

}  // namespace fulmar::data::scenes
