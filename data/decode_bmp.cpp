#include <cstdlib>

#include "data/stb.h"

namespace fulmar::data {

namespace {

// The file header (14 bytes) and what follows it: BITMAPCOREHEADER (12 bytes) or BITMAPINFOHEADER
// and its longer kin, which begin alike.
struct BmpHeader {
  uint32_t data_at = 0;  // byte where the pixels begin
  int64_t width = 0, height = 0;
  uint32_t bits = 0;         // of a pixel
  uint32_t compression = 0;  // 0: none, 3: none, with bit masks
};

bool matches(Bytes start) { return start.size() >= 2 && start[0] == 'B' && start[1] == 'M'; }

BmpHeader parse(Bytes start, const std::string& name) {
  if (start.size() < 34) damaged(name, "BMP: it ends within its header");
  BmpHeader header;
  header.data_at = little_endian(start, 10, 4);
  if (little_endian(start, 14, 4) == 12) {
    header.width = little_endian(start, 18, 2);
    header.height = little_endian(start, 20, 2);
    header.bits = little_endian(start, 24, 2);
  } else {
    header.width = static_cast<int32_t>(little_endian(start, 18, 4));
    // Negative: rows are stored from top to bottom.
    header.height = std::abs(int64_t{static_cast<int32_t>(little_endian(start, 22, 4))});
    header.bits = little_endian(start, 28, 2);
    header.compression = little_endian(start, 30, 4);
  }
  if (header.compression != 0 && header.compression != 3) unsupported(name, "a compressed BMP");
  return header;
}

bool probe(Bytes start, bool, const std::string& name, ImageHeader& header) {
  const BmpHeader bmp = parse(start, name);
  header = {bmp.height, bmp.width, 3, DType::u8};
  return true;
}

Image decode(Bytes file, const std::string& name, const ImageHeader& header) {
  const BmpHeader bmp = parse(file, name);
  const uint64_t row = (static_cast<uint64_t>(bmp.width) * bmp.bits + 31) / 32 * 4;
  const uint64_t needed = bmp.data_at + row * static_cast<uint64_t>(bmp.height);
  if (file.size() < needed)
    damaged(name, "BMP: it has " + std::to_string(file.size()) + " of " + std::to_string(needed) +
                      " bytes");
  Image image = stb_decode(file, name, "BMP", header);
  image.dropped_alpha = bmp.bits == 32;
  return image;
}

}  // namespace

extern const ImageFormat bmp_format{"BMP", ".bmp", matches, probe_start<probe>,
                                    decode_whole<decode>};

}  // namespace fulmar::data
