#include "data/thumbnail.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/error.h"

namespace fulmar::data {

namespace {

// Means over boxes, [height, width, bands]; NaN where a box has no number.
template <class T>
std::vector<double> box_means(const Image& image, const ImageHeader& small) {
  const T* values = reinterpret_cast<const T*>(image.data.data());
  std::vector<double> means;
  means.reserve(static_cast<size_t>(small.pixels() * small.bands));
  for (int64_t y = 0; y < small.height; y++)
    for (int64_t x = 0; x < small.width; x++)
      for (int64_t band = 0; band < small.bands; band++) {
        double sum = 0;
        int64_t count = 0;
        for (int64_t row = y * image.height / small.height;
             row < (y + 1) * image.height / small.height; row++)
          for (int64_t column = x * image.width / small.width;
               column < (x + 1) * image.width / small.width; column++) {
            const auto value =
                static_cast<double>(values[(row * image.width + column) * image.bands + band]);
            if (!std::isfinite(value) || value == image.nodata) continue;
            sum += value;
            count++;
          }
        means.push_back(count > 0 ? sum / static_cast<double>(count)
                                  : std::numeric_limits<double>::quiet_NaN());
      }
  return means;
}

struct Range {
  double low = 0, high = 255;
};

// From the first to the last hundredth of the numbers.
Range spread_of(std::vector<double> values) {
  values.erase(std::remove_if(values.begin(), values.end(), [](double v) { return std::isnan(v); }),
               values.end());
  if (values.empty()) return {};
  const auto at = [&](double share) {
    const auto place = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + place, values.end());
    return values[static_cast<size_t>(place)];
  };
  return {at(0.01), at(0.99)};
}

uint8_t level(double value, const Range& range) {
  if (std::isnan(value)) return 0;
  const double width = range.high - range.low;
  const double share = width > 0 ? (value - range.low) / width : 0.5;
  return static_cast<uint8_t>(std::lround(255 * std::clamp(share, 0.0, 1.0)));
}

}  // namespace

Image thumbnail(const Image& image, int64_t side) {
  if (side < 1)
    usage_error("a thumbnail has a side of one pixel or more, not " + std::to_string(side));
  if (image.pixels() < 1 || image.bands < 1) usage_error("a thumbnail of a picture without pixels");
  const int64_t longest = std::max(image.height, image.width);
  Image small;
  const auto fitted = [&](int64_t extent) {
    return longest <= side ? extent : std::max<int64_t>(1, extent * side / longest);
  };
  small.height = fitted(image.height);
  small.width = fitted(image.width);
  small.bands = image.bands < 3 ? 1 : 3;
  std::vector<double> means;
  switch (image.type) {
    case DType::u8:
      means = box_means<uint8_t>(image, small);
      break;
    case DType::u16:
      means = box_means<uint16_t>(image, small);
      break;
    case DType::f32:
      means = box_means<float>(image, small);
      break;
    default:
      usage_error(std::string("a thumbnail of a picture of type ") + name_of(image.type));
  }
  const Range range = image.type == DType::u8 ? Range{} : spread_of(means);
  for (const double mean : means) small.data.push_back(level(mean, range));
  return small;
}

}  // namespace fulmar::data
