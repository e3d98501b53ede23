#include "data/scenes/sea_ice.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <unordered_map>

#include "data/ice_scene.h"
#include "data/scenes/dice.h"
#include "data/scenes/ice_codes.h"
#include "data/scenes/noise.h"
#include "kernels/error.h"

namespace fulmar::data::scenes {

namespace {

constexpr double polygon_pixels = 220;   // about the width of one
constexpr double region_polygons = 3.5;  // of a region of open water, or of ice

// Among pixels with a label, summed over the 513 scenes of the challenge.
constexpr std::array<double, 11> sic_shares{57.003, .425,  2.162, 1.678, 1.179, 1.892,
                                            1.187,  2.221, 3.323, 6.555, 22.376};
constexpr std::array<double, 5> sod_shares{1.778, 2.523, 2.122, 14.818, 12.217};
constexpr std::array<double, 6> floe_shares{.366, 2.366, 4.013, 5.986, 20.354, .151};
// Of polygons with ice, those whose ice is of one stage (of one floe size) enough to be called so.
constexpr double of_one_stage = 0.667, of_one_floe = 0.66;
constexpr std::array<int64_t, 5> stage_codes{81, 83, 87, 91, 95};
constexpr std::array<int64_t, 6> floe_codes{2, 3, 4, 5, 6, 9};
constexpr int64_t fast_ice = 8;

// What a radar and a radiometer see.
enum Surface { water, new_ice, young_ice, thin_ice, thick_ice, old_ice, land, surfaces };
constexpr std::array<double, 6> floe_pixels{4, 8, 15, 28, 55, 6};
// dB at an incidence of 34 degrees, and what its texture does.
struct Backscatter34 {
  double hh, hv, hh_slope, texture_db, texture_pixels;
};
constexpr std::array<Backscatter34, surfaces> backscatter34{{{-18, -28.5, -0.32, 0.4, 60},
                                                             {-22, -30, -0.28, 0.5, 40},
                                                             {-15.5, -26.5, -0.22, 1.2, 14},
                                                             {-17.5, -27.5, -0.20, 1.0, 22},
                                                             {-14.5, -24.5, -0.18, 1.4, 8},
                                                             {-10.5, -18.5, -0.14, 1.8, 4},
                                                             {-9, -16, -0.08, 2.0, 5}}};
// Kelvin, H then V, of 6.9, 7.3, 10.7, 18.7, 23.8, 36.5 and 89 GHz.
constexpr int channels = 14;
constexpr std::array<std::array<double, channels>, surfaces> brightness{
    {{80, 160, 82, 162, 88, 168, 105, 185, 140, 205, 140, 212, 190, 245},
     {170, 225, 172, 226, 178, 228, 190, 232, 205, 236, 210, 236, 225, 240},
     {200, 240, 201, 240, 205, 241, 212, 243, 218, 244, 222, 242, 228, 240},
     {215, 248, 216, 248, 219, 248, 224, 249, 226, 248, 228, 245, 226, 238},
     {225, 252, 226, 252, 228, 252, 231, 251, 231, 249, 230, 244, 222, 234},
     {220, 248, 220, 247, 218, 245, 208, 233, 200, 225, 180, 200, 165, 180},
     {235, 255, 235, 255, 236, 255, 238, 255, 240, 255, 242, 254, 245, 253}}};
// Of the footprints, in cells; and what a kg/m2 of water vapour adds over open water.
constexpr std::array<double, 7> footprint_cells{8, 8, 5, 3, 2.6, 1.6, 0.8};
constexpr std::array<double, 7> vapour_kelvin{0.1, 0.1, 0.2, 0.9, 2.2, 1.0, 1.8};
// How much snow of a polygon's own depth and grain changes what its ice emits, at most.
constexpr std::array<double, 7> snow_kelvin{4, 4, 6, 12, 14, 20, 24};
// Wet snow hides what lies below, from both: what old ice then looks like.
constexpr Backscatter34 wet_old_ice{-14.2, -24.0, -0.18, 2.2, 4};
constexpr std::array<double, channels> wet_ice{228, 252, 229, 252, 231, 252, 235,
                                               252, 236, 252, 238, 250, 238, 248};

// Means and deviations that the challenge's files are normalised by, in the order of the bands.
struct Normal {
  double mean, deviation;
};
constexpr std::array<Normal, 24> normals{
    {{-14.50826, 5.65975}, {-24.70121, 4.74676}, {33.99802, 8.32227}, {23.62767, 14.99019},
     {148.8470, 61.6485},  {203.5194, 38.6664},  {149.8990, 61.6754}, {204.2053, 38.6662},
     {153.8917, 60.8752},  {208.9041, 36.2450},  {165.6803, 52.6179}, {218.5868, 28.0604},
     {182.2089, 42.8872},  {226.3965, 22.1176},  {185.1947, 38.6444}, {228.2059, 17.6526},
     {212.5375, 22.5850},  {241.2575, 16.3110},  {0.67480, 4.74965},  {0.60756, 5.19610},
     {268.6265, 9.4692},   {268.9102, 10.3053},  {7.74774, 5.26858},  {0.04125, 0.07113}}};

float normalised(double value, size_t band) {
  return static_cast<float>((value - normals[band].mean) / normals[band].deviation);
}

template <size_t n>
size_t draw_place(Dice& dice, const std::array<double, n>& shares, size_t first = 0) {
  double sum = 0;
  for (size_t i = first; i < n; i++) sum += shares[i];
  double at = dice.uniform(0, sum);
  for (size_t i = first; i + 1 < n; i++) {
    if (at < shares[i]) return i;
    at -= shares[i];
  }
  return n - 1;
}

// A polygon of the chart, and what lies there.
struct Polygon {
  IceClasses classes;
  double fraction = 0;                       // of the area that is ice
  std::array<Surface, 2> ice{water, water};  // of two kinds of about the same share
  std::array<double, 2> floes{0, 0};         // their size, pixels
  double hh_db = 0, hv_db = 0, snow = 0;     // the polygon's own
};

Polygon draw_polygon(uint64_t seed, bool open) {
  Dice dice(seed);
  Polygon polygon;
  IceCodes codes;
  const bool charted = dice.chance(0.8);
  // A tenth of the polygons among the ice is water.
  const bool is_water = open || dice.chance(0.14);
  if (is_water) {
    codes.total = 0;
    codes.water = true;
  } else {
    const auto tenths = static_cast<int64_t>(draw_place(dice, sic_shares, 1));
    codes.total = tenths == 10 ? 92 : 10 * tenths;
    polygon.fraction = static_cast<double>(tenths) / 10;
    const bool mixed_stage = !dice.chance(of_one_stage), mixed_floes = !dice.chance(of_one_floe);
    if (mixed_stage || mixed_floes) {
      codes.concentration[0] = 10 * ((tenths + 1) / 2);
      codes.concentration[1] = 10 * (tenths / 2);
    }
    const size_t stage = draw_place(dice, sod_shares), floe = draw_place(dice, floe_shares);
    const size_t other_stage =
        mixed_stage ? (stage + 1 + draw_place(dice, std::array{1., 1., 1., 1.})) % 5 : stage;
    const size_t other_floe =
        mixed_floes ? (floe + 1 + draw_place(dice, std::array{1., 1., 1., 1., 1.})) % 6 : floe;
    codes.stage[0] = stage_codes[stage];
    codes.floes[0] = floe_codes[floe];
    if (mixed_stage || mixed_floes) {
      codes.stage[1] = stage_codes[other_stage];
      codes.floes[1] = dice.chance(0.3) ? fast_ice : floe_codes[other_floe];
      if (!mixed_floes) codes.floes[1] = codes.floes[0];
    }
    polygon.ice = {static_cast<Surface>(new_ice + static_cast<int>(stage)),
                   static_cast<Surface>(new_ice + static_cast<int>(other_stage))};
    polygon.floes = {floe_pixels[floe], floe_pixels[other_floe]};
  }
  polygon.hh_db = dice.uniform(-0.7, 0.7);
  polygon.hv_db = dice.uniform(-0.5, 0.5);
  polygon.snow = dice.uniform(-1, 1);
  if (charted) polygon.classes = classes_of(codes);
  return polygon;
}

// Speckle of 32 looks, about what 80 m pixels of EW GRDM have: a gamma variate of mean 1, dB, as
// the cube of a normal one (Wilson & Hilferty 1931), which is a sum of 8 uniform ones.
double speckle_db(uint64_t seed, uint64_t band, uint64_t pixel) {
  double sum = -4;
  for (uint64_t part = 0; part < 2; part++) {
    const RandomBits bits = draw(seed, Draw::scene_speckle, band << 1 | part, pixel);
    for (const uint32_t word : bits.word) sum += static_cast<double>(uniform(word));
  }
  constexpr double looks = 32;
  const double normal = sum * std::sqrt(1.5);
  return 30 * std::log10(1 - 1 / (9 * looks) + normal / std::sqrt(9 * looks));
}

class Maker {
 public:
  Maker(uint64_t seed, int64_t size) : seed_(seed), dice_(seed) {
    scene_.size = size;
    scene_.cells = std::max<int64_t>(1, size / pixels_of_cell);
    scene_.points = std::clamp<int64_t>(size / 250 + 1, 2, 21);
    const auto pixels = static_cast<size_t>(size * size);
    const auto cells = static_cast<size_t>(scene_.cells * scene_.cells);
    for (size_t band = 0; band < normals.size(); band++)
      scene_.bands.emplace_back(band < 4 ? pixels : cells);
    for (std::vector<uint8_t>* chart : {&scene_.sic, &scene_.sod, &scene_.floe})
      chart->assign(pixels, 255);
    shares_.resize(cells);
    snow_.resize(cells);
    month_ = dice_.integer(1, 12);
    wet_ = month_ >= 6 && month_ <= 9;
    wind_db_ = dice_.uniform(-4, 5);
    left_angle_ = dice_.uniform(19, 24);
    // 400 km show all angles; of less the scene shows a part.
    angle_step_ = 27.0 / std::max<double>(5000, static_cast<double>(size));
    left_angle_ += dice_.uniform(0, 27 - angle_step_ * static_cast<double>(size));
    has_land_ = dice_.chance(0.35);
    land_level_ = dice_.uniform(0.25, 0.6);
    swath_ = dice_.chance(0.5) ? dice_.uniform(0.05, 0.3) : -1;
    swath_tilt_ = dice_.uniform(-0.2, 0.2);
    vapour_ = dice_.uniform(1.5, wet_ ? 18 : 8);
  }

