#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/image_file.h"

namespace fulmar::data {

// What a PNG's header says of its pixels, each of `channels` samples of 8 or 16 bits.
struct PngPixels {
  int64_t height = 0, width = 0, channels = 0, bits = 0;

  int64_t pixel_bytes() const { return channels * bits / 8; }
  int64_t row_bytes() const { return width * pixel_bytes(); }
};

// The samples of a PNG that is not interlaced and has no palette: rows side by side, 16 bits in the
// machine's byte order. `file` begins as a PNG and its header. Nothing where anything about the
// pixels' chunks is out of order: order, checksums, compressed data, filters, an end mark.
std::optional<std::vector<uint8_t>> read_png_pixels(Bytes file, const PngPixels& pixels);

// The same file with one black pixel instead of its own: what all other chunks hold is as it was.
// `file` is one of which the above read the pixels.
std::string with_one_pixel(Bytes file, const PngPixels& pixels);

}  // namespace fulmar::data
