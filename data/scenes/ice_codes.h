#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace fulmar::data::scenes {

// What a polygon of an ice chart says: the codes of SIGRID-3, -9 where nothing is filled in.
// Concentrations: all ice, then the three thickest kinds of ice, with their stage and floe size.
struct IceCodes {
  int64_t total = -9;
  std::array<int64_t, 3> concentration{-9, -9, -9}, stage{-9, -9, -9}, floes{-9, -9, -9};
  bool water = false;  // POLY_TYPE is W

  // A row "poly_id;CT;CA;SA;FA;CB;SB;FB;CC;SC;FC;CN;CD;CF;POLY_TYPE". Error(file).
  static IceCodes parse(const std::string& row);
};

// The classes of a polygon's pixels in the charts SIC, SOD and FLOE; 255: none.
struct IceClasses {
  uint8_t sic = 255, sod = 255, floe = 255;
};

// As convert_raw_icechart.py of the AutoICE challenge does it, its quirks included: of three kinds
// of one class the third's concentration alone is added to the first's; a kind of ice is a
// polygon's where it makes 65 % of the ice; any floe size without a class leaves the polygon
// without one; of unlisted concentrations the code itself stays.
IceClasses classes_of(const IceCodes& codes);

}  // namespace fulmar::data::scenes
