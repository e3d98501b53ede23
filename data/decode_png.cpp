#include <spng.h>

#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "data/image_format.h"
#include "data/png_pixels.h"

namespace fulmar::data {

namespace {

constexpr uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr size_t header_bytes = 8 + 8 + 13 + 4;  // signature; length and type, body, CRC of IHDR

struct Free {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};
using Context = std::unique_ptr<spng_ctx, Free>;

void check(int result, const std::string& name) {
  if (result) damaged(name, std::string("PNG: ") + spng_strerror(result));
}

Context open(Bytes file, const std::string& name) {
  Context context(spng_ctx_new(0));
  if (!context) throw std::bad_alloc();
  // A wrong checksum in any chunk means that bytes changed on their way.
  check(spng_set_crc_action(context.get(), SPNG_CRC_ERROR, SPNG_CRC_ERROR), name);
  // Profiles and texts that unpack to more than this are refused.
  check(spng_set_chunk_limits(context.get(), size_t{16} << 20, size_t{64} << 20), name);
  check(spng_set_png_buffer(context.get(), file.data(), file.size()), name);
  return context;
}

bool matches(Bytes start) {
  return start.size() >= sizeof signature &&
         !std::memcmp(start.data(), signature, sizeof signature);
}

bool has_colour(const spng_ihdr& ihdr) { return ihdr.color_type & 2; }
bool has_palette(const spng_ihdr& ihdr) { return ihdr.color_type & 1; }
bool has_alpha_band(const spng_ihdr& ihdr) { return ihdr.color_type & 4; }

bool probe(Bytes start, bool, const std::string& name, ImageHeader& header) {
  if (start.size() < header_bytes) damaged(name, "PNG: it ends within its header");
  const Context context = open(start, name);
  spng_ihdr ihdr;
  check(spng_get_ihdr(context.get(), &ihdr), name);
  header = {ihdr.height, ihdr.width, has_colour(ihdr) ? 3 : 1,
            ihdr.bit_depth == 16 ? DType::u16 : DType::u8};
  return true;
}

// spng stops at the name of the end mark; a file cut behind it is refused here.
void check_end(Bytes file, const std::string& name) {
  for (size_t at = sizeof signature; at + 12 <= file.size();) {
    const size_t length = big_endian(file, at, 4);
    if (big_endian(file, at + 4, 4) == 0x49454e44) {  // "IEND", whose body is empty
      if (length == 0 && big_endian(file, at + 8, 4) == 0xae426082) return;
      break;
    }
    if (length > file.size() - at - 12) break;
    at += length + 12;
  }
  damaged(name, "PNG: no whole end mark");
}

// Leaves the last band of every pixel out, in place.
template <class T>
void drop_last_band(std::vector<uint8_t>& data, int64_t pixels, int64_t bands) {
  T* values = reinterpret_cast<T*>(data.data());
  for (int64_t pixel = 0; pixel < pixels; pixel++)
    for (int64_t band = 0; band + 1 < bands; band++)
      values[pixel * (bands - 1) + band] = values[pixel * bands + band];
  data.resize(static_cast<size_t>(pixels * (bands - 1)) * sizeof(T));
}

bool has_transparency(spng_ctx* context) {
  spng_trns transparency;
  return spng_get_trns(context, &transparency) == SPNG_OK;
}

// Fewer than 8 bits and palettes are unpacked by spng; the rest comes as it is stored.
int customary_format(const spng_ihdr& ihdr) {
  return has_palette(ihdr) ? SPNG_FMT_RGB8 : ihdr.bit_depth < 8 ? SPNG_FMT_G8 : SPNG_FMT_PNG;
}

// By libspng, which reads and refuses all kinds.
Image decode_any(Bytes file, const std::string& name, const ImageHeader& header, int format) {
  const Context context = open(file, name);
  spng_ihdr ihdr;
  check(spng_get_ihdr(context.get(), &ihdr), name);
  size_t bytes = 0;
  check(spng_decoded_image_size(context.get(), format, &bytes), name);
  // deflate packs at most 1032 bytes into one: a small file that claims a large picture is refused
  // before memory is asked for. Unpacked palettes and bits take up to 24 times their packed size.
  if (bytes / (1032 * 24) > file.size()) damaged(name, "PNG: too short for the size in its header");

  Image image;
  static_cast<ImageHeader&>(image) = header;
  image.data.resize(bytes);
  check(spng_decode_image(context.get(), image.data.data(), bytes, format, 0), name);
  check(spng_decode_chunks(context.get()), name);
  check_end(file, name);
  image.dropped_alpha = has_alpha_band(ihdr) || has_transparency(context.get());
  return image;
}

// Of the common kinds read_png_pixels() reads the pixels, in 0.6 of the time. libspng still judges
// all other chunks, in a copy of the file with one pixel. Nothing where either finds fault: then
// libspng looks at the whole, and says what.
std::optional<Image> decode_common(Bytes file, const spng_ihdr& ihdr, const ImageHeader& header) {
  if (has_palette(ihdr) || ihdr.bit_depth < 8 || ihdr.interlace_method) return std::nullopt;
  const PngPixels pixels{ihdr.height, ihdr.width, header.bands + has_alpha_band(ihdr),
                         ihdr.bit_depth};
  std::optional<std::vector<uint8_t>> data = read_png_pixels(file, pixels);
  if (!data) return std::nullopt;
  const std::string others = with_one_pixel(file, pixels);
  const Context context =
      open({reinterpret_cast<const uint8_t*>(others.data()), others.size()}, "");
  uint8_t pixel[8];
  if (spng_decode_image(context.get(), pixel, static_cast<size_t>(pixels.pixel_bytes()),
                        SPNG_FMT_PNG, 0) ||
      spng_decode_chunks(context.get()))
    return std::nullopt;
  Image image;
  static_cast<ImageHeader&>(image) = header;
  image.dropped_alpha = has_alpha_band(ihdr) || has_transparency(context.get());
  image.data = std::move(*data);
  return image;
}

Image decode(Bytes file, const std::string& name, const ImageHeader& header) {
  spng_ihdr ihdr;
  check(spng_get_ihdr(open(file, name).get(), &ihdr), name);
  std::optional<Image> common = decode_common(file, ihdr, header);
  Image image =
      common ? std::move(*common) : decode_any(file, name, header, customary_format(ihdr));
  if (has_alpha_band(ihdr)) {
    if (image.type == DType::u16)
      drop_last_band<uint16_t>(image.data, image.pixels(), image.bands + 1);
    else
      drop_last_band<uint8_t>(image.data, image.pixels(), image.bands + 1);
  }
  return image;
}

// Rows of samples of fewer than 8 bits, the first in the highest bits, each row from a byte on.
std::vector<uint8_t> unpacked(const std::vector<uint8_t>& rows, int64_t height, int64_t width,
                              int bits) {
  const int64_t row_bytes = (width * bits + 7) / 8, per_byte = 8 / bits;
  std::vector<uint8_t> values;
  values.reserve(static_cast<size_t>(height * width));
  for (int64_t row = 0; row < height; row++)
    for (int64_t column = 0; column < width; column++) {
      const uint8_t packed = rows[static_cast<size_t>(row * row_bytes + column / per_byte)];
      const auto shift = static_cast<int>(8 - bits * (column % per_byte + 1));
      values.push_back(static_cast<uint8_t>(packed >> shift & ((1 << bits) - 1)));
    }
  return values;
}

}  // namespace

Image stored_png(const ImageFile& file, const PicturePart& part, uint64_t memory_bytes) {
  ImageHeader header = png_format.probe(file);
  const Bytes bytes = file.all();
  spng_ihdr ihdr;
  check(spng_get_ihdr(open(bytes, file.name()).get(), &ihdr), file.name());
  if (!has_palette(ihdr) && ihdr.bit_depth >= 8)
    return png_format.decode(file, header, part, memory_bytes);
  header.bands = 1;
  require_memory(bytes.size() + 2 * static_cast<uint64_t>(header.bytes()), memory_bytes,
                 file.name());
  Image image = decode_any(bytes, file.name(), header, SPNG_FMT_PNG);
  image.dropped_alpha = false;  // of a palette's colours
  if (ihdr.bit_depth < 8)
    image.data = unpacked(image.data, header.height, header.width, ihdr.bit_depth);
  return cut(std::move(image), part);
}

extern const ImageFormat png_format{"PNG", ".png", matches, probe_start<probe>,
                                    decode_whole<decode>};

}  // namespace fulmar::data
