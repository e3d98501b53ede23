#include "tools/run/class_colours.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace fulmar::tools {
namespace {

constexpr int64_t gap = 8;  // between pictures, pixels

// Okabe and Ito, "Color Universal Design" (2008), then again, darker.
Colour listed(size_t k) {
  constexpr std::array<Colour, 8> colours{{{0, 114, 178},
                                           {230, 159, 0},
                                           {86, 180, 233},
                                           {0, 158, 115},
                                           {240, 228, 66},
                                           {213, 94, 0},
                                           {204, 121, 167},
                                           {153, 153, 153}}};
  Colour colour = colours[k % colours.size()];
  for (size_t round = 0; round < k / colours.size(); round++)
    for (uint8_t& part : colour) part = static_cast<uint8_t>(part * 2 / 3);
  return colour;
}

// Of the class behind the last one, which no label has.
constexpr Colour of_none{153, 153, 153};

// Of tenths of ice.
Colour of_concentration(int64_t tenths) {
  if (tenths == 0) return {150, 200, 255};
  if (tenths <= 3) return {140, 255, 160};
  if (tenths <= 6) return {255, 255, 0};
  if (tenths <= 8) return {255, 125, 7};
  if (tenths <= 10) return {255, 0, 0};
  return of_none;
}

// Open water; new, young, thin and thick first-year, old ice.
Colour of_stage(int64_t stage) {
  constexpr std::array<Colour, 7> colours{{{150, 200, 255},
                                           {240, 210, 250},
                                           {170, 40, 240},
                                           {155, 210, 0},
                                           {0, 120, 0},
                                           {180, 100, 50},
                                           of_none}};
  return colours[static_cast<size_t>(stage)];
}

bool within(const std::vector<int64_t>& numbers, int64_t most) {
  return std::all_of(numbers.begin(), numbers.end(),
                     [&](int64_t number) { return number >= 0 && number <= most; });
}

}  // namespace

bool has_known_colours(const PixelClasses& classes) {
  return (classes.task == "SIC" && within(classes.numbers, 11)) ||
         (classes.task == "SOD" && within(classes.numbers, 6));
}

Colour class_colour(const PixelClasses& classes, size_t k) {
  if (!has_known_colours(classes)) return listed(k);
  const int64_t number = classes.numbers[k];
  return classes.task == "SIC" ? of_concentration(number) : of_stage(number);
}

data::ColourTable colours_of(const PixelClasses& classes) {
  data::ColourTable table(256);
  for (size_t k = 0; k < classes.names.size(); k++) table[k] = class_colour(classes, k);
  return table;
}

data::Image coloured(const std::vector<uint8_t>& map, int64_t width, const PixelClasses& classes) {
  const data::ColourTable table = colours_of(classes);
  data::Image image;
  image.height = std::ssize(map) / width, image.width = width, image.bands = 3;
  image.data.reserve(map.size() * 3);
  for (const uint8_t k : map) image.data.insert(image.data.end(), table[k].begin(), table[k].end());
  return image;
}

data::Image side_by_side(const std::vector<data::Image>& pictures) {
  data::Image all;
  all.bands = 3;
  all.width = -gap;
  for (const data::Image& picture : pictures) {
    all.height = std::max(all.height, picture.height);
    all.width += picture.width + gap;
  }
  all.data.assign(static_cast<size_t>(all.bytes()), 255);
  int64_t left = 0;
  for (const data::Image& picture : pictures) {
    for (int64_t y = 0; y < picture.height; y++)
      for (int64_t x = 0; x < picture.width; x++)
        for (int64_t k = 0; k < 3; k++)
          all.data[static_cast<size_t>((y * all.width + left + x) * 3 + k)] =
              picture.data[static_cast<size_t>((y * picture.width + x) * picture.bands +
                                               (picture.bands == 1 ? 0 : k))];
    left += picture.width + gap;
  }
  return all;
}

data::PicturePart picked_part(int64_t height, int64_t width, int64_t side) {
  const int64_t longest = std::max(height, width);
  const auto places = [&](int64_t extent) {
    const int64_t count = longest <= side ? extent : std::max<int64_t>(1, extent * side / longest);
    std::vector<int64_t> all;
    for (int64_t i = 0; i < count; i++) all.push_back((2 * i + 1) * extent / (2 * count));
    return all;
  };
  return {places(height), places(width)};
}

data::Image picked(const std::vector<uint8_t>& map, int64_t width, int64_t side) {
  data::Image whole;
  whole.height = std::ssize(map) / width, whole.width = width, whole.bands = 1;
  whole.data = map;
  const data::PicturePart part = picked_part(whole.height, width, side);
  return data::cut(std::move(whole), part);
}

}  // namespace fulmar::tools
