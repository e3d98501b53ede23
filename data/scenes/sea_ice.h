#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fulmar::data::scenes {

// A made sea-ice scene in the form of the AI4Arctic challenge's ready-to-train files: normalised by
// that data set's own means and deviations, masked SAR 0, charts 255 where nothing is known.
struct SeaIce {
  int64_t size = 0;    // pixels of a side, 80 m each
  int64_t cells = 0;   // of a side, 25 x 25 pixels each; the last holds what is left over
  int64_t points = 0;  // of a side of the grid of latitudes and longitudes
  // By usual_ice_bands(): of pixels, then of cells.
  std::vector<std::vector<float>> bands;
  std::vector<uint8_t> sic, sod, floe;
  std::vector<double> latitudes, longitudes;
  std::string start;  // "20190214T051233"
};

constexpr int64_t least_sea_ice = 100, most_sea_ice = 6000;  // pixels of a side

// Of a size within these. Polygons of ice have the classes' frequencies in the 513 scenes of the
// challenge; what radar and radiometer make of them is our own choice.
SeaIce make_sea_ice(uint64_t seed, int64_t size);

}  // namespace fulmar::data::scenes
