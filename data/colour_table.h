#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace fulmar::data {

// Of each number that a picture of u8 may hold, its colour, 256 in all; empty: none.
using ColourTable = std::vector<std::array<uint8_t, 3>>;

// Of deflate, for pictures and maps: the usual level takes five to ten times as long for 6 % less.
constexpr int quick_level = 4;

}  // namespace fulmar::data
