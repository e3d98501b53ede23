#pragma once

#include <cstdint>
#include <vector>

#include "data/image.h"
#include "data/scenes/parameters.h"

namespace fulmar::data::scenes {

// What a radar would have seen: sigma0 in dB, NaN outside the swath, row by row from the north.
struct Scene {
  int64_t size = 0;
  std::vector<float> vv, vh;
  std::vector<float> incidence;  // degrees
  std::vector<uint8_t> vortex;   // 255 where the vortex shows: within 1.5 radii of its eye, in the
                                 // swath, on water or ice; else 0
};

Scene render(const SceneParameters& parameters);

// RGB of 8 bits, black outside the swath: red and green mostly from VH, blue from VV, both with their fall
// over the incidence angle partly taken off. Our own choice, made to look like the published
// pictures, whose making is not known to us.
Image composite(const Scene& scene);
// Two bands of float32, VV and VH in dB, NaN outside the swath.
Image bands_db(const Scene& scene);
// The vortex's mask, one band of 8 bits.
Image vortex_mask(const Scene& scene);

}  // namespace fulmar::data::scenes
