#pragma once

#include <cstdint>
#include <vector>

#include "data/georeference.h"
#include "data/image.h"
#include "data/scenes/parameters.h"

namespace fulmar::data::scenes {

// What stands outside the swath.
constexpr float no_data = -9999;

// What a radar would have seen: sigma0 in dB, row by row from the north; `no_data` outside the
// swath, NaN along its edges where border noise is cut off.
struct Scene {
  int64_t size = 0;
  std::vector<float> vv, vh;
  std::vector<float> incidence;  // degrees, NaN outside the swath
  std::vector<uint8_t> vortex;   // 255 where the vortex shows: within 1.5 radii of its eye, in the
                                 // swath, on water or ice; else 0
};

Scene render(const SceneParameters& parameters);

// RGB of 8 bits, black outside the swath: red and green mostly from VH, blue from VV, both with
// their fall over the incidence angle partly taken off. Our own choice, made to look like the
// published pictures, whose making is not known to us.
Image composite(const Scene& scene);
// Two bands of float32, VV and VH in dB, as they are in the scene.
Image bands_db(const Scene& scene);
// One band of float32.
Image band_db(const std::vector<float>& band, int64_t size);
// The vortex's mask, one band of 8 bits.
Image vortex_mask(const Scene& scene);
// A place in the Norwegian or the Barents Sea, in WGS 84 / Arctic Polar Stereographic (EPSG:3995).
Georeference georeference_of(const SceneParameters& parameters);

}  // namespace fulmar::data::scenes
