#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fulmar::data {

// The bands of a sea-ice scene of the AI4Arctic challenge, "ready to train"
// (doi 10.11583/DTU.c.6244065), by the dataset's own names of its variables, and planes that are
// made of a scene's place and date.
enum class IceGrid {
  pixels,    // a number for each pixel of the SAR picture
  cells,     // for each cell of 25 x 25 pixels
  location,  // of the sparse grid of latitudes and longitudes
  month,     // the same for the whole scene
};

// Of a band's name. Error(usage) for one that is none.
IceGrid grid_of_ice_band(const std::string& band);

// Whether a word names a band or several: "sar" (HH, HV and incidence angle), "hh", "hv",
// "incidence", "distance", "amsr2" (all brightness temperatures), "6.9" to "89" (both polarisations
// of a frequency, GHz), "era5", "location" (sine and cosine of longitude and latitude), "month", or
// a variable.
bool names_ice_bands(const std::string& word);
// The names of the bands that words name, in their order. Error(usage): a word that names none, or
// a band twice.
std::vector<std::string> ice_bands(const std::vector<std::string>& words);
// What the challenge's own starter takes: 24 variables.
const std::vector<std::string>& usual_ice_bands();
std::string ice_band_words();  // for messages

// A chart of such a scene: "SIC", "SOD", "FLOE". The classes' names, by their numbers: the real
// ones and, as the challenge counts them, one that no label has.
bool is_ice_chart(const std::string& name);
const std::vector<std::string>& ice_chart_classes(const std::string& chart);

}  // namespace fulmar::data
