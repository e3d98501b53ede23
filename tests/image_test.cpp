#include "data/image.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "data/encode_png.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"
#include "tests/support/table_rows.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using data::Image;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

std::string sample(const std::string& name) { return test::golden("images/" + name); }

int64_t largest_difference(const Image& a, const Image& b) {
  REQUIRE(a.height == b.height);
  REQUIRE(a.width == b.width);
  REQUIRE(a.bands == b.bands);
  REQUIRE(a.type == b.type);
  REQUIRE(a.data.size() == b.data.size());
  int largest = 0;
  for (size_t i = 0; i < a.data.size(); i++)
    largest = std::max(largest, std::abs(a.data[i] - b.data[i]));
  return largest;
}

Image decode(const std::string& bytes, const data::ImageLimits& limits = {}) {
  return data::decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                            "folder/it.png", limits);
}

std::string contents(const std::string& path) { return read_file(path, 1 << 20); }

}  // namespace

TEST_CASE("real radar JPEGs decode within 2 of Pillow") {
  const auto folder = test::test_data("mstar10");
  if (!folder) {
    MESSAGE("skipped: no mstar10");
    return;
  }
  for (const auto& row : test::table_rows(sample("samples.tsv"))) {
    CAPTURE(row[0]);
    const Image image = data::read_image(*test::test_data(row[0]));
    REQUIRE(image.height == std::stoll(row[1]));
    REQUIRE(image.width == std::stoll(row[2]));
    REQUIRE(image.bands == 1);
    double sum = 0;
    for (uint8_t value : image.data) sum += value;
    CHECK(sum / static_cast<double>(image.pixels()) ==
          doctest::Approx(std::stod(row[3])).epsilon(0.0005));
    for (int64_t i = 0; i < 64; i++) {
      const int expected = std::stoi(row[4].substr(static_cast<size_t>(2 * i), 2), nullptr, 16);
      const int64_t y = (2 * (i / 8) + 1) * image.height / 16;
      const int64_t x = (2 * (i % 8) + 1) * image.width / 16;
      CHECK(std::abs(image.data[static_cast<size_t>(y * image.width + x)] - expected) <= 2);
    }
  }
}

TEST_CASE("JPEG kinds decode within 2 of Pillow") {
  for (const std::string name :
       {"grey", "colour_444", "colour_422", "colour_420", "progressive", "restarts"}) {
    CAPTURE(name);
    const Image image = data::read_image(sample(name + ".jpg"));
    const Image expected = data::read_image(sample(name + ".jpg.png"));
    CHECK(largest_difference(image, expected) <= 2);
  }
}

TEST_CASE("BMP and PNG agree, transparency is dropped and said") {
  const Image colour = data::read_image(sample("colour.png"));
  CHECK_FALSE(colour.dropped_alpha);
  CHECK(largest_difference(data::read_image(sample("colour.bmp")), colour) == 0);
  for (const std::string name : {"alpha.png", "alpha.bmp"}) {
    const Image alpha = data::read_image(sample(name));
    CHECK(alpha.dropped_alpha);
    CHECK(largest_difference(alpha, colour) == 0);
  }
  const Image palette = data::read_image(sample("palette.png"));
  CHECK(largest_difference(palette, data::read_image(sample("palette_as_rgb.png"))) == 0);
}

TEST_CASE("RGB to grey is Pillow's, grey to RGB repeats") {
  const Image grey = data::with_channels(data::read_image(sample("colour.png")), 1);
  CHECK(largest_difference(grey, data::read_image(sample("colour_as_grey.png"))) == 0);
  const Image rgb = data::with_channels(grey, 3);
  for (size_t i = 0; i < rgb.data.size(); i++) REQUIRE(rgb.data[i] == grey.data[i / 3]);
  CHECK(largest_difference(data::with_channels(rgb, 1), grey) == 0);
  CHECK_THROWS_AS(data::with_channels(grey, 4), Error);

  Image wide;
  wide.height = wide.width = 1;
  wide.bands = 3;
  wide.type = DType::u16;
  const uint16_t white[] = {65535, 65535, 65535};
  wide.data.assign(reinterpret_cast<const uint8_t*>(white),
                   reinterpret_cast<const uint8_t*>(white + 3));
  CHECK(*data::with_channels(wide, 1).view().as<uint16_t>() == 65535);
}