  SeaIce make() {
    for (int64_t row = 0; row < scene_.size; row++)
      for (int64_t column = 0; column < scene_.size; column++) make_pixel(row, column);
    make_weather();
    make_brightness();
    make_place();
    return std::move(scene_);
  }

 private:
  uint32_t field(uint32_t number) const {
    return lattice_bits(static_cast<uint32_t>(seed_ >> 32), static_cast<int32_t>(seed_),
                        static_cast<int32_t>(number));
  }

  size_t cell_of(int64_t row, int64_t column) const {
    return static_cast<size_t>(cell_of_pixel(row, scene_.cells) * scene_.cells +
                               cell_of_pixel(column, scene_.cells));
  }

  const Polygon& polygon_at(double x, double y) {
    // Borders wander.
    const double dx = 18 * fractal(field(1), x / 70, y / 70, 3),
                 dy = 18 * fractal(field(2), x / 70, y / 70, 3);
    const double px = (x + dx) / polygon_pixels, py = (y + dy) / polygon_pixels;
    const uint32_t own = cell_at(field(3), px, py).bits;
    const Cell region = cell_at(field(4), px / region_polygons, py / region_polygons);
    const uint64_t key = uint64_t{region.bits} << 32 | own;
    const auto found = polygons_.find(key);
    if (found != polygons_.end()) return found->second;
    return polygons_.emplace(key, draw_polygon(seed_ ^ (key | 1), region.uniform() < 0.5))
        .first->second;
  }

