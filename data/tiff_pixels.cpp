#include "data/tiff_pixels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace fulmar::data {

namespace {

DType type_of(const TiffLayout& t) {
  const bool whole = t.format == SAMPLEFORMAT_UINT || t.format == SAMPLEFORMAT_VOID;
  if (whole && t.bits <= 8) return DType::u8;
  if (whole && t.bits == 16) return DType::u16;
  return DType::f32;
}

// A whole number of the file as it will be in the picture: stretched to 8 bits, white as the most.
template <class T>
T stretched(T value, const TiffLayout& t) {
  if constexpr (std::is_same_v<T, uint8_t>)
    if (t.bits < 8) value = static_cast<T>(value * 255 / ((1 << t.bits) - 1));
  return t.inverted() ? static_cast<T>(std::numeric_limits<T>::max() - value) : value;
}

template <class T>
std::optional<double> nodata_among(const TiffLayout& t) {
  const double most = t.bits < 8 ? (1 << t.bits) - 1 : std::numeric_limits<T>::max();
  if (!t.nodata || !(*t.nodata >= 0 && *t.nodata <= most) || std::floor(*t.nodata) != *t.nodata)
    return {};  // no pixel can have it
  return stretched(static_cast<T>(*t.nodata), t);
}

// At most so many bytes come out of one, by the codec; what is behind `default` has no bound that
// is worth stating, so it is a generous one: Zstandard's longest run is 128 KiB in 4 bytes.
uint64_t largest_ratio(uint16_t compression) {
  switch (compression) {
    case COMPRESSION_NONE:
      return 1;
    case COMPRESSION_PACKBITS:
      return 64;
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE:
      return 1032;
    case COMPRESSION_LZW:
      return 4096;
    default:
      return 65536;
  }
}

// Samples of fewer than 8 bits, the first in the highest bits, to a byte each.
void unpack(const uint8_t* from, int64_t count, int bits, uint8_t* to) {
  const int per_byte = 8 / bits, mask = (1 << bits) - 1;
  for (int64_t i = 0; i < count; i++) {
    const int place = static_cast<int>(i % per_byte);
    to[i] = static_cast<uint8_t>(from[i / per_byte] >> (8 - bits * (place + 1)) & mask);
  }
}

class Decoder {
 public:
  Decoder(const TiffFile& file, uint64_t file_bytes, const TiffLayout& layout)
      : file_(file), tiff_(file.get()), file_bytes_(file_bytes), t_(layout) {}

  Image decode() {
    static_cast<ImageHeader&>(image_) = header_of(t_);
    image_.dropped_alpha = t_.bands.size() < t_.samples;
    check_blocks();
    if (t_.palette()) read_palette();
    image_.data.resize(static_cast<size_t>(image_.bytes()));
    block_.resize(static_cast<size_t>(t_.block_row_bytes() * t_.block_height));
    if (t_.bits < 8)
      unpacked_.resize(static_cast<size_t>(int64_t{t_.block_width} * t_.block_samples()));
    if (!t_.planar) {
      decode_plane(0, t_.bands, 0);
    } else {
      for (size_t band = 0; band < t_.bands.size(); band++)
        decode_plane(t_.bands[band], {0}, static_cast<int64_t>(band));
    }
    return std::move(image_);
  }

 private:
  std::string block_name(uint32_t number) const {
    return (t_.tiled ? "tile " : "strip ") + std::to_string(number + 1);
  }
  uint32_t blocks_in_plane() const { return t_.block_rows() * t_.block_columns(); }
  // Left out on purpose, as GDAL does with blocks of nodata alone.
  bool is_absent(uint32_t number) const {
    return TIFFGetStrileOffset(tiff_, number) == 0 && TIFFGetStrileByteCount(tiff_, number) == 0;
  }