TEST_CASE("a cut file is refused at every length") {
  for (const std::string name : {"colour.png", "palette.png", "colour_420.jpg", "progressive.jpg",
                                 "restarts.jpg", "grey.bmp"}) {
    CAPTURE(name);
    const std::string whole = contents(sample(name));
    decode(whole);
    for (size_t length = 0; length < whole.size(); length += 1 + length / 100) {
      CAPTURE(length);
      CHECK_THROWS_AS(decode(whole.substr(0, length)), Error);
    }
    CHECK_THROWS_AS(decode(whole.substr(0, whole.size() - 1)), Error);
  }
}

TEST_CASE("a PNG with any flipped bit is refused") {
  // The second has a chunk that could be left out (transparency).
  for (const std::string name : {"palette.png", "../../fuzz/corpus/image/palette.png"}) {
    const std::string whole = contents(sample(name));
    for (size_t at = 0; at < whole.size(); at++) {
      CAPTURE(at);
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
      CHECK_THROWS_AS(decode(flipped), Error);
    }
  }
}

TEST_CASE("a JPEG that lost restart intervals is refused") {
  const std::string whole = contents(sample("restarts.jpg"));
  const size_t first = whole.find("\xff\xd1"), last = whole.rfind("\xff\xd2");
  REQUIRE(first < last);
  const std::string message =
      error_of(ErrorKind::file, [&] { decode(whole.substr(0, first) + whole.substr(last)); });
  CHECK(has(message, "picture data are missing"));
}

TEST_CASE("wrong files are refused by name, with what to do") {
  const test::TempFolder folder;
  const auto refused = [&](const std::string& name, const std::string& bytes) {
    write_file(folder.path(name), bytes);
    std::string message = error_of(ErrorKind::file, [&] { data::read_image(folder.path(name)); });
    CHECK(has(message, folder.path(name)));
    CHECK(error_of(ErrorKind::file, [&] { data::probe_image(folder.path(name)); }) == message);
    return message;
  };
  CHECK(has(refused("empty.png", ""), "empty"));
  const std::string text = refused("text.png", "just words, no picture");
  CHECK(has(text, "PNG, JPEG, BMP, TIFF"));
  CHECK(has(text, "convert it to PNG or TIFF"));
  CHECK(has(refused("grey.png", "P5\n1 1\n255\n0"), "Netpbm"));
  CHECK(has(refused("short.png", "\x89PNG\r\n\x1a\n"), "within its header"));

  const std::string absent = folder.path("absent.png");
  CHECK(has(error_of(ErrorKind::file, [&] { data::read_image(absent); }), absent));
  CHECK(has(error_of(ErrorKind::file, [&] { data::read_image(folder.path()); }), folder.path()));
  CHECK(has(error_of(ErrorKind::file, [&] { data::read_image("/dev/zero"); }), "/dev/zero"));
  REQUIRE(::mkfifo(folder.path("pipe.png").c_str(), 0600) == 0);
  CHECK(has(error_of(ErrorKind::file, [&] { data::read_image(folder.path("pipe.png")); }),
            "pipe.png"));
  CHECK(has(error_of(ErrorKind::file, [&] { data::read_image(sample("cmyk.jpg")); }), "CMYK"));
}

