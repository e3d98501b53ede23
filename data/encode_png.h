#pragma once

#include <string>

#include "data/image.h"

namespace fulmar::data {

// A PNG file's bytes, of a picture of u8 or u16 with 1 band (grey), 3 (colours) or 4 (colours and
// opacity); decode_image gives the same pixels back, without opacity. Error(usage) for other
// pictures.
std::string encode_png(const Image& image);

}  // namespace fulmar::data