  void check_blocks() {
    constexpr uint64_t usual_block = uint64_t{64} << 20;
    if (t_.block_height == 0 || t_.block_width == 0) file_.fail("its tiles have no extents");
    const auto row_bytes = static_cast<uint64_t>(t_.block_row_bytes());
    const uint64_t libtiff_row = t_.tiled ? TIFFTileRowSize64(tiff_) : TIFFScanlineSize64(tiff_);
    if (libtiff_row != row_bytes)
      file_.fail("its rows are of " + std::to_string(libtiff_row) + " bytes, not " +
                 std::to_string(row_bytes));
    const uint64_t pixels_bytes =
        static_cast<uint64_t>(image_.pixels()) * t_.samples * std::max<uint64_t>(1, t_.bits / 8);
    if (t_.block_height > std::max(usual_block, pixels_bytes) / row_bytes)
      file_.fail("its tiles are of " + std::to_string(t_.block_width) + " x " +
                 std::to_string(t_.block_height) + " pixels, far more than the picture");
    const uint64_t planes = t_.planar ? t_.samples : 1;
    const uint64_t expected = planes * t_.block_rows() * t_.block_columns();
    const uint64_t found = t_.tiled ? TIFFNumberOfTiles(tiff_) : TIFFNumberOfStrips(tiff_);
    if (found != expected)
      file_.fail("it has " + std::to_string(found) + " of " + std::to_string(expected) +
                 (t_.tiled ? " tiles" : " strips"));
    uint64_t decoded = 0;
    for (uint32_t number = 0; number < found; number++) {
      const uint64_t at = TIFFGetStrileOffset(tiff_, number),
                     bytes = TIFFGetStrileByteCount(tiff_, number);
      if (is_absent(number) && (image_.type == DType::f32 ? t_.nodata : image_.nodata)) continue;
      if (is_absent(number))
        file_.fail(block_name(number) + " of " + std::to_string(found) +
                   " is left out, and no nodata value says what it would hold");
      if (at >= file_bytes_ || bytes > file_bytes_ - at || bytes == 0)
        file_.fail(block_name(number) + " of " + std::to_string(found) + " is said to be " +
                   std::to_string(bytes) + " bytes at " + std::to_string(at) +
                   ", and the file has " + std::to_string(file_bytes_));
      decoded += row_bytes * block_height(number % blocks_in_plane() / t_.block_columns());
    }
    if (decoded / largest_ratio(t_.compression) > file_bytes_)
      file_.fail("it is too short for the size in its header");
  }

  // Rows that block row `row` has in the file: the last strip has fewer, the last tile does not.
  uint32_t block_height(uint32_t row) const {
    return t_.tiled ? t_.block_height
                    : std::min(t_.block_height, t_.height - row * t_.block_height);
  }

  void read_palette() {
    const uint16_t* maps[3] = {};
    if (!TIFFGetField(tiff_, TIFFTAG_COLORMAP, &maps[0], &maps[1], &maps[2]))
      file_.fail("its palette is missing");
    const size_t colours = size_t{1} << t_.bits;
    // Colours are of 16 bits; some old writers give 8.
    bool wide = false;
    for (const uint16_t* map : maps)
      wide |= std::any_of(map, map + colours, [](uint16_t value) { return value > 255; });
    for (size_t colour = 0; colour < colours; colour++)
      for (const uint16_t* map : maps)
        palette_.push_back(static_cast<uint8_t>(wide ? map[colour] >> 8 : map[colour]));
  }

  void decode_plane(uint16_t plane, const std::vector<uint16_t>& samples, int64_t first_band) {
    for (uint32_t row = 0; row < t_.block_rows(); row++)
      for (uint32_t column = 0; column < t_.block_columns(); column++) {
        const uint32_t number = plane * blocks_in_plane() + row * t_.block_columns() + column;
        const bool absent = is_absent(number);
        if (!absent) read_block(number, row);
        place_block(row, column, samples, first_band, absent);
      }
  }

  void read_block(uint32_t number, uint32_t row) {
    const auto bytes = static_cast<tmsize_t>(t_.block_row_bytes() * block_height(row));
    const tmsize_t got = t_.tiled ? TIFFReadEncodedTile(tiff_, number, block_.data(), bytes)
                                  : TIFFReadEncodedStrip(tiff_, number, block_.data(), bytes);
    if (got != bytes || file_.jpeg_warned()) file_.fail(block_name(number) + " can't be decoded");
  }

  void place_block(uint32_t block_row, uint32_t block_column, const std::vector<uint16_t>& samples,
                   int64_t first_band, bool absent) {
    const int64_t top = int64_t{block_row} * t_.block_height;
    const int64_t left = int64_t{block_column} * t_.block_width;
    const int64_t rows = std::min<int64_t>(t_.block_height, t_.height - top);
    const int64_t columns = std::min<int64_t>(t_.block_width, t_.width - left);
    const auto pixel_bytes = image_.bands * static_cast<int64_t>(size_of(image_.type));
    for (int64_t row = 0; row < rows; row++) {
      const uint8_t* from = block_.data() + row * t_.block_row_bytes();
      if (t_.bits < 8 && !absent) {
        unpack(from, columns * t_.block_samples(), t_.bits, unpacked_.data());
        from = unpacked_.data();
      }
      uint8_t* to = image_.data.data() + ((top + row) * image_.width + left) * pixel_bytes;
      for (size_t i = 0; i < samples.size(); i++) {
        const int64_t band = first_band + static_cast<int64_t>(i);
        if (absent)
          clear_row(to, columns, band);
        else
          place_row(from, columns, samples[i], to, band);
      }
    }
  }

