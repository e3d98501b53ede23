#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/colour_table.h"
#include "data/image.h"
#include "tools/run/pixel_classes.h"

namespace fulmar::tools {

using Colour = std::array<uint8_t, 3>;

// The colour of a class on maps: of the tasks SIC and SOD, where the classes' numbers are those of
// AI4Arctic's charts (tenths of ice; stages 0 to 5), the World Meteorological Organization's
// (WMO/TD-No. 1215); else one of a list that people with a red-green weakness tell apart.
Colour class_colour(const PixelClasses& classes, size_t k);

// Whether they are the World Meteorological Organization's.
bool has_known_colours(const PixelClasses& classes);

// The colours of all places of classes; black where there is no class.
data::ColourTable colours_of(const PixelClasses& classes);

// A map of places of classes, rows of `width`, in colours; black where there is none.
data::Image coloured(const std::vector<uint8_t>& map, int64_t width, const PixelClasses& classes);

// Pictures of u8 beside each other, as high as the highest, white between.
data::Image side_by_side(const std::vector<data::Image>& pictures);

// A map at so many pixels a side at most, each the nearest one of it: u8, one band.
data::Image picked(const std::vector<uint8_t>& map, int64_t width, int64_t side);
// The rows and columns that picked() takes.
data::PicturePart picked_part(int64_t height, int64_t width, int64_t side);

}  // namespace fulmar::tools