  // How high the ground is above the coast, in lengths of about 100 km.
  double height_at(double x, double y) const {
    if (!has_land_) return -1;
    return fractal(field(5), x / 600, y / 600, 5) - land_level_;
  }

  // What covers a place of a polygon: whole floes, as many as its concentration says.
  Surface surface_at(const Polygon& polygon, double x, double y, double& floe_db) const {
    if (polygon.fraction == 0) return water;
    const size_t kind = noise(field(6), x / 45, y / 45) < 0 ? 0 : 1;
    const double size = polygon.floes[kind];
    const Cell floe = cell_at(field(7) + static_cast<uint32_t>(size), x / size, y / size);
    if (floe.uniform() >= polygon.fraction) return water;
    // Floes differ, and their rims are ridged.
    floe_db = 3.6 * ((floe.bits >> 5 & 0xff) / 255.0 - 0.5) + (floe.border() < 0.12 ? 2.0 : 0);
    return polygon.ice[kind];
  }

  void make_pixel(int64_t row, int64_t column) {
    const auto x = static_cast<double>(column), y = static_cast<double>(row);
    const auto at = static_cast<size_t>(row * scene_.size + column);
    const double height = height_at(x, y);
    const Polygon& polygon = polygon_at(x, y);
    double floe_db = 0;
    const Surface surface = height > 0 ? land : surface_at(polygon, x, y, floe_db);
    shares_[cell_of(row, column)][surface] += 1;
    if (surface != water && surface != land) snow_[cell_of(row, column)] += polygon.snow;
    if (outside_swath(x, y)) return;  // 0 everywhere, and no chart
    const double angle = left_angle_ + angle_step_ * x;
    const Backscatter34& b = surface == old_ice && wet_ ? wet_old_ice : backscatter34[surface];
    const double texture =
        b.texture_db * 3 *
        fractal(field(8) + surface, x / b.texture_pixels, y / b.texture_pixels, 2);
    double hh = b.hh + b.hh_slope * (angle - 34) + texture + floe_db;
    double hv = b.hv + 0.4 * b.hh_slope * (angle - 34) + 0.7 * texture + 0.6 * floe_db;
    if (surface == water) {
      const double gusts = wind_db_ + 2 * fractal(field(20), x / 200, y / 200, 3);
      hh += gusts;
      hv += 0.5 * gusts;
    } else if (surface != land) {
      hh += polygon.hh_db;
      hv += polygon.hv_db;
    }
    hh += speckle_db(seed_, 0, at);
    // The receiver's noise lies under the cross-polarised picture.
    hv = 10 * std::log10(std::pow(10, hv / 10) + std::pow(10, -3.1)) + speckle_db(seed_, 1, at);
    scene_.bands[0][at] = normalised(hh, 0);
    scene_.bands[1][at] = normalised(hv, 1);
    scene_.bands[2][at] = normalised(angle, 2);
    const double index = has_land_ ? std::clamp(-height * 60, 0.0, 41.0) : 41;
    scene_.bands[3][at] = normalised(std::floor(index), 3);
    if (surface == land) return;
    scene_.sic[at] = polygon.classes.sic;
    scene_.sod[at] = polygon.classes.sod;
    scene_.floe[at] = polygon.classes.floe;
  }

