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

// A larger uncompressed strip is not read as a whole.
constexpr int64_t most_block_bytes = int64_t{1} << 20;

// A nodata value of text as float32 has it: written with few digits, the largest float may have
// been rounded up to more.
double as_float(double value) {
  constexpr double most = std::numeric_limits<float>::max();
  if (std::isnan(value)) return value;
  if (std::abs(value) > most * (1 + 1e-6)) return std::copysign(HUGE_VAL, value);
  return static_cast<float>(std::clamp(value, -most, most));
}

// Samples of fewer than 8 bits, the first in the highest bits, to a byte each.
void unpack(const uint8_t* from, int64_t count, int bits, uint8_t* to) {
  const int per_byte = 8 / bits, mask = (1 << bits) - 1;
  for (int64_t i = 0; i < count; i++) {
    const int place = static_cast<int>(i % per_byte);
    to[i] = static_cast<uint8_t>(from[i / per_byte] >> (8 - bits * (place + 1)) & mask);
  }
}

// The lines of an ascending list that lie in [begin, end), as places in the list.
struct Run {
  size_t first, last;  // the one behind
};
Run lines_in(const std::vector<int64_t>& lines, int64_t begin, int64_t end) {
  const auto place = [&](int64_t line) {
    return static_cast<size_t>(std::lower_bound(lines.begin(), lines.end(), line) - lines.begin());
  };
  return {place(begin), place(end)};
}

class Decoder {
 public:
  Decoder(const TiffFile& file, const TiffLayout& layout, const PicturePart& part)
      : file_(file), tiff_(file.get()), file_bytes_(file.file().bytes()), t_(layout), part_(part) {}

