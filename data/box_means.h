#pragma once

#include <cstdint>
#include <vector>

#include "data/georeference.h"
#include "data/image.h"

namespace fulmar::data {

// Means of an image's first `bands` bands over a grid of boxes that cover its first `rows` rows and
// `columns` columns; [height, width, bands]. NaN, infinite and nodata values count for nothing; NaN
// where a box has nothing else. Error(usage): an element type that is not u8, u16 or f32.
struct BoxGrid {
  int64_t height = 0, width = 0;  // boxes
  int64_t rows = 0, columns = 0;  // pixels that they cover
  int64_t bands = 0;
};
std::vector<double> box_means(const Image& image, const BoxGrid& grid);

// The picture with pixels `factor` times as large, of the same type: means over factor x factor
// pixels of what is valid, whole numbers rounded to the nearest (halves up). A box without valid
// pixels is nodata, or NaN of float32. Rows and columns at the end that fill no box are left out.
// Error(usage): a factor below 1 or larger than the picture.
Image reduced(const Image& image, int64_t factor);
// Where the reduced picture lies.
Georeference reduced(Georeference georeference, int64_t factor);

}  // namespace fulmar::data
