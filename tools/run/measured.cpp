#include "tools/run/measured.h"

#include <cmath>

namespace fulmar::tools {

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

}  // namespace fulmar::tools
