#include "tools/run/heat.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace fulmar::tools {

HeatColour heat_colour(double value) {
  const double strength = std::min(std::abs(value), 1.0);
  // From orange to red, and from cyan to blue: weak values differ from grey pictures too.
  const auto between = [&](std::array<double, 3> weak, std::array<double, 3> strong) {
    HeatColour colour{};
    for (size_t i = 0; i < 3; i++)
      colour.rgb[i] = static_cast<uint8_t>(std::lround(weak[i] + (strong[i] - weak[i]) * strength));
    return colour;
  };
  HeatColour colour =
      value > 0 ? between({255, 176, 32}, {214, 39, 20}) : between({96, 190, 255}, {20, 60, 214});
  colour.cover = std::isfinite(value) ? std::sqrt(strength) : 0;
  return colour;
}

std::vector<float> shrunk(std::span<const float> map, int64_t height, int64_t width,
                          int64_t to_height, int64_t to_width) {
  const int64_t channels = std::ssize(map) / (height * width);
  std::vector<float> means;
  for (int64_t y = 0; y < to_height; y++)
    for (int64_t x = 0; x < to_width; x++) {
      const int64_t top = y * height / to_height, bottom = (y + 1) * height / to_height;
      const int64_t left = x * width / to_width, right = (x + 1) * width / to_width;
      double sum = 0;
      for (int64_t row = top; row < bottom; row++)
        for (int64_t at = (row * width + left) * channels; at < (row * width + right) * channels;
             at++)
          sum += static_cast<double>(map[static_cast<size_t>(at)]);
      const auto pixels = static_cast<double>((bottom - top) * (right - left));
      means.push_back(static_cast<float>(sum / std::max(pixels, 1.0)));
    }
  return means;
}

double heat_peak(std::span<const float> map) {
  std::vector<double> sizes;
  for (const float value : map)
    if (value != 0 && std::isfinite(value)) sizes.push_back(std::abs(static_cast<double>(value)));
  if (sizes.empty()) return 0;
  const auto at =
      static_cast<std::ptrdiff_t>(std::lround(0.995 * static_cast<double>(sizes.size() - 1)));
  std::nth_element(sizes.begin(), sizes.begin() + at, sizes.end());
  return sizes[static_cast<size_t>(at)];
}

data::Image heat_picture(std::span<const float> map, int64_t height, int64_t width, double peak) {
  data::Image image;
  image.height = height, image.width = width, image.bands = 4;
  image.data.reserve(map.size() * 4);
  for (const float value : map) {
    const HeatColour colour = heat_colour(peak > 0 ? static_cast<double>(value) / peak : 0);
    image.data.insert(image.data.end(), colour.rgb.begin(), colour.rgb.end());
    image.data.push_back(static_cast<uint8_t>(std::lround(255 * colour.cover)));
  }
  return image;
}

data::Image overlay(const data::Image& picture, const data::Image& heat, const SeenArea& shares) {
  if (heat.height != picture.height || heat.width != picture.width)
    usage_error("a map lies over a picture of its own extents");
  constexpr double most = 0.75;  // the picture stays visible
  data::Image image;
  image.height = picture.height, image.width = picture.width, image.bands = 3;
  image.data.resize(static_cast<size_t>(image.pixels() * 3));
  for (int64_t pixel = 0; pixel < image.pixels(); pixel++)
    for (int64_t k = 0; k < 3; k++) {
      const auto under = static_cast<double>(
          picture
              .data[static_cast<size_t>(picture.bands == 1 ? pixel : pixel * picture.bands + k)]);
      const auto over = static_cast<double>(heat.data[static_cast<size_t>(pixel * 4 + k)]);
      const double cover =
          most * static_cast<double>(heat.data[static_cast<size_t>(pixel * 4 + 3)]) / 255;
      image.data[static_cast<size_t>(pixel * 3 + k)] =
          static_cast<uint8_t>(std::lround(under + (over - under) * cover));
    }
  if (shares.width() > 0.995 && shares.height() > 0.995) return image;
  const auto line = [](double share, int64_t extent) {
    return std::clamp<int64_t>(std::llround(share * static_cast<double>(extent)), 0, extent - 1);
  };
  const int64_t left = line(shares.left, image.width), right = line(shares.right, image.width);
  const int64_t top = line(shares.top, image.height), bottom = line(shares.bottom, image.height);
  const auto mark = [&](int64_t row, int64_t column) {
    constexpr std::array<uint8_t, 3> yellow{255, 215, 94};
    std::copy(yellow.begin(), yellow.end(), image.data.begin() + (row * image.width + column) * 3);
  };
  for (int64_t column = left; column <= right; column++) mark(top, column), mark(bottom, column);
  for (int64_t row = top; row <= bottom; row++) mark(row, left), mark(row, right);
  return image;
}

}  // namespace fulmar::tools