  bool outside_swath(double x, double y) const {
    return x / static_cast<double>(scene_.size) <
           swath_ + swath_tilt_ * y / static_cast<double>(scene_.size);
  }

  // Smooth over a scene: u and v of the wind, temperatures, water vapour and liquid water.
  void make_weather() {
    const double u = dice_.uniform(-9, 9), v = dice_.uniform(-9, 9);
    const double season = -std::cos((static_cast<double>(month_) - 1) * 0.5235987755982988);
    const double air = 266 + 11 * season + dice_.uniform(-5, 5);
    each_cell([&](size_t cell, double x, double y) {
      const double vapour = vapour_at(x, y);
      const std::array<double, 6> values{
          u + 2 * noise(field(30), x / 60, y / 60),
          v + 2 * noise(field(31), x / 60, y / 60),
          air + 2 * noise(field(32), x / 50, y / 50),
          air + 0.5 + 3 * noise(field(33), x / 50, y / 50),
          vapour,
          0.02 * std::max(0.0, vapour / 4 * (1 + 2 * noise(field(34), x / 12, y / 12)))};
      for (size_t i = 0; i < values.size(); i++)
        scene_.bands[18 + i][cell] = normalised(values[i], 18 + i);
    });
  }
  double vapour_at(double x, double y) const {
    return std::max(0.5, vapour_ * (1 + 0.8 * noise(field(35), x / 40, y / 40)));
  }

  template <class Each>
  void each_cell(const Each& each) const {
    for (int64_t row = 0; row < scene_.cells; row++)
      for (int64_t column = 0; column < scene_.cells; column++)
        each(static_cast<size_t>(row * scene_.cells + column), static_cast<double>(column),
             static_cast<double>(row));
  }

