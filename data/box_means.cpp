#include "data/box_means.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "kernels/error.h"

namespace fulmar::data {
namespace {

template <class T>
std::vector<double> means_of(const Image& image, const BoxGrid& grid) {
  const T* values = reinterpret_cast<const T*>(image.data.data());
  std::vector<double> means;
  means.reserve(static_cast<size_t>(grid.height * grid.width * grid.bands));
  for (int64_t y = 0; y < grid.height; y++)
    for (int64_t x = 0; x < grid.width; x++)
      for (int64_t band = 0; band < grid.bands; band++) {
        double sum = 0;
        int64_t count = 0;
        for (int64_t row = y * grid.rows / grid.height; row < (y + 1) * grid.rows / grid.height;
             row++)
          for (int64_t column = x * grid.columns / grid.width;
               column < (x + 1) * grid.columns / grid.width; column++) {
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

template <class T>
T value_of(double mean, const Image& image) {
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(mean);
  if (std::isnan(mean)) return static_cast<T>(image.nodata.value_or(0));
  double rounded = std::floor(mean + 0.5);
  // A mean of valid values must not read as a missing one.
  if (rounded == image.nodata) rounded += mean < rounded ? -1 : 1;
  return static_cast<T>(rounded);
}

template <class T>
void fill(Image& image, const std::vector<double>& means) {
  image.data.resize(means.size() * sizeof(T));
  for (size_t i = 0; i < means.size(); i++) {
    const T value = value_of<T>(means[i], image);
    std::memcpy(image.data.data() + i * sizeof(T), &value, sizeof(T));
  }
}

}  // namespace

std::vector<double> box_means(const Image& image, const BoxGrid& grid) {
  switch (image.type) {
    case DType::u8:
      return means_of<uint8_t>(image, grid);
    case DType::u16:
      return means_of<uint16_t>(image, grid);
    case DType::f32:
      return means_of<float>(image, grid);
    default:
      usage_error(std::string("means of a picture of type ") + name_of(image.type));
  }
}

Image reduced(const Image& image, int64_t factor) {
  if (factor < 1 || factor > image.height || factor > image.width)
    usage_error("a picture of " + std::to_string(image.height) + " x " +
                std::to_string(image.width) + " pixels can't be reduced " + std::to_string(factor) +
                " times");
  const BoxGrid grid{image.height / factor, image.width / factor, image.height / factor * factor,
                     image.width / factor * factor, image.bands};
  const std::vector<double> means = box_means(image, grid);
  Image small;
  static_cast<ImageHeader&>(small) = image;
  small.height = grid.height;
  small.width = grid.width;
  if (small.type == DType::u8)
    fill<uint8_t>(small, means);
  else if (small.type == DType::u16)
    fill<uint16_t>(small, means);
  else
    fill<float>(small, means);
  return small;
}

Georeference reduced(Georeference georeference, int64_t factor) {
  const auto times = static_cast<double>(factor);
  if (georeference.transform)
    for (const size_t step : {1u, 2u, 4u, 5u}) (*georeference.transform)[step] *= times;
  for (GroundPoint& point : georeference.points) {
    point.column /= times;
    point.row /= times;
  }
  return georeference;
}

}  // namespace fulmar::data
