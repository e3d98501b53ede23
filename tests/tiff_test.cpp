#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "data/geotiff.h"
#include "data/image.h"
#include "data/tiff_file.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/crc32.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"
#include "tests/support/table_rows.h"
#include "tests/support/tiff_writer.h"

using namespace fulmar;
using data::Image;
using fulmar::test::error_of;
using fulmar::test::has;
using fulmar::test::Tiff;

namespace {

thread_local bool no_memory = false;

}  // namespace

// All of this program's, so that a test can let them fail. ThreadSanitizer lets nobody replace its
// own: in its build the test doesn't watch for allocations.
#ifdef FULMAR_TEST_REPLACES_NEW
[[gnu::noinline]] void* operator new(size_t bytes) {
  void* memory = no_memory ? nullptr : std::malloc(bytes + (bytes == 0));
  if (!memory) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace {

// As libtiff calls it.
void tell(data::TiffFile& file, bool is_error, const char* module, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  file.note(is_error, module, format, arguments);
  va_end(arguments);
}

std::string kind(const std::string& name) { return test::golden("images/tiff/" + name); }

Image decode(const std::string& bytes, const data::ImageLimits& limits = {}) {
  return data::decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                            "folder/it.tif", limits);
}

std::string refused(const std::string& bytes, const data::ImageLimits& limits = {}) {
  std::string message = error_of(ErrorKind::file, [&] { decode(bytes, limits); });
  CAPTURE(message);
  CHECK(has(message, "folder/it.tif"));
  return message;
}

// 8 x 8 grey pixels of one byte, 0 to 63, in one strip, which begins at byte 8.
Tiff grey() {
  Tiff tiff;
  tiff.data = std::string(64, '\0');
  for (int i = 0; i < 64; i++) tiff.data[static_cast<size_t>(i)] = static_cast<char>(i);
  tiff.set(256, 8).set(257, 8).set(258, 8).set(259, 1).set(262, 1).set(277, 1).set(278, 8);
  tiff.set(273, 8).set(279, 64);
  return tiff;
}

}  // namespace

TEST_CASE("what libtiff says is kept without allocating, so that nothing is thrown through it") {
  data::TiffFile file(false, "it.tif");
  const std::string tail(600, 'x');
  no_memory = true;
  tell(file, false, "it.tif", "%s of %d\n.", "a tag", 7);
  no_memory = false;
  CHECK(file.complaint() == "a tag of 7");
  no_memory = true;
  tell(file, true, "TIFFFetch", "\xE6%s", tail.c_str());
  tell(file, true, "TIFFFetch", "later");
  no_memory = false;
  CHECK(file.complaint() == "TIFFFetch: ?" + tail.substr(0, 511 - 12));
  CHECK_FALSE(file.jpeg_warned());
  tell(file, false, "JPEGLib", "premature end");
  CHECK(file.jpeg_warned());
}

TEST_CASE("every kind of TIFF decodes to the pixels that were given to its writer") {
  const auto rows = test::table_rows(kind("kinds.tsv"));
  CHECK(rows.size() == 78);
  for (const auto& row : rows) {
    CAPTURE(row[0]);
    const Image image = data::read_image(kind(row[0]));
    const data::ImageHeader header = data::probe_image(kind(row[0]));
    for (const data::ImageHeader& h : {static_cast<const data::ImageHeader&>(image), header}) {
      CHECK(h.height == std::stoll(row[1]));
      CHECK(h.width == std::stoll(row[2]));
      CHECK(h.bands == std::stoll(row[3]));
      CHECK(name_of(h.type) == row[4]);
      CHECK(h.nodata == (row[5] == "-" ? std::nullopt : std::optional(std::stod(row[5]))));
    }
    CHECK(image.dropped_alpha == (row[6] == "1"));
    CHECK(test::crc32(image.data) == std::stoul(row[7], nullptr, 16));
  }
}

TEST_CASE("a TIFF cut anywhere is refused, or nothing of its picture was cut") {
  for (const std::string name : {"tiles.tif", "uint16_zlib_predictor.tif", "webp.tif",
                                 "bigtiff_big_endian.tif", "sparse_float32.tif", "rgb.tif"}) {
    CAPTURE(name);
    const std::string whole = read_file(kind(name), 1 << 20);
    const Image expected = decode(whole);
    for (size_t length = 0; length < whole.size(); length += 1 + length / 100) {
      CAPTURE(length);
      const std::string message = error_of(ErrorKind::file, [&] {
        if (decode(whole.substr(0, length)).data == expected.data) file_error("equal");
      });
      CHECK(message != "no error");
    }
  }
}

