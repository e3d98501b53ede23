#pragma once

namespace fulmar::data::scenes {

// Normalised radar cross-section (sigma0, linear) of a wind-roughened sea at C band, VV: CMOD5.N
// (H. Hersbach, "Comparison of C-band scatterometer CMOD5.N equivalent neutral winds with ECMWF",
// J. Atmos. Oceanic Technol. 27, 2010). Wind speed in m/s at 10 m, within [0.2, 50]; azimuth: the
// angle between the look direction and where the wind comes from, degrees, 0 upwind; incidence in
// degrees, 16 to 66.
double cmod5n(double speed, double azimuth, double incidence);

// The same for VH, without the receiver's noise: sigma0 in dB = 0.580 speed - 35.652 (Vachon &
// Wolfe, "C-band cross-polarization wind speed retrieval", IEEE GRSL 8(3), 2011).
double cross_polarised(double speed);

}  // namespace fulmar::data::scenes
