#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/georeference.h"
#include "data/image.h"

namespace fulmar::data {

// Sea-ice scenes in NetCDF-4, on two grids: SAR, incidence angle, distance from land and charts a
// number a pixel; brightness temperatures and weather a number for each cell of 25 x 25 pixels.

constexpr int64_t pixels_of_cell = 25;
// The cell that a pixel lies in, of a line of `cells`: the last one holds what is left over.
constexpr int64_t cell_of_pixel(int64_t pixel, int64_t cells) {
  return pixel / pixels_of_cell < cells - 1 ? pixel / pixels_of_cell : cells - 1;
}

// By its extension.
bool is_netcdf(const std::string& path);

// The scene as a picture of these bands (ice_bands()), f32, as read_image() would take a part of
// it: of every variable the chunks alone that the part touches. Cells become the pixels that lie in
// them. Error(file): a variable that is not there, or of a shape that doesn't fit the others'.
ImageHeader probe_ice_scene(const std::string& path, const std::vector<std::string>& bands,
                            const ImageLimits& limits = {});
Image read_ice_scene(const std::string& path, const std::vector<std::string>& bands,
                     const ImageLimits& limits = {}, const PicturePart& part = {});

// A chart as it is stored: u8, one band, 255 without a label.
ImageHeader probe_ice_chart(const std::string& path, const std::string& chart,
                            const ImageLimits& limits = {});
Image read_ice_chart(const std::string& path, const std::string& chart,
                     const ImageLimits& limits = {}, const PicturePart& part = {});
bool has_ice_chart(const std::string& path, const std::string& chart);

// The sparse grid of latitudes and longitudes as control points; empty where there is none. Its
// points are taken to lie evenly, the first and last on the first and last pixels.
Georeference ice_georeference(const std::string& path);
// The same of a grid of `rows` x `columns` points on a picture of `height` x `width` pixels.
Georeference georeference_of_grid(std::span<const double> latitudes,
                                  std::span<const double> longitudes, int64_t rows, int64_t columns,
                                  int64_t height, int64_t width);

}  // namespace fulmar::data
