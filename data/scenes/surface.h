#pragma once

#include <cstdint>

#include "data/scenes/parameters.h"

namespace fulmar::data::scenes {

// Height of the ground above the coast, arbitrary units: above 0 is land. Smooth at the scale of
// tens of km, with ridges on it.
double height_at(const SceneParameters& scene, double x, double y);
// How far a place lies inside the region of sea ice: above 0 is ice where it is no land.
double ice_at(const SceneParameters& scene, double x, double y);
// The same before the levels of land and ice are taken off.
double ground_at(const SceneParameters& scene, double x, double y);
double cold_at(const SceneParameters& scene, double x, double y);

// Mountains on the ground: metres for a place `height` above the coast.
double mountains_at(const SceneParameters& scene, double x, double y, double height);

// Backscatter of land without relief, and of sea ice, dB.
struct Backscatter {
  double vv = 0, vh = 0;
};
Backscatter land_backscatter(const SceneParameters& scene, double x, double y, double height,
                             double metres);

// What covers a place in the region of sea ice: `open` is 1 in leads and between floes.
struct Ice {
  double open = 1;
  Backscatter backscatter;
};
Ice ice_cover(const SceneParameters& scene, double x, double y, double inside);

// Across and along the flight, km.
struct Track {
  double across = 0, along = 0;
};
Track track_of(const Swath& swath, double x, double y);
bool inside(const Swath& swath, double x, double y);

}  // namespace fulmar::data::scenes
