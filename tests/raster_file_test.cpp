#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/tiff_file.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/array.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"
#include "tests/support/table_rows.h"
#include "tests/support/temp_folder.h"

// Files of rasters as programs write them: with tiles left out, nodata as text, several pages, and
// far larger than what is wanted of them.

using namespace fulmar;
using data::Image;
using data::PicturePart;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

struct Layout {
  uint32_t height = 64, width = 64, tile = 16;  // tile 0: one strip
  DType type = DType::f32;
  std::string nodata{};
  int pages = 1;
  uint32_t page_kind = 0;  // of the further ones
};

void set_page(TIFF* tiff, const Layout& layout) {
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, layout.width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, layout.height);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, static_cast<int>(8 * size_of(layout.type)));
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT,
               layout.type == DType::f32 ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  if (layout.tile > 0) {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, layout.tile);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, layout.tile);
  } else {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, layout.height);
  }
}

// `blocks`: of each page the first ones; the others are left out.
void write_tiff(const std::string& path, const Layout& layout,
                const std::vector<std::vector<uint8_t>>& blocks) {
  data::TiffFile file(false, path);
  for (int page = 0; page < layout.pages; page++) {
    set_page(file.get(), layout);
    if (page > 0) TIFFSetField(file.get(), TIFFTAG_SUBFILETYPE, layout.page_kind);
    if (!layout.nodata.empty())
      TIFFSetField(file.get(), data::tag_gdal_nodata, layout.nodata.c_str());
    for (size_t i = 0; i < blocks.size(); i++) {
      std::vector<uint8_t> block = blocks[i];
      const auto number = static_cast<uint32_t>(i);
      const auto bytes = static_cast<tmsize_t>(block.size());
      const tmsize_t done = layout.tile > 0
                                ? TIFFWriteEncodedTile(file.get(), number, block.data(), bytes)
                                : TIFFWriteEncodedStrip(file.get(), number, block.data(), bytes);
      REQUIRE(done == bytes);
    }
    REQUIRE(TIFFWriteDirectory(file.get()));
  }
  file.close();
  const std::vector<uint8_t>& bytes = file.bytes();
  write_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

template <class T>
std::vector<uint8_t> bytes_of(const std::vector<T>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Pieces of a picture: a window, every third line, lines twice, a corner.
std::vector<PicturePart> parts_of(const data::ImageHeader& header) {
  const int64_t h = header.height, w = header.width;
  std::vector<PicturePart> parts{data::window(h / 3, w / 4, h - h / 3, (w + 1) / 2),
                                 {{h - 1}, {w - 1}}};
  PicturePart scattered;
  for (int64_t row = h % 3 / 2; row < h; row += 3) scattered.rows.push_back(row);
  for (int64_t column = 0; column < w; column += 2) {
    scattered.columns.push_back(column);
    if (column % 4 == 0) scattered.columns.push_back(column);
  }
  parts.push_back(scattered);
  return parts;
}

void check_parts(const std::string& path) {
  CAPTURE(path);
  const Image whole = data::read_image(path);
  for (const PicturePart& part : parts_of(whole)) {
    const Image some = data::read_image(path, {}, part);
    const Image expected = data::cut(whole, part);
    CHECK(some.height == std::ssize(part.rows));
    CHECK(some.width == std::ssize(part.columns));
    CHECK(some.data == expected.data);
    CHECK(some.nodata == whole.nodata);
    CHECK(some.dropped_alpha == whole.dropped_alpha);
  }
}

}  // namespace

TEST_CASE("a part of a picture that is read by itself has the pixels of the whole, to the bit") {
  const std::string folder = test::golden("images/tiff/");
  for (const auto& row : test::table_rows(folder + "kinds.tsv")) check_parts(folder + row[0]);
  for (const char* name : {"colour.png", "palette.png", "colour.bmp", "colour_420.jpg"})
    check_parts(test::golden(std::string("images/") + name));
  const std::string path = folder + "tiles.tif";
  const Image whole = data::read_image(path);
  for (const PicturePart& part :
       {data::window(0, 0, whole.height + 1, 1), data::window(-1, 0, 2, 2),
        PicturePart{{1, 0}, {0, 1}}, PicturePart{{0}, {}}})
    CHECK(has(error_of(ErrorKind::usage, [&] { data::read_image(path, {}, part); }), "asked for"));
}

TEST_CASE("of a large uncompressed strip the rows are read that are wanted") {
  const test::TempFolder folder;
  Layout layout;
  layout.tile = 0;
  layout.height = 700;
  layout.width = 900;
  layout.type = DType::u16;
  std::vector<uint16_t> values;
  for (uint32_t i = 0; i < layout.height * layout.width; i++)
    values.push_back(static_cast<uint16_t>(test::splitmix64(i)));
  const std::string path = folder.path("large.tif");
  write_tiff(path, layout, {bytes_of(values)});
  CHECK(data::read_image(path).data == bytes_of(values));
  check_parts(path);
  data::ImageLimits limits;
  limits.memory_bytes = 10'000;  // a row has 1800 bytes
  CHECK(data::read_image(path, limits, data::window(699, 899, 1, 1)).data ==
        bytes_of(std::vector<uint16_t>{values.back()}));
  CHECK(has(error_of(ErrorKind::file, [&] { data::read_image(path, limits); }), "of memory"));

  // The same, big endian, by hand.
  std::string big("MM\0*\0\0\0\x08", 8);
  const auto put = [&](uint32_t value, int bytes) {
    for (int i = bytes; i-- > 0;) big += static_cast<char>(value >> 8 * i);
  };
  const std::vector<std::array<uint32_t, 2>> tags{{256, 900}, {257, 700}, {258, 16},
                                                  {259, 1},   {262, 1},   {273, 8 + 2 + 9 * 12 + 4},
                                                  {277, 1},   {278, 700}, {279, 900 * 700 * 2}};
  put(static_cast<uint32_t>(tags.size()), 2);
  for (const auto& [tag, value] : tags) {
    put(tag, 2);
    put(4, 2);
    put(1, 4);
    put(value, 4);
  }
  put(0, 4);
  for (const uint16_t value : values) put(value, 2);
  write_file(path, big);
  CHECK(data::read_image(path).data == bytes_of(values));
  check_parts(path);
}

TEST_CASE("a window of a scene of 25,000 x 16,700 pixels takes no more memory than itself") {
  const test::TempFolder folder;
  Layout layout;
  layout.height = 16700;
  layout.width = 25000;
  layout.tile = 512;
  layout.type = DType::u16;
  const std::string path = folder.path("scene.tif");
  write_tiff(path, layout, {std::vector<uint8_t>(size_t{512} * 512 * 2, 7)});
  data::ImageLimits limits;
  limits.memory_bytes = 1 << 20;
  const Image corner = data::read_image(path, limits, data::window(500, 500, 64, 64));
  const auto* value = reinterpret_cast<const uint16_t*>(corner.data.data());
  CHECK(value[0] == 0x0707);
  CHECK(value[63] == 0);  // of the next tile, which is left out
  const std::string message = error_of(ErrorKind::file, [&] { data::read_image(path, limits); });
  CHECK(has(message, "796 MiB of memory, and there are 1;"));
  CHECK(data::probe_image(path).width == 25000);
}

TEST_CASE("tiles that are left out are nodata, or 0 where there is none") {
  const test::TempFolder folder;
  const std::string path = folder.path("sparse.tif");
  for (const std::string nodata : {"", "0", "7"}) {
    CAPTURE(nodata);
    Layout layout;
    layout.nodata = nodata;
    write_tiff(path, layout, {bytes_of(std::vector<float>(256, 5))});
    Image image = data::read_image(path);
    const float* real = image.view().as<float>();
    CHECK(real[0] == 5);
    if (nodata.empty())
      CHECK(real[16] == 0);
    else
      CHECK(std::isnan(real[16]));
    layout.type = DType::u16;
    write_tiff(path, layout, {bytes_of(std::vector<uint16_t>(256, 5))});
    image = data::read_image(path);
    const auto* whole = reinterpret_cast<const uint16_t*>(image.data.data());
    CHECK(whole[0] == 5);
    CHECK(whole[64 * 64 - 1] == (nodata == "7" ? 7 : 0));
  }
}

TEST_CASE("nodata is read from its text as GDAL reads it") {
  const test::TempFolder folder;
  const std::string path = folder.path("nodata.tif");
  constexpr float lowest = std::numeric_limits<float>::lowest();
  struct Row {
    const char* text;
    float value;
    bool missing;
  };
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const Row& row : {Row{"-3.39999999999999996e+38", -3.4e38F, true},
                         {"-3.4028234663852886e+38", lowest, true},
                         {"-3.40282346638529e+38", lowest, true},
                         {"-3.40282346639e+38", lowest, true},
                         {"-3.40282e+38", lowest, true},
                         {"3.40282347e+38", -lowest, true},
                         {"0.1", 0.1F, true},
                         {"-9999 ", -9999, true},
                         {"-9999\n", -9999, true},
                         {"\t-9999\r\n", -9999, true},
                         {"  -9999.000000", -9999, true},
                         {"+7", 7, true},
                         {"-9999 dB", -9999, true},
                         {"-0", 0, true},
                         {"1.00000002004088e+20", 1e20F, true},
                         {"-9999,5", -9999.5F, true},
                         {"1.#QNAN", 1, false},
                         {"-1.#INF", -1, false},
                         {"nan", 1, false},
                         {"-nan", 1, false},
                         {"inf", 1, false},
                         {"-Infinity", -1, false},
                         {"-9999", -9998, false},
                         {"0", 1e-30F, false},
                         {"1e39", infinity, true},
                         {"-9999", lowest, false}}) {
    CAPTURE(row.text);
    CAPTURE(row.value);
    Layout layout;
    layout.nodata = row.text;
    std::vector<float> values(256, 3);
    values[1] = row.value;
    write_tiff(path, layout, {bytes_of(values)});
    Image image = data::read_image(path);
    CHECK(image.remarks.empty());
    CHECK(image.view().as<float>()[0] == 3);
    const float found = image.view().as<float>()[1];
    if (row.missing)
      CHECK(std::isnan(found));
    else
      CHECK(found == row.value);
  }
  Layout layout;
  layout.nodata = "none\x01";
  write_tiff(path, layout, {bytes_of(std::vector<float>(256, 3))});
  const data::ImageHeader header = data::probe_image(path);
  REQUIRE(header.remarks.size() == 1);
  CHECK(has(header.remarks[0], "its nodata value 'none?' is no number"));
}

TEST_CASE("a second page of the first's size is told of, pyramids and masks are not") {
  const test::TempFolder folder;
  const std::string path = folder.path("stack.tif");
  const std::vector<uint8_t> block = bytes_of(std::vector<float>(64 * 64, 3));
  Layout layout;
  layout.tile = 0;
  const auto remarks = [&] {
    write_tiff(path, layout, {block});
    CHECK(data::read_image(path).remarks == data::probe_image(path).remarks);
    return data::probe_image(path).remarks;
  };
  CHECK(remarks().empty());
  layout.pages = 3;
  REQUIRE(remarks().size() == 1);
  CHECK(has(remarks()[0], "more than one page of one size, and only the first is read"));
  CHECK(has(remarks()[0], "--bands"));
  layout.page_kind = FILETYPE_REDUCEDIMAGE;
  CHECK(remarks().empty());
  layout.page_kind = FILETYPE_MASK;
  CHECK(remarks().empty());
}