TEST_CASE("a picture larger than the limit is refused before memory is asked for") {
  data::ImageLimits limits;
  limits.max_pixels = 61 * 45;
  CHECK(decode(contents(sample("colour.png")), limits).width == 61);
  limits.max_pixels--;
  for (const std::string name : {"colour.png", "colour_420.jpg", "colour.bmp"}) {
    const std::string message =
        error_of(ErrorKind::file, [&] { decode(contents(sample(name)), limits); });
    CHECK(has(message, "61 x 45"));
    CHECK(has(message, "--max-pixels"));
  }
  // Headers alone that claim gigabytes: refused by the limit, or because the data can't be there.
  std::string jpeg = contents(sample("colour_420.jpg"));
  const size_t frame = jpeg.find("\xff\xc0");
  for (size_t i = 5; i < 9; i++) jpeg[frame + i] = '\x4e';  // 20046 x 20046
  CHECK(has(error_of(ErrorKind::file, [&] { decode(jpeg); }), "picture data are missing"));
  std::string bmp = contents(sample("colour.bmp"));
  bmp[19] = bmp[23] = 0x4e;  // 20029 x 20013
  CHECK(has(error_of(ErrorKind::file, [&] { decode(bmp); }), "bytes"));
}

TEST_CASE("pictures are known by their first bytes, or pass by their extension") {
  const test::TempFolder folder;
  std::filesystem::copy_file(sample("grey.jpg"), folder.path("chip.dat"));
  CHECK(data::looks_like_image(folder.path("chip.dat")));
  CHECK(data::read_image(folder.path("chip.dat")).bands == 1);
  write_file(folder.path("labels.csv"), "a,b\n");
  CHECK_FALSE(data::looks_like_image(folder.path("labels.csv")));
  write_file(folder.path("bad.PNG"), "no");
  CHECK(data::looks_like_image(folder.path("bad.PNG")));
  write_file(folder.path("scene.tif.ovr"), std::string("II*\0", 4));
  CHECK_FALSE(data::looks_like_image(folder.path("scene.tif.ovr")));
}

TEST_CASE("a PNG of a palette's places is read back as their colours") {
  data::ColourTable colours(256);
  for (size_t i = 0; i < colours.size(); i++)
    colours[i] = {static_cast<uint8_t>(3 * i + 1), static_cast<uint8_t>(i ^ 0x5a),
                  static_cast<uint8_t>(255 - i)};
  Image places;
  static_cast<data::ImageHeader&>(places) = {32, 8, 1, DType::u8};
  Image expected;
  static_cast<data::ImageHeader&>(expected) = {32, 8, 3, DType::u8};
  for (size_t i = 0; i < colours.size(); i++) {
    places.data.push_back(static_cast<uint8_t>(i));
    expected.data.insert(expected.data.end(), colours[i].begin(), colours[i].end());
  }
  CHECK(decode(data::encode_png(places, colours)).data == expected.data);
  colours.pop_back();
  CHECK(has(error_of(ErrorKind::usage, [&] { data::encode_png(places, colours); }), "256 colours"));
  colours.resize(256);
  CHECK(has(error_of(ErrorKind::usage, [&] { data::encode_png(expected, colours); }), "one band"));
}

TEST_CASE("a PNG that is written is read back with the same pixels") {
  for (const DType type : {DType::u8, DType::u16})
    for (const int64_t bands : {1, 3})
      for (const auto& [height, width] : {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {64, 7}}) {
        Image image;
        static_cast<data::ImageHeader&>(image) = {height, width, bands, type};
        for (int64_t i = 0; i < image.bytes(); i++)
          image.data.push_back(static_cast<uint8_t>(i * 37 + i / 256));
        const Image back = decode(data::encode_png(image));
        CHECK(back.type == type);
        CHECK(largest_difference(image, back) == 0);
      }
  Image image;
  static_cast<data::ImageHeader&>(image) = {2, 2, 3, DType::f32};
  image.data.resize(48);
  CHECK(has(error_of(ErrorKind::usage, [&] { data::encode_png(image); }), "3 bands of f32"));
  static_cast<data::ImageHeader&>(image) = {2, 2, 3, DType::u8};
  CHECK(has(error_of(ErrorKind::usage, [&] { data::encode_png(image); }), "2 x 2"));
}
