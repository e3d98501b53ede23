#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/view.h"

namespace fulmar::data {

// The facts of a picture's header. One band is grey, three are red, green and blue (or any three of
// a raster), other counts are a raster's.
struct ImageHeader {
  int64_t height = 0, width = 0, bands = 0;
  DType type = DType::u8;
  // u8 and u16: the value that stands for "nothing was measured here". f32 has NaN for that.
  std::optional<double> nodata{};
  // What a user should be told of the file: sentences that begin with "its" or "it".
  std::vector<std::string> remarks{};

  int64_t pixels() const { return height * width; }
  int64_t bytes() const { return pixels() * bands * static_cast<int64_t>(size_of(type)); }
};

// A decoded picture, rows from top to bottom, bands side by side in each pixel. 8 bits and fewer
// are u8 (stretched to 0..255, as Pillow does), 16 bits stay u16 in the machine's byte order, other
// numbers of a raster are f32, where what the file calls nodata is NaN.
struct Image : ImageHeader {
  bool dropped_alpha = false;  // the file had transparency, which was left out
  std::vector<uint8_t> data;

  View view() { return view_of(data.data(), {1, height, width, bands}, type); }
};

// Rows and columns of a picture, each list ascending; one that stands there twice is read twice.
// Empty lists: all of it.
struct PicturePart {
  std::vector<int64_t> rows, columns;

  bool whole() const { return rows.empty(); }
};
PicturePart window(int64_t top, int64_t left, int64_t height, int64_t width);

struct ImageLimits {
  // A file that claims more is refused before any allocation. Three bands or fewer count once, up
  // to six twice, and so on.
  int64_t max_pixels = 500'000'000;
  // Refused before any allocation: what takes more than this to be decoded.
  uint64_t memory_bytes = UINT64_MAX;
};

// The picture in `file`, whose format is told by its first bytes. Error(file) with `name` where it
// is not a picture, damaged, cut short, of a kind that is not read, or larger than the limit.
Image decode_image(std::span<const uint8_t> file, const std::string& name,
                   const ImageLimits& limits = {}, const PicturePart& part = {});

// Of a TIFF only the strips or tiles that `part` touches are read. Error(usage): a part that the
// picture doesn't have.
Image read_image(const std::string& path, const ImageLimits& limits = {},
                 const PicturePart& part = {});

// The header alone: what read_image would give, unless the data are damaged.
ImageHeader probe_image(const std::string& path, const ImageLimits& limits = {});

// Whether a file passes for a picture: by its extension, or, with another one, by its first bytes;
// not one that has another extension and can't be read.
bool looks_like_image(const std::string& path);

// These rows and columns of a picture.
Image cut(Image image, const PicturePart& part);

std::string image_formats();  // "PNG, JPEG, BMP, TIFF"

// The picture with another number of bands, from 1 to 3 or back: grey is repeated, colours become
// (299 R + 587 G + 114 B) / 1000 with Pillow's convert("L") rounding; where a band is nodata, all
// are. Error(usage) for other counts that differ.
Image with_channels(Image image, int64_t channels);
// Whether with_channels() can: the count is the same, or both counts are 1 or 3.
bool can_have_channels(const ImageHeader& header, int64_t channels);

}  // namespace fulmar::data
