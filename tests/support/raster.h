#pragma once

#include <cstring>
#include <optional>
#include <string>

#include "data/geotiff.h"

namespace fulmar::test {

// A float32 picture whose value at (row, column, band) is what `value` gives.
template <class Value>
data::Image float_raster(int64_t height, int64_t width, int64_t bands, const Value& value) {
  data::Image image;
  static_cast<data::ImageHeader&>(image) = {height, width, bands, DType::f32};
  image.data.resize(static_cast<size_t>(image.bytes()));
  auto* to = reinterpret_cast<float*>(image.data.data());
  for (int64_t row = 0; row < height; row++)
    for (int64_t column = 0; column < width; column++)
      for (int64_t band = 0; band < bands; band++)
        *to++ = static_cast<float>(value(row, column, band));
  return image;
}

// Writes one as GeoTIFF, 10 m a pixel, in UTM zone 33 by default.
template <class Value>
void write_raster(const std::string& path, int64_t height, int64_t width, int64_t bands,
                  const Value& value, std::optional<double> nodata = {}, int epsg = 32633) {
  write_geotiff(path, float_raster(height, width, bands, value),
                data::make_georeference(data::EarthModel::projected, epsg, 4e5, 5.3e6, 10, 10),
                nodata);
}

}  // namespace fulmar::test
