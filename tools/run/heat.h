#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/image.h"
#include "engine/picture/geometry.h"

// Maps of explanations as pictures.
namespace fulmar::tools {

// A colour of the scale from -1 (blue) to 1 (red), and how much it covers: nothing at 0. The two
// hues are told apart by colour-blind people too.
struct HeatColour {
  std::array<uint8_t, 3> rgb;
  double cover;  // 0 to 1
};
HeatColour heat_colour(double value);

// The sum over the channels of a map [height,width,channels], as means over the boxes of pixels
// that a smaller picture has.
std::vector<float> shrunk(std::span<const float> map, int64_t height, int64_t width,
                          int64_t to_height, int64_t to_width);

// What 1 is on the scale: the 99.5th percentile of the absolute values that aren't 0, so that
// single pixels don't pale the rest. 0 where all are.
double heat_peak(std::span<const float> map);

// A map [height,width] as colours and opacity.
data::Image heat_picture(std::span<const float> map, int64_t height, int64_t width, double peak);

// A picture of u8 with one of heat_picture() of its extents over it, and a line around what the
// network saw, where that is not the whole picture: in parts of its width and height.
data::Image overlay(const data::Image& picture, const data::Image& heat, const SeenArea& shares);

}  // namespace fulmar::tools
