#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/image.h"
#include "data/image_format.h"
#include "kernels/error.h"
#include "tests/fuzz/mended_png.h"

// The numbers of a PNG as they are stored: they fill the picture, a part of them is that part of
// the whole, and grey of 8 bits is what a picture's decoding gives; or an Error says what is wrong.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace fulmar;
  constexpr uint64_t memory = 1 << 26;
  const std::vector<uint8_t> file = fuzz::mended_png(bytes, size);
  if (file.size() < 26 || !data::png_format.matches(file)) return 0;
  const data::ImageFile in_memory(file, "input");
  try {
    const data::ImageHeader header = data::png_format.probe(in_memory);
    if (header.height < 1 || header.width < 1 || header.height > 4096 || header.width > 4096 ||
        header.pixels() > 1 << 16)
      return 0;
    const data::Image image = data::stored_png(in_memory, {}, memory);
    if (image.data.size() != static_cast<size_t>(image.bytes()) || image.height != header.height ||
        image.width != header.width)
      __builtin_trap();
    const data::PicturePart part{{header.height / 3, header.height - 1}, {0, header.width / 2}};
    if (data::stored_png(in_memory, part, memory).data != data::cut(image, part).data)
      __builtin_trap();
    const bool grey = file[24] == 8 && file[25] == 0;
    if (grey && data::decode_image(file, "input").data != image.data) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
