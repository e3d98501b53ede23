#pragma once

#include <string>

#include "data/colour_table.h"
#include "data/image.h"

namespace fulmar::data {

// A PNG file's bytes, of a picture of u8 or u16 with 1 band (grey), 3 (colours) or 4 (colours and
// opacity); decode_image gives the same pixels back, without opacity. With `colours`, of one band
// of u8, the numbers are a palette's places, and decode_image gives the colours. Error(usage) for
// other pictures.
std::string encode_png(const Image& image, const ColourTable& colours = {});

}  // namespace fulmar::data
