#pragma once

#include <spng.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace fulmar::test {

// The samples of a PNG of 8 or 16 bits without a palette, by libspng alone; nothing where it
// refuses the file. It doesn't look at the end mark's checksum.
inline std::optional<std::vector<uint8_t>> by_libspng(std::span<const uint8_t> file) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(0), spng_ctx_free);
  spng_set_crc_action(context.get(), SPNG_CRC_ERROR, SPNG_CRC_ERROR);
  spng_set_chunk_limits(context.get(), size_t{16} << 20, size_t{64} << 20);
  spng_set_png_buffer(context.get(), file.data(), file.size());
  size_t bytes = 0;
  if (spng_decoded_image_size(context.get(), SPNG_FMT_PNG, &bytes)) return std::nullopt;
  std::vector<uint8_t> pixels(bytes);
  if (spng_decode_image(context.get(), pixels.data(), bytes, SPNG_FMT_PNG, 0) ||
      spng_decode_chunks(context.get()))
    return std::nullopt;
  return pixels;
}

}  // namespace fulmar::test
