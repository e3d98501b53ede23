#include "data/scenes/scene.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "data/draws.h"
#include "data/scenes/backscatter.h"
#include "data/scenes/noise.h"
#include "data/scenes/surface.h"
#include "data/scenes/wind.h"

namespace fulmar::data::scenes {

namespace {

double linear(double db) { return std::pow(10, db / 10); }

class Renderer {
 public:
  explicit Renderer(const SceneParameters& scene) : scene_(scene), grid_(scene) {}

  Scene render() {
    const auto pixels = grid_.pixels();
    survey();
    wind_ = wind_of(scene_, cover_);
    Scene result;
    result.size = grid_.size;
    result.vv.resize(pixels);
    result.vh.resize(pixels);
    result.incidence.resize(pixels);
    result.vortex.resize(pixels);
    for (int64_t row = 0; row < grid_.size; row++)
      for (int64_t column = 0; column < grid_.size; column++) see(row, column, result);
    return result;
  }

 private:
  // What covers each pixel, and how high the land is.
  void survey() {
    const auto pixels = grid_.pixels();
    cover_.resize(pixels);
    height_.resize(pixels);
    metres_.resize(pixels);
    inside_ice_.resize(pixels);
    for (int64_t row = 0; row < grid_.size; row++)
      for (int64_t column = 0; column < grid_.size; column++) {
        const double x = grid_.place(column), y = grid_.place(row);
        if (!inside(scene_.swath, x, y)) continue;
        const size_t i = grid_.index(row, column);
        const double height = scene_.land_share > 0 ? height_at(scene_, x, y) : -1;
        height_[i] = static_cast<float>(height);
        if (height > 0) {
          cover_[i] = Cover::land;
          metres_[i] = static_cast<float>(mountains_at(scene_, x, y, height));
          continue;
        }
        const double in_ice = scene_.ice_share > 0 ? ice_at(scene_, x, y) : -1;
        inside_ice_[i] = static_cast<float>(in_ice);
        cover_[i] = in_ice > 0 ? Cover::ice : Cover::water;
      }
  }

  struct Sigma {
    double vv = 0, vh = 0;  // linear
  };

  Sigma land_at(int64_t row, int64_t column) const {
    const size_t i = grid_.index(row, column);
    const Backscatter db =
        land_backscatter(scene_, grid_.place(column), grid_.place(row), height_[i], metres_[i]);
    // Slopes that face the radar are bright, those that lean away are dark.
    const auto metres = [&](int64_t r, int64_t c) {
      return metres_[grid_.index(std::clamp<int64_t>(r, 0, grid_.size - 1),
                                 std::clamp<int64_t>(c, 0, grid_.size - 1))];
    };
    const double per_km_x = (metres(row, column + 1) - metres(row, column - 1)) / (2 * grid_.km);
    const double per_km_y = (metres(row + 1, column) - metres(row - 1, column)) / (2 * grid_.km);
    const double rise = per_km_x * look_x() + per_km_y * look_y();  // m/km, away from the radar
    const double relief = std::clamp(0.045 * rise, -7.0, 6.0);
    return {linear(db.vv + relief), linear(db.vh + 0.9 * relief)};
  }

  Sigma water_at(size_t i, double incidence, double weaker) const {
    const double speed = std::max(0.5, wind_.speed[i] * weaker);
    const double from = wind_.direction[i] + 3.14159265358979323846;
    const double look = std::atan2(look_y(), look_x());
    const double azimuth = (from - look) * 57.29577951308232;  // 0: it blows towards the radar
    const double wet = wind_.rain[i];
    return {cmod5n(speed, azimuth, incidence) * linear(-1.0 * wet),
            cross_polarised(speed) + linear(-28) * wet};
  }

  double look_x() const { return -std::sin(scene_.swath.heading); }
  double look_y() const { return std::cos(scene_.swath.heading); }

