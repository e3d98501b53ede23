#include "data/georeference.h"

namespace fulmar::data {

namespace {

// GeoTIFF 1.1, section 7.1: the keys and values that are looked at here.
constexpr uint16_t key_model = 1024, key_raster = 1025, key_geographic = 2048, key_projected = 3072;
constexpr uint16_t model_projected = 1, model_geographic = 2, pixel_is_area = 1,
                   pixel_is_point_ = 2, user_defined = 32767;

}  // namespace

int Georeference::key(uint16_t id) const {
  // A header of four (version, revision, minor revision, number of keys), then four for each key:
  // its number, the tag that holds the value (0: it stands here), their count, the value.
  for (size_t at = 4; at + 3 < geo_keys.size(); at += 4)
    if (geo_keys[at] == id && geo_keys[at + 1] == 0) return geo_keys[at + 3];
  return 0;
}

std::optional<double> Georeference::real_key(uint16_t id) const {
  constexpr uint16_t doubles_tag = 34736;
  for (size_t at = 4; at + 3 < geo_keys.size(); at += 4)
    if (geo_keys[at] == id && geo_keys[at + 1] == doubles_tag && geo_keys[at + 2] > 0 &&
        geo_keys[at + 3] < geo_doubles.size())
      return geo_doubles[geo_keys[at + 3]];
  return {};
}

int Georeference::epsg_of_keys() const {
  int code = key(key_projected);
  // In a projected system the geographic key names only what it is projected from.
  if (code == 0 && key(key_model) != model_projected) code = key(key_geographic);
  return code < user_defined ? code : 0;
}

bool Georeference::pixel_is_point() const { return key(key_raster) == pixel_is_point_; }

Georeference make_georeference(EarthModel model, int epsg, double x, double y, double width,
                               double height) {
  const bool projected = model == EarthModel::projected;
  Georeference g;
  g.epsg = epsg;
  g.transform = {x, width, 0, y, 0, -height};
  g.geo_keys = {1,
                1,
                0,
                3,
                key_model,
                0,
                1,
                projected ? model_projected : model_geographic,
                key_raster,
                0,
                1,
                pixel_is_area,
                projected ? key_projected : key_geographic,
                0,
                1,
                static_cast<uint16_t>(epsg)};
  return g;
}

}  // namespace fulmar::data
