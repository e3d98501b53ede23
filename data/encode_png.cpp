#include "data/encode_png.h"

#include <spng.h>

#include <cstdlib>
#include <memory>
#include <new>

#include "kernels/error.h"

namespace fulmar::data {

namespace {

struct Free {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
  void operator()(void* memory) const { std::free(memory); }
};

// What is left to fail here is memory: the header was checked before.
void check(int result) {
  if (result) throw std::bad_alloc();
}

constexpr size_t most_colours = 256;

void set_palette(spng_ctx* context, const ColourTable& colours) {
  spng_plte palette{};
  palette.n_entries = most_colours;
  for (size_t i = 0; i < most_colours; i++)
    palette.entries[i] = {colours[i][0], colours[i][1], colours[i][2], 255};
  check(spng_set_plte(context, &palette));
}

}  // namespace

std::string encode_png(const Image& image, const ColourTable& colours) {
  const bool known = image.type == DType::u8 || image.type == DType::u16;
  if (!known || (image.bands != 1 && image.bands != 3 && image.bands != 4) || image.height < 1 ||
      image.width < 1 || image.height > INT32_MAX || image.width > INT32_MAX ||
      static_cast<int64_t>(image.data.size()) != image.bytes())
    usage_error("a PNG holds 1, 3 or 4 bands of u8 or u16; this picture has " +
                std::to_string(image.width) + " x " + std::to_string(image.height) + " pixels, " +
                std::to_string(image.bands) + " bands of " + name_of(image.type));
  if (!colours.empty() &&
      (image.type != DType::u8 || image.bands != 1 || std::size(colours) != most_colours))
    usage_error("a table of 256 colours goes with one band of u8");
  const std::unique_ptr<spng_ctx, Free> context(spng_ctx_new(SPNG_CTX_ENCODER));
  if (!context) throw std::bad_alloc();
  check(spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1));
  check(spng_set_option(context.get(), SPNG_IMG_COMPRESSION_LEVEL, quick_level));
  spng_ihdr ihdr{};
  ihdr.width = static_cast<uint32_t>(image.width);
  ihdr.height = static_cast<uint32_t>(image.height);
  ihdr.bit_depth = image.type == DType::u8 ? 8 : 16;
  ihdr.color_type = !colours.empty()   ? SPNG_COLOR_TYPE_INDEXED
                    : image.bands == 1 ? SPNG_COLOR_TYPE_GRAYSCALE
                    : image.bands == 3 ? SPNG_COLOR_TYPE_TRUECOLOR
                                       : SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
  check(spng_set_ihdr(context.get(), &ihdr));
  if (!colours.empty()) set_palette(context.get(), colours);
  check(spng_encode_image(context.get(), image.data.data(), image.data.size(), SPNG_FMT_PNG,
                          SPNG_ENCODE_FINALIZE));
  size_t bytes = 0;
  int result = 0;
  const std::unique_ptr<void, Free> file(spng_get_png_buffer(context.get(), &bytes, &result));
  check(result);
  return {static_cast<const char*>(file.get()), bytes};
}

}  // namespace fulmar::data
