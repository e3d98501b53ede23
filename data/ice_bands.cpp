#include "data/ice_bands.h"

#include <algorithm>
#include <utility>

#include "kernels/error.h"

namespace fulmar::data {

namespace {

using Names = std::vector<std::string>;

const Names& pixel_bands() {
  static const Names names{"nersc_sar_primary", "nersc_sar_secondary", "sar_incidenceangle",
                           "distance_map"};
  return names;
}
const Names& era5_bands() {
  static const Names names{"u10m_rotated", "v10m_rotated", "t2m", "skt", "tcwv", "tclw"};
  return names;
}
const Names& location_bands() {
  static const Names names{"sin_longitude", "cos_longitude", "sin_latitude", "cos_latitude"};
  return names;
}
constexpr std::pair<const char*, const char*> frequencies[] = {
    {"6.9", "6_9"},   {"7.3", "7_3"},   {"10.7", "10_7"}, {"18.7", "18_7"},
    {"23.8", "23_8"}, {"36.5", "36_5"}, {"89", "89_0"}};

Names amsr2_bands() {
  Names names;
  for (const auto& frequency : frequencies)
    for (const char* polarisation : {"h", "v"})
      names.push_back(std::string("btemp_") + frequency.second + polarisation);
  return names;
}

bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Empty where the word names none.
Names named_by(const std::string& word) {
  const Names& pixels = pixel_bands();
  if (word == "sar") return {pixels[0], pixels[1], pixels[2]};
  if (word == "hh") return {pixels[0]};
  if (word == "hv") return {pixels[1]};
  if (word == "incidence") return {pixels[2]};
  if (word == "distance") return {pixels[3]};
  if (word == "amsr2") return amsr2_bands();
  if (word == "era5") return era5_bands();
  if (word == "location") return location_bands();
  for (const auto& [frequency, in_name] : frequencies)
    if (word == frequency)
      return {std::string("btemp_") + in_name + "h", std::string("btemp_") + in_name + "v"};
  if (word == "month" || contains(pixels, word) || contains(era5_bands(), word) ||
      contains(location_bands(), word) || contains(amsr2_bands(), word))
    return {word};
  return {};
}

}  // namespace

std::string ice_band_words() {
  return "sar, hh, hv, incidence, distance, amsr2, 6.9, 7.3, 10.7, 18.7, 23.8, 36.5, 89, era5, "
         "location, month, or the scenes' own names of variables";
}

IceGrid grid_of_ice_band(const std::string& band) {
  if (contains(pixel_bands(), band)) return IceGrid::pixels;
  if (contains(location_bands(), band)) return IceGrid::location;
  if (band == "month") return IceGrid::month;
  if (contains(era5_bands(), band) || contains(amsr2_bands(), band)) return IceGrid::cells;
  usage_error("'" + band + "' is no band of a sea-ice scene");
}

bool names_ice_bands(const std::string& word) { return !named_by(word).empty(); }

Names ice_bands(const Names& words) {
  Names bands;
  for (const std::string& word : words) {
    const Names named = named_by(word);
    if (named.empty())
      usage_error("--bands: '" + word + "' is no band of a sea-ice scene: " + ice_band_words());
    for (const std::string& band : named) {
      if (contains(bands, band)) usage_error("--bands: '" + band + "' stands there twice");
      bands.push_back(band);
    }
  }
  return bands;
}

const Names& usual_ice_bands() {
  static const Names bands = ice_bands({"sar", "distance", "amsr2", "era5"});
  return bands;
}

bool is_ice_chart(const std::string& name) {
  return name == "SIC" || name == "SOD" || name == "FLOE";
}

const Names& ice_chart_classes(const std::string& chart) {
  static const Names sic{"0 %",  "10 %", "20 %", "30 %", "40 %",  "50 %",
                         "60 %", "70 %", "80 %", "90 %", "100 %", "none"};
  static const Names sod{"open water",           "new ice", "young ice", "thin first-year ice",
                         "thick first-year ice", "old ice", "none"};
  static const Names floe{"open water", "cake ice",   "small floes", "medium floes",
                          "big floes",  "vast floes", "bergs",       "none"};
  if (!is_ice_chart(chart)) usage_error("'" + chart + "' is no chart of a sea-ice scene");
  return chart == "SIC" ? sic : chart == "SOD" ? sod : floe;
}

}  // namespace fulmar::data