TEST_CASE("a TIFF by hand decodes, and each thing wrong with it is named") {
  const Image image = decode(grey().bytes());
  CHECK(image.height == 8);
  CHECK(image.bands == 1);
  CHECK(image.data[63] == 63);

  const auto with = [](int tag, uint32_t value) { return grey().set(tag, value).bytes(); };
  // Claims.
  CHECK(has(refused(grey().set(256, 40000).set(257, 40000).bytes()), "more than the limit"));
  CHECK(has(refused(grey().set(256, 40000).set(257, 40000).bytes()), "--max-pixels"));
  data::ImageLimits limits;
  limits.max_pixels = 64;
  CHECK(decode(grey().bytes(), limits).width == 8);
  limits.max_pixels = 63;
  CHECK(has(refused(grey().bytes(), limits), "8 x 8 pixels, more than the limit of 63"));
  // Four bands count twice.
  limits.max_pixels = 31;
  const std::string four = grey().set(277, 4).set(256, 4).set(257, 4).bytes();
  CHECK(has(refused(four, limits), "4 x 4 pixels of 4 bands, more than the limit of 31"));
  limits.max_pixels = 32;
  CHECK(decode(four, limits).bands == 4);
  limits.max_pixels = 2'000'000'000;
  CHECK(has(refused(grey().set(256, 40000).set(257, 40000).set(278, 40000).bytes(), limits),
            "1600000000 bytes at 8, and the file has 186"));
  CHECK(has(refused(with(273, 9999)), "at 9999"));
  CHECK(has(refused(grey().set(259, 8).set(279, 1 << 30).bytes()), "1073741824 bytes"));
  CHECK(has(refused(with(278, 4)), "strip 2 of 2 has no place in it"));
  CHECK(has(refused(with(256, 0)), "folder"));
  // A deflated strip that claims what no 64 bytes can hold.
  limits.max_pixels = 100'000'000;
  CHECK(
      has(refused(grey().set(259, 8).set(256, 9000).set(257, 9000).set(278, 9000).bytes(), limits),
          "too short for the size"));
  CHECK(has(refused(grey().set(322, 60000).set(323, 60000).set(324, 8).set(325, 64).bytes()),
            "tiles are of 60000 x 60000"));
  // Kinds.
  CHECK(has(refused(with(258, 12)), "12-bit"));
  CHECK(has(refused(with(262, 5)), "CMYK"));
  CHECK(has(refused(with(259, 34712)), "JPEG 2000"));
  CHECK(has(refused(with(259, 6)), "old-style JPEG"));
  CHECK(has(refused(with(259, 4711)), "compression 4711"));
  CHECK(has(refused(grey().set(258, 64).set(339, 6).set(256, 1).bytes()), "complex"));
  CHECK(has(refused(grey().set(258, 64).set(339, 1).set(256, 1).bytes()), "64-bit"));
  CHECK(has(refused(grey().set(258, 16).set(339, 3).set(256, 4).bytes()), "16-bit floating"));
  CHECK(has(refused(grey().set(258, 4).set(262, 3).bytes()), "Colormap"));
  CHECK(has(refused(grey().set(338, 2).bytes()), "all of its samples are transparency"));
  Tiff veils = grey().set(277, 3).set(256, 4).set(257, 4);
  veils.pairs[338] = {2, 2};
  CHECK(has(refused(veils.bytes()), "most of its samples are transparency"));
  veils.pairs[338] = {0, 2};
  CHECK(decode(veils.bytes()).bands == 2);
}

TEST_CASE("whole numbers that float32 has no place for are refused, others are exact") {
  Tiff tiff = grey().set(256, 2).set(257, 8).set(258, 32);
  for (int i = 0; i < 16; i++) {
    const uint32_t value = i < 15 ? (1u << 24) - static_cast<uint32_t>(i) : (1u << 30) + 512;
    std::memcpy(tiff.data.data() + 4 * i, &value, 4);
  }
  Image image = decode(tiff.bytes());
  CHECK(image.type == DType::f32);
  CHECK(image.view().as<float>()[1] == 16777215.0f);
  CHECK(image.view().as<float>()[15] == 1073742336.0f);
  tiff.data[60] = 1;
  CHECK(has(refused(tiff.bytes()), "1073742337"));
}

TEST_CASE("pages that form a circle end, and only the first is read") {
  Tiff tiff = grey();
  tiff.next_page = 0xffffffff;  // itself
  CHECK(decode(tiff.bytes()).data[63] == 63);
  tiff.next_page = 3;
  CHECK(decode(tiff.bytes()).data[63] == 63);
}

TEST_CASE("float64 beyond float32 is infinite, not undefined") {
  Tiff tiff = grey().set(256, 1).set(257, 8).set(258, 64).set(339, 3);
  const double values[8] = {1e300,
                            -1e300,
                            std::numeric_limits<double>::infinity(),
                            std::nan(""),
                            0.1,
                            -0.0,
                            1e-320,
                            3.4028234663852886e38};
  std::memcpy(tiff.data.data(), values, 64);
  Image image = decode(tiff.bytes());
  const auto* value = image.view().as<float>();
  CHECK(value[0] == std::numeric_limits<float>::infinity());
  CHECK(value[1] == -std::numeric_limits<float>::infinity());
  CHECK(value[2] == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(value[3]));
  CHECK(value[4] == 0.1f);
  CHECK(value[7] == std::numeric_limits<float>::max());
}

TEST_CASE("where a band is nodata a grey made of it is, and nowhere else") {
  Image colours;
  static_cast<data::ImageHeader&>(colours) = {1, 3, 3, DType::u8, 7};
  colours.data = {7, 90, 90, 7, 7, 7, 6, 7 + 1, 6};
  const Image grey = data::with_channels(colours, 1);
  CHECK(grey.nodata == 7);
  CHECK(grey.data[0] == 7);
  CHECK(grey.data[1] == 7);
  CHECK(grey.data[2] == 6);  // 7.2 were it not for nodata
  CHECK(data::with_channels(grey, 3).nodata == 7);
}
