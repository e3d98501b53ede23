#pragma once

#include <string>

#include "data/image.h"

namespace fulmar::data {

// A PNG file's bytes, of a picture with 1 (grey) or 3 bands of u8 or u16; decode_image gives the
// same pixels back. Error(usage) for other pictures.
std::string encode_png(const Image& image);

}  // namespace fulmar::data
