#include "data/thumbnail.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "data/box_means.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

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
  if (image.type != DType::u8 && image.type != DType::u16 && image.type != DType::f32)
    usage_error(std::string("a thumbnail of a picture of type ") + name_of(image.type));
  const std::vector<double> means =
      box_means(image, {small.height, small.width, image.height, image.width, small.bands});
  const Range range = image.type == DType::u8 ? Range{} : spread_of(means);
  for (const double mean : means) small.data.push_back(level(mean, range));
  return small;
}

}  // namespace fulmar::data
