#pragma once

#include <array>
#include <optional>

#include "data/georeference.h"

namespace fulmar::data {

// Whether x and y are a longitude and a latitude in degrees.
bool is_geographic(const Georeference& georeference);

// Longitude and latitude, degrees, of a place in the system of a georeference, on the system's own
// datum: nothing is shifted to WGS 84, which for ETRS89 and NAD83 would be a metre or two. Known
// are geographic systems in degrees, and of projected ones transverse Mercator (UTM), polar
// stereographic, Mercator, Lambert's azimuthal equal-area and conformal conic, by the EPSG numbers
// that radar pictures come in or by the parameters that the file gives. Nothing for others, and
// for places that the projection doesn't reach.
std::optional<std::array<double, 2>> longitude_latitude(const Georeference& georeference, double x,
                                                        double y);

}  // namespace fulmar::data
