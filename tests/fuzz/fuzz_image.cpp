#include <cstddef>
#include <cstdint>

#include "data/image.h"
#include "kernels/error.h"

// Any bytes decode to a picture within the limits, or are refused by an Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  fulmar::data::ImageLimits limits;
  limits.max_pixels = 1 << 20;
  try {
    const fulmar::data::Image image = fulmar::data::decode_image({bytes, size}, "input", limits);
    if (image.data.size() != static_cast<size_t>(image.bytes()) ||
        image.pixels() > limits.max_pixels)
      __builtin_trap();
    fulmar::data::with_channels(image, 4 - image.bands);
  } catch (const fulmar::Error&) {
  }
  return 0;
}
