#include <cstddef>
#include <cstdint>
#include <string>

#include "data/geotiff.h"
#include "data/image.h"
#include "data/tiff_file.h"
#include "kernels/error.h"

// Any bytes that begin as a TIFF decode to a picture within the limits, to which its header alone
// agrees, and to a georeference, or are refused by an Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace fulmar;
  constexpr const char* marks[] = {"II*", "II+"};
  std::string file(reinterpret_cast<const char*>(bytes), size);
  if (file.size() < 8) return 0;
  if (file[0] != 'M' || file[1] != 'M') file.replace(0, 3, marks[file[2] == '+']);
  const data::Bytes whole(reinterpret_cast<const uint8_t*>(file.data()), file.size());
  if (!data::tiff_format.matches(whole)) return 0;
  data::ImageLimits limits;
  limits.max_pixels = 1 << 20;
  try {
    const data::Image image = data::decode_image(whole, "input", limits);
    if (image.data.size() != static_cast<size_t>(image.bytes()) ||
        image.pixels() > limits.max_pixels)
      __builtin_trap();
    const data::ImageFile in_memory(whole, "input");
    const data::ImageHeader header = data::tiff_format.probe(in_memory);
    if (header.height != image.height || header.width != image.width ||
        header.bands != image.bands || header.type != image.type || header.nodata != image.nodata)
      __builtin_trap();
    // A part by itself is that part of the whole.
    const data::PicturePart part{{header.height / 3, header.height - 1}, {0, header.width / 2}};
    if (data::decode_image(whole, "input", limits, part).data != data::cut(image, part).data)
      __builtin_trap();
  } catch (const Error&) {
  }
  try {
    const data::ImageFile in_memory(whole, "input");
    data::read_georeference(data::TiffFile(in_memory));
  } catch (const Error&) {
  }
  return 0;
}
