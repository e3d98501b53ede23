#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/tiff_file.h"

namespace fulmar::data {

// The first page of a TIFF as it stores its picture, of a kind that this program reads.
struct TiffLayout {
  uint32_t height = 0, width = 0;
  uint16_t samples = 0, bits = 0, format = 0;  // of a pixel; of a sample; SAMPLEFORMAT_...
  uint16_t compression = 0, photometric = 0;
  bool planar = false;                         // a plane for each sample, else side by side
  std::vector<uint16_t> bands;                 // the samples that are bands: all but transparency
  bool tiled = false;                          // else strips
  uint32_t block_height = 0, block_width = 0;  // of a tile; of a strip but the last, as it is wide
  std::optional<double> nodata;                // in the units of the file
  std::vector<std::string> remarks;            // as those of ImageHeader

  bool inverted() const { return photometric == PHOTOMETRIC_MINISWHITE; }
  bool palette() const { return photometric == PHOTOMETRIC_PALETTE; }
  int64_t block_samples() const { return planar ? 1 : samples; }  // of a pixel of a block
  int64_t block_row_bytes() const { return (block_width * block_samples() * bits + 7) / 8; }
  uint32_t block_rows() const { return blocks_over(height, block_height); }
  uint32_t block_columns() const { return blocks_over(width, block_width); }
  static uint32_t blocks_over(uint64_t extent, uint64_t block) {
    return static_cast<uint32_t>((extent + block - 1) / block);
  }
};

// The extents, bands, type and nodata of the picture that decode_tiff_pixels() makes of a layout.
ImageHeader header_of(const TiffLayout& layout);

// Decodes the blocks that the part touches. It first checks that every block lies in the file, and
// that the file is long enough for what it claims; then it asks for memory, at most `memory_bytes`.
// Error(file): the file is damaged.
Image decode_tiff_pixels(const TiffFile& file, const TiffLayout& layout, const PicturePart& part,
                         uint64_t memory_bytes);

}  // namespace fulmar::data
