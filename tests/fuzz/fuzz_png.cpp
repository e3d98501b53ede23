#include <libdeflate.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/image.h"
#include "data/image_format.h"
#include "kernels/error.h"
#include "tests/support/libspng.h"

namespace {

// Right checksums let the fuzzer behind them.
void mend_checksums(std::vector<uint8_t>& file) {
  for (size_t at = 8; at + 12 <= file.size();) {
    const size_t length = fulmar::data::big_endian(file, at, 4);
    if (length > file.size() - at - 12) return;
    const uint32_t sum = libdeflate_crc32(0, file.data() + at + 4, length + 4);
    for (size_t i = 0; i < 4; i++)
      file[at + 8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    at += length + 12;
  }
}

}  // namespace

// What is read of a PNG of 8 or 16 bits without a palette is what libspng alone reads of it, and
// libspng accepts what is read.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::vector<uint8_t> file(bytes, bytes + size);
  mend_checksums(file);
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
