#pragma once

#include "data/image_format.h"

namespace fulmar::data {

// stb_image's decoder. It trusts files more than it may (a cut one decodes to grey or black, some
// damaged ones overrun its tables), so the caller has checked the file's structure and header.
// `dropped_alpha` is left for the caller.
Image stb_decode(Bytes file, const std::string& name, const char* format,
                 const ImageHeader& header);

}  // namespace fulmar::data
