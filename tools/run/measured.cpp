#include "tools/run/measured.h"

#include <cmath>

#include "data/ice_bands.h"
#include "data/ice_scene.h"

namespace fulmar::tools {

namespace {

bool is_measured(const data::Image& image, int64_t pixel, const WarpOptions& read) {
  for (int64_t band = 0; band < image.bands; band++) {
    const int64_t at = pixel * image.bands + band;
    const float value =
        image.type == DType::f32   ? reinterpret_cast<const float*>(image.data.data())[at]
        : image.type == DType::u16 ? reinterpret_cast<const uint16_t*>(image.data.data())[at]
                                   : image.data[static_cast<size_t>(at)];
    const bool is_fill =
        !std::isfinite(value) || image.nodata == value || (read.has_nodata && value == read.nodata);
    if (!is_fill) return true;
  }
  return false;
}

}  // namespace

std::vector<uint8_t> measured_pixels(const std::string& path, const data::Image& image,
                                     const data::PicturePart& part, const WarpOptions& read,
                                     const data::ImageLimits& limits) {
  std::vector<uint8_t> measured(static_cast<size_t>(image.pixels()));
  if (!data::is_netcdf(path)) {
    for (size_t i = 0; i < measured.size(); i++)
      measured[i] = is_measured(image, static_cast<int64_t>(i), read);
    return measured;
  }
  const data::Image sar = data::read_ice_scene(path, data::ice_bands({"hh"}), limits, part);
  const auto* values = reinterpret_cast<const float*>(sar.data.data());
  for (size_t i = 0; i < measured.size(); i++) measured[i] = values[i] != 0;
  return measured;
}

}  // namespace fulmar::tools