  void make_brightness() {
    for (size_t cell = 0; cell < shares_.size(); cell++) {
      double sum = 0;
      for (const double share : shares_[cell]) sum += share;
      for (double& share : shares_[cell]) share /= std::max(sum, 1.0);
      snow_[cell] /= std::max(sum, 1.0);
    }
    for (size_t channel = 0; channel < channels; channel++) {
      const size_t frequency = channel / 2;
      std::vector<double> kelvin(shares_.size());
      each_cell([&](size_t cell, double x, double y) {
        for (size_t surface = 0; surface < surfaces; surface++) {
          const bool wet = wet_ && surface != water && surface != land;
          kelvin[cell] +=
              shares_[cell][surface] * (wet ? wet_ice[channel] : brightness[surface][channel]);
        }
        kelvin[cell] += snow_[cell] * snow_kelvin[frequency];
        kelvin[cell] += shares_[cell][water] * vapour_kelvin[frequency] * (vapour_at(x, y) - 4) *
                        (channel % 2 == 0 ? 1 : 0.6);
      });
      blur(kelvin, footprint_cells[frequency]);
      for (size_t cell = 0; cell < kelvin.size(); cell++) {
        const RandomBits bits = draw(seed_, Draw::scene_speckle, 16 + channel, cell);
        double noise_k = -2;
        for (const uint32_t word : bits.word) noise_k += static_cast<double>(uniform(word));
        scene_.bands[4 + channel][cell] =
            normalised(kelvin[cell] + 0.6 * 1.7 * noise_k, 4 + channel);
      }
    }
  }

  // By a Gaussian, along rows, then along columns; cells outside count for nothing.
  void blur(std::vector<double>& values, double deviation) const {
    const auto reach = static_cast<int64_t>(std::ceil(2.5 * deviation));
    const int64_t n = scene_.cells;
    for (const int64_t step : {int64_t{1}, n}) {
      std::vector<double> blurred(values.size());
      const int64_t other = step == 1 ? n : 1;
      for (int64_t line = 0; line < n; line++)
        for (int64_t i = 0; i < n; i++) {
          double sum = 0, weights = 0;
          for (int64_t k = std::max<int64_t>(0, i - reach); k <= std::min(n - 1, i + reach); k++) {
            const double d = static_cast<double>(k - i) / deviation;
            const double weight = std::exp(-d * d / 2);
            sum += weight * values[static_cast<size_t>(line * other + k * step)];
            weights += weight;
          }
          blurred[static_cast<size_t>(line * other + i * step)] = sum / weights;
        }
      values = std::move(blurred);
    }
  }

  void make_place() {
    const double top = dice_.uniform(66, 80), left = dice_.uniform(-75, 5);
    const double degrees = static_cast<double>(scene_.size) * 80 / 111'200;
    const auto last = static_cast<double>(scene_.points - 1);
    for (int64_t row = 0; row < scene_.points; row++)
      for (int64_t column = 0; column < scene_.points; column++) {
        const double down = static_cast<double>(row) / last,
                     right = static_cast<double>(column) / last;
        const double latitude = top - degrees * (down + 0.1 * right);
        scene_.latitudes.push_back(latitude);
        scene_.longitudes.push_back(left + degrees * (right - 0.1 * down) /
                                               std::cos(latitude * 0.017453292519943295));
      }
    char text[32];
    std::snprintf(text, sizeof text, "20%02d%02d%02dT%02d%02d%02d",
                  static_cast<int>(dice_.integer(18, 21)), static_cast<int>(month_),
                  static_cast<int>(dice_.integer(1, 28)), static_cast<int>(dice_.integer(0, 23)),
                  static_cast<int>(dice_.integer(0, 59)), static_cast<int>(dice_.integer(0, 59)));
    scene_.start = text;
  }

  uint64_t seed_;
  Dice dice_;
  SeaIce scene_;
  std::unordered_map<uint64_t, Polygon> polygons_;
  std::vector<std::array<double, surfaces>> shares_;  // of each cell
  std::vector<double> snow_;                          // of each cell, summed over its ice
  bool wet_ = false;                                  // the snow
  int64_t month_ = 1;
  double wind_db_ = 0, left_angle_ = 0, angle_step_ = 0, vapour_ = 0;
  bool has_land_ = false;
  double land_level_ = 0, swath_ = -1, swath_tilt_ = 0;
};

}  // namespace

SeaIce make_sea_ice(uint64_t seed, int64_t size) {
  if (size < least_sea_ice || size > most_sea_ice)
    usage_error("sea ice of " + std::to_string(size) + " x " + std::to_string(size) +
                " pixels; a side has " + std::to_string(least_sea_ice) + " to " +
                std::to_string(most_sea_ice));
  return Maker(seed, size).make();
}

}  // namespace fulmar::data::scenes