  // One sample of each pixel of a row.
  void place_row(const uint8_t* from, int64_t columns, int64_t sample, uint8_t* to, int64_t band) {
    switch (t_.format) {
      case SAMPLEFORMAT_INT:
        if (t_.bits == 8) return place_real<int8_t>(from, columns, sample, to, band);
        if (t_.bits == 16) return place_real<int16_t>(from, columns, sample, to, band);
        return place_real<int32_t>(from, columns, sample, to, band);
      case SAMPLEFORMAT_IEEEFP:
        if (t_.bits == 32) return place_real<float>(from, columns, sample, to, band);
        return place_real<double>(from, columns, sample, to, band);
      default:
        if (t_.bits == 32) return place_real<uint32_t>(from, columns, sample, to, band);
        if (t_.bits == 16) return place_whole<uint16_t>(from, columns, sample, to, band);
        if (t_.palette()) return place_colour(from, columns, sample, to);
        return place_whole<uint8_t>(from, columns, sample, to, band);
    }
  }

  template <class T>
  void place_whole(const uint8_t* from, int64_t columns, int64_t sample, uint8_t* to,
                   int64_t band) {
    const int64_t step = t_.block_samples();
    T* out = reinterpret_cast<T*>(to) + band;
    for (int64_t i = 0; i < columns; i++) {
      T value;
      std::memcpy(&value, from + (i * step + sample) * static_cast<int64_t>(sizeof(T)), sizeof(T));
      out[i * image_.bands] = stretched(value, t_);
    }
  }

  void place_colour(const uint8_t* from, int64_t columns, int64_t sample, uint8_t* to) {
    const int64_t step = t_.block_samples();
    for (int64_t i = 0; i < columns; i++)
      std::memcpy(to + 3 * i, palette_.data() + size_t{3} * from[i * step + sample], 3);
  }

  // Nodata becomes NaN. Whole numbers that float has no place for are refused.
  template <class T>
  void place_real(const uint8_t* from, int64_t columns, int64_t sample, uint8_t* to, int64_t band) {
    const int64_t step = t_.block_samples();
    float* out = reinterpret_cast<float*>(to) + band;
    for (int64_t i = 0; i < columns; i++) {
      T value;
      std::memcpy(&value, from + (i * step + sample) * static_cast<int64_t>(sizeof(T)), sizeof(T));
      out[i * image_.bands] =
          is_nodata(value) ? std::numeric_limits<float>::quiet_NaN() : real_of(value);
    }
  }

  template <class T>
  bool is_nodata(T value) const {
    if (!t_.nodata) return false;
    if constexpr (std::is_same_v<T, float>) {
      // As text it may be rounded to just beyond what float holds.
      constexpr double most = std::numeric_limits<float>::max();
      if (std::abs(*t_.nodata) > most * (1 + 1e-6)) return false;
      return value == static_cast<float>(std::clamp(*t_.nodata, -most, most));
    } else {
      return static_cast<double>(value) == *t_.nodata;
    }
  }

  template <class T>
  float real_of(T value) const {
    if constexpr (std::is_same_v<T, double>) {
      constexpr double most = std::numeric_limits<float>::max();
      if (std::abs(value) > most)  // also infinity
        return std::copysign(std::numeric_limits<float>::infinity(),
                             static_cast<float>(std::copysign(1.0, value)));
      return static_cast<float>(value);
    } else {
      const auto real = static_cast<float>(value);
      if constexpr (std::is_integral_v<T> && sizeof(T) == 4)
        if (static_cast<double>(real) != static_cast<double>(value))
          unsupported(file_.name(), "TIFF of whole numbers beyond 16 million, such as " +
                                        std::to_string(value) + ",");
      return real;
    }
  }

  void clear_row(uint8_t* to, int64_t columns, int64_t band) {
    switch (image_.type) {
      case DType::f32:
        return clear_row<float>(to, columns, band, std::numeric_limits<float>::quiet_NaN());
      case DType::u16:
        return clear_row<uint16_t>(to, columns, band, static_cast<uint16_t>(*image_.nodata));
      default:
        return clear_row<uint8_t>(to, columns, band, static_cast<uint8_t>(*image_.nodata));
    }
  }
  template <class T>
  void clear_row(uint8_t* to, int64_t columns, int64_t band, T value) {
    T* out = reinterpret_cast<T*>(to) + band;
    for (int64_t i = 0; i < columns; i++) out[i * image_.bands] = value;
  }

  const TiffFile& file_;
  TIFF* tiff_;
  uint64_t file_bytes_;
  const TiffLayout& t_;
  Image image_;
  std::vector<uint8_t> block_, unpacked_, palette_;
};

}  // namespace

ImageHeader header_of(const TiffLayout& t) {
  ImageHeader header;
  header.height = t.height;
  header.width = t.width;
  header.bands = t.palette() ? 3 : static_cast<int64_t>(t.bands.size());
  header.type = type_of(t);
  if (header.type == DType::u16) header.nodata = nodata_among<uint16_t>(t);
  if (header.type == DType::u8 && !t.palette()) header.nodata = nodata_among<uint8_t>(t);
  return header;
}

Image decode_tiff_pixels(const TiffFile& file, uint64_t file_bytes, const TiffLayout& layout) {
  return Decoder(file, file_bytes, layout).decode();
}

}  // namespace fulmar::data