  void see(int64_t row, int64_t column, Scene& scene) const {
    const double x = grid_.place(column), y = grid_.place(row);
    const size_t i = grid_.index(row, column);
    const Swath& swath = scene_.swath;
    if (cover_[i] == Cover::none) {
      scene.vv[i] = scene.vh[i] = no_data;
      scene.incidence[i] = std::numeric_limits<float>::quiet_NaN();
      return;
    }
    const Track track = track_of(swath, x, y);
    constexpr double rim = 2;  // km
    if (track.across - swath.near < rim || swath.far - track.across < rim) {
      scene.vv[i] = scene.vh[i] = scene.incidence[i] = std::numeric_limits<float>::quiet_NaN();
      return;
    }
    const double range = (track.across - swath.near) / (swath.far - swath.near);
    const double incidence = between(swath.near_incidence, swath.far_incidence, range);
    Sigma sigma;
    if (cover_[i] == Cover::land) {
      sigma = land_at(row, column);
    } else {
      const bool in_ice = cover_[i] == Cover::ice;
      const Ice ice = in_ice ? ice_cover(scene_, x, y, inside_ice_[i]) : Ice{};
      sigma = ice.open > 0 ? water_at(i, incidence, in_ice ? 0.6 : 1)
                           : Sigma{linear(ice.backscatter.vv), linear(ice.backscatter.vh)};
      const Vortex& vortex = scene_.vortex;
      if (vortex.amplitude > 0 && std::hypot(x - vortex.x, y - vortex.y) < 1.5 * vortex.radius)
        scene.vortex[i] = 255;
    }
    // The beam is weaker towards the edges of each sub-swath, so that noise steps at the seams.
    const double beam = range * swath.subswaths;
    const int subswath = std::clamp(static_cast<int>(beam), 0, swath.subswaths - 1);
    const double off = 2 * (beam - subswath) - 1;
    const double noise_db = swath.noise_floor + 2.2 * off * off - 0.8 * off +
                            0.15 * std::sin(track.along * 2 * 3.14159265358979323846 / 20);
    const double gain = linear(swath.gain[static_cast<size_t>(subswath)]);
    double extra = linear(noise_db);
    if (swath.interference > 0 && std::abs(track.along - swath.interference_at) < 1.2)
      extra += swath.interference *
               smoothstep(0.2, 0.6,
                          lattice_uniform(static_cast<uint32_t>(scene_.seed),
                                          static_cast<int32_t>(track.across / 6), 5));
    const RandomBits bits = draw(scene_.seed, Draw::scene_speckle, 0, i);
    scene.vv[i] = decibel((sigma.vv * gain + 0.6 * extra) * speckle(bits.word[0], bits.word[1]));
    scene.vh[i] = decibel((sigma.vh * gain + extra) * speckle(bits.word[2], bits.word[3]));
    scene.incidence[i] = static_cast<float>(incidence);
  }

  static float decibel(double sigma) {
    return static_cast<float>(10 * std::log10(std::max(sigma, 1e-6)));
  }

  // Gamma of mean 1 and shape `looks`, from a normal draw (Wilson & Hilferty, PNAS 17, 1931): its
  // third root is near to normal.
  double speckle(uint32_t a, uint32_t b) const {
    const double radius = std::sqrt(-2 * std::log1p(-double{uniform(a)}));
    const double normal = radius * std::cos(6.283185307179586 * double{uniform(b)});
    const double ninth = 1 / (9 * scene_.looks);
    const double root = 1 - ninth + normal * std::sqrt(ninth);
    return std::max(1e-3, root * root * root);
  }

  const SceneParameters& scene_;
  Grid grid_;
  std::vector<Cover> cover_;
  std::vector<float> height_, metres_, inside_ice_;
  Wind wind_;
};

Image blank(int64_t size, int64_t bands, DType type) {
  Image image;
  static_cast<ImageHeader&>(image) = {size, size, bands, type};
  image.data.resize(static_cast<size_t>(image.bytes()));
  return image;
}

double stretched(double db, double low, double high) {
  return std::clamp((db - low) / (high - low), 0.0, 1.0);
}

uint8_t to_byte(double share) { return static_cast<uint8_t>(std::lround(255 * share)); }

}  // namespace

Scene render(const SceneParameters& parameters) { return Renderer(parameters).render(); }

Image composite(const Scene& scene) {
  Image image = blank(scene.size, 3, DType::u8);
  for (size_t i = 0; i < scene.vv.size(); i++) {
    if (std::isnan(scene.incidence[i])) continue;
    const double beyond = scene.incidence[i] - 36;
    const double vv = stretched(scene.vv[i] + 0.25 * beyond, -23, 1);
    const double vh = stretched(scene.vh[i] + 0.08 * beyond, -35, -10);
    image.data[3 * i] = image.data[3 * i + 1] = to_byte(0.75 * vh + 0.25 * vv);
    image.data[3 * i + 2] = to_byte(vv);
  }
  return image;
}

Image bands_db(const Scene& scene) {
  Image image = blank(scene.size, 2, DType::f32);
  auto* to = reinterpret_cast<float*>(image.data.data());
  for (size_t i = 0; i < scene.vv.size(); i++) {
    to[2 * i] = scene.vv[i];
    to[2 * i + 1] = scene.vh[i];
  }
  return image;
}

Image band_db(const std::vector<float>& band, int64_t size) {
  Image image = blank(size, 1, DType::f32);
  std::memcpy(image.data.data(), band.data(), image.data.size());
  return image;
}

Image vortex_mask(const Scene& scene) {
  Image image = blank(scene.size, 1, DType::u8);
  image.data = scene.vortex;
  return image;
}

Georeference georeference_of(const SceneParameters& parameters) {
  const auto lie = [&](uint64_t which) {
    return double{uniform(draw(parameters.seed, Draw::scene, 1, which).word[0])};
  };
  const double longitude = (-5 + 40 * lie(0)) * 0.017453292519943295;
  const double from_pole = 1'600'000 + 900'000 * lie(1);  // metres
  const double half = 0.5 * parameters.extent() * 1000;
  // Whole pixels, as a product on a grid has them.
  const auto on_grid = [&](double metres) {
    return std::round(metres / parameters.resolution) * parameters.resolution;
  };
  return make_georeference(EarthModel::projected, 3995,
                           on_grid(from_pole * std::sin(longitude) - half),
                           on_grid(-from_pole * std::cos(longitude) + half), parameters.resolution,
                           parameters.resolution);
}

}  // namespace fulmar::data::scenes
