#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/image.h"
#include "data/image_format.h"
#include "kernels/error.h"
#include "tests/fuzz/mended_png.h"
#include "tests/support/libspng.h"

// What is read of a PNG of 8 or 16 bits without a palette is what libspng alone reads of it, and
// libspng accepts what is read.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::vector<uint8_t> file = fulmar::fuzz::mended_png(bytes, size);
  fulmar::data::ImageLimits limits;
  limits.max_pixels = 1 << 16;
  try {
    const fulmar::data::Image image = fulmar::data::decode_image(file, "input", limits);
    const bool other_kind = file[0] != 0x89 || file[24] < 8 || file[25] == 3;
    if (other_kind) return 0;
    const auto expected = fulmar::test::by_libspng(file);
    if (!expected) __builtin_trap();
    const bool alpha = file[25] & 4;
    if (!alpha && image.data != *expected) __builtin_trap();
  } catch (const fulmar::Error&) {
  }
  return 0;
}