  Image decode(uint64_t memory_bytes) {
    static_cast<ImageHeader&>(image_) = header_of(t_);
    image_.dropped_alpha = t_.bands.size() < t_.samples;
    check_blocks();
    if (part_.whole()) part_ = window(0, 0, t_.height, t_.width);
    side_by_side_ =
        std::adjacent_find(part_.columns.begin(), part_.columns.end(),
                           [](int64_t a, int64_t b) { return b != a + 1; }) == part_.columns.end();
    image_.height = std::ssize(part_.rows);
    image_.width = std::ssize(part_.columns);
    pixel_bytes_ = image_.bands * static_cast<int64_t>(size_of(image_.type));
    // Rows that libtiff would only copy are read from the file one by one.
    const int64_t block_bytes = t_.block_row_bytes() * t_.block_height;
    row_by_row_ = t_.compression == COMPRESSION_NONE && !t_.tiled && block_bytes > most_block_bytes;
    const int64_t buffer = row_by_row_ ? t_.block_row_bytes() : block_bytes;
    require_memory(static_cast<uint64_t>(image_.bytes() + buffer), memory_bytes, file_.name());
    if (t_.palette()) read_palette();
    nodata_ = t_.nodata.value_or(0);
    if (t_.bits == 32) nodata_ = as_float(nodata_);
    image_.data.resize(static_cast<size_t>(image_.bytes()));
    block_.resize(static_cast<size_t>(buffer));
    if (!side_by_side_) line_.resize(static_cast<size_t>(t_.block_width * pixel_bytes_));
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
  // Left out on purpose, as GDAL does with blocks of nodata alone, or of 0 where there is none.
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
    // libtiff fills up a table that is too short.
    const bool table_is_short =
        file_.count_of(t_.tiled ? TIFFTAG_TILEOFFSETS : TIFFTAG_STRIPOFFSETS) < expected;
    uint64_t decoded = 0;
    for (uint32_t number = 0; number < found; number++) {
      const uint64_t at = TIFFGetStrileOffset(tiff_, number),
                     bytes = TIFFGetStrileByteCount(tiff_, number);
      if (is_absent(number) && table_is_short)
        file_.fail(block_name(number) + " of " + std::to_string(found) + " has no place in it");
      if (is_absent(number)) continue;
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
    for (uint32_t row = 0; row < t_.block_rows(); row++) {
      const int64_t top = int64_t{row} * t_.block_height;
      const Run rows = lines_in(part_.rows, top, top + t_.block_height);
      if (rows.first == rows.last) continue;
      for (uint32_t column = 0; column < t_.block_columns(); column++) {
        const int64_t left = int64_t{column} * t_.block_width;
        const Run columns = lines_in(part_.columns, left, left + t_.block_width);
        if (columns.first == columns.last) continue;
        const Block block{plane * blocks_in_plane() + row * t_.block_columns() + column,
                          row,
                          top,
                          left,
                          rows,
                          columns};
        place_block(block, samples, first_band);
      }
    }
  }

  struct Block {
    uint32_t number, row;  // of the file; row of blocks
    int64_t top, left;     // its first pixel
    Run rows, columns;     // of the part
  };

  void read_block(const Block& block) {
    if (row_by_row_) {
      const int64_t bytes = t_.block_row_bytes() * block_height(block.row);
      if (TIFFGetStrileByteCount(tiff_, block.number) < static_cast<uint64_t>(bytes))
        file_.fail(block_name(block.number) + " is too short");
      return;
    }
    const auto bytes = static_cast<tmsize_t>(t_.block_row_bytes() * block_height(block.row));
    const tmsize_t got = t_.tiled ? TIFFReadEncodedTile(tiff_, block.number, block_.data(), bytes)
                                  : TIFFReadEncodedStrip(tiff_, block.number, block_.data(), bytes);
    if (got != bytes || file_.jpeg_warned())
      file_.fail(block_name(block.number) + " can't be decoded");
  }

  // The bytes of a row of a block that was read.
  const uint8_t* row_of(const Block& block, int64_t row) {
    if (!row_by_row_) return block_.data() + row * t_.block_row_bytes();
    const auto bytes = static_cast<size_t>(t_.block_row_bytes());
    file_.file().read(TIFFGetStrileOffset(tiff_, block.number) + static_cast<uint64_t>(row) * bytes,
                      block_.data(), bytes);
    auto* words = block_.data();
    const auto count = static_cast<tmsize_t>(bytes) / std::max(1, t_.bits / 8);
    if (file_.value<uint16_t>(TIFFTAG_FILLORDER, FILLORDER_MSB2LSB) == FILLORDER_LSB2MSB)
      TIFFReverseBits(words, static_cast<tmsize_t>(bytes));
    if (TIFFIsByteSwapped(tiff_)) {
      if (t_.bits == 16) TIFFSwabArrayOfShort(reinterpret_cast<uint16_t*>(words), count);
      if (t_.bits == 32) TIFFSwabArrayOfLong(reinterpret_cast<uint32_t*>(words), count);
      if (t_.bits == 64) TIFFSwabArrayOfDouble(reinterpret_cast<double*>(words), count);
    }
    return words;
  }

  void place_block(const Block& block, const std::vector<uint16_t>& samples, int64_t first_band) {
    const bool absent = is_absent(block.number);
    const bool nodata = absent && (image_.type == DType::f32 ? t_.nodata : image_.nodata);
    if (!absent)
      read_block(block);
    else if (!nodata)
      std::fill(block_.begin(), block_.end(), uint8_t{0});
    // Columns of the block from the first to the last that is asked for.
    const int64_t from_column = part_.columns[block.columns.first] - block.left;
    const int64_t columns = part_.columns[block.columns.last - 1] - block.left - from_column + 1;
    for (size_t row = block.rows.first; row < block.rows.last; row++) {
      uint8_t* to = image_.data.data() + (static_cast<int64_t>(row) * image_.width +
                                          static_cast<int64_t>(block.columns.first)) *
                                             pixel_bytes_;
      uint8_t* line = side_by_side_ ? to : line_.data();
      const uint8_t* from = nullptr;
      if (!absent)
        from = row_of(block, part_.rows[row] - block.top);
      else if (!nodata)
        from = block_.data();
      if (from && t_.bits < 8) {
        unpack(from, (from_column + columns) * t_.block_samples(), t_.bits, unpacked_.data());
        from = unpacked_.data();
      }
      if (from) from += from_column * t_.block_samples() * std::max(1, t_.bits / 8);
      for (size_t i = 0; i < samples.size(); i++) {
        const int64_t band = first_band + static_cast<int64_t>(i);
        if (from)
          place_row(from, columns, samples[i], line, band);
        else
          clear_row(line, columns, band);
      }
      if (!side_by_side_) pick_columns(block, first_band, line, to);
    }
  }

  // Of a line of neighbours, the columns that are asked for; of a plane its band alone.
  void pick_columns(const Block& block, int64_t first_band, const uint8_t* line, uint8_t* to) {
    const bool one_band = t_.planar && !t_.palette();
    const auto bytes =
        static_cast<size_t>(one_band ? static_cast<int64_t>(size_of(image_.type)) : pixel_bytes_);
    const int64_t skipped = one_band ? first_band * static_cast<int64_t>(bytes) : 0;
    const int64_t first = part_.columns[block.columns.first];
    for (size_t column = block.columns.first; column < block.columns.last; column++) {
      std::memcpy(to + skipped, line + (part_.columns[column] - first) * pixel_bytes_ + skipped,
                  bytes);
      to += pixel_bytes_;
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

  // As GDAL does (ARE_REAL_EQUAL, gdal_priv_templates.hpp): within two of the last places, and
  // near the largest float, where the sum is infinite, whatever is.
  template <class T>
  bool is_nodata(T value) const {
    if (!t_.nodata) return false;
    if constexpr (std::is_floating_point_v<T>) {
      const auto nodata = static_cast<T>(nodata_);
      return value == nodata || std::abs(value - nodata) < 2 * std::numeric_limits<T>::epsilon() *
                                                               std::abs(value + nodata);
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
  PicturePart part_;
  bool side_by_side_ = true;  // the columns are neighbours
  bool row_by_row_ = false;
  double nodata_ = 0;  // as a float has it, where samples are float32
  Image image_;
  int64_t pixel_bytes_ = 0;
  std::vector<uint8_t> block_, unpacked_, palette_, line_;
};

}  // namespace

ImageHeader header_of(const TiffLayout& t) {
  ImageHeader header;
  header.height = t.height;
  header.width = t.width;
  header.bands = t.palette() ? 3 : static_cast<int64_t>(t.bands.size());
  header.type = type_of(t);
  header.remarks = t.remarks;
  if (header.type == DType::u16) header.nodata = nodata_among<uint16_t>(t);
  if (header.type == DType::u8 && !t.palette()) header.nodata = nodata_among<uint8_t>(t);
  return header;
}

Image decode_tiff_pixels(const TiffFile& file, const TiffLayout& layout, const PicturePart& part,
                         uint64_t memory_bytes) {
  return Decoder(file, layout, part).decode(memory_bytes);
}

}  // namespace fulmar::data
