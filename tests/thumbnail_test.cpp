#include "data/thumbnail.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::data;

namespace {

template <class T>
Image picture(int64_t height, int64_t width, int64_t bands, const std::vector<T>& values) {
  Image image;
  image.height = height;
  image.width = width;
  image.bands = bands;
  image.type = dtype_of<T>();
  image.data.resize(values.size() * sizeof(T));
  std::memcpy(image.data.data(), values.data(), image.data.size());
  REQUIRE(image.bytes() == static_cast<int64_t>(image.data.size()));
  return image;
}

using Bytes = std::vector<uint8_t>;

}  // namespace

TEST_CASE("thumbnails: means over boxes, in proportion, never enlarged") {
  const Image wide = picture<uint8_t>(2, 4, 1, {0, 10, 20, 30, 20, 10, 40, 31});
  const Image half = thumbnail(wide, 2);
  CHECK(half.height == 1);
  CHECK(half.width == 2);
  CHECK(half.data == Bytes{10, 30});
  CHECK(thumbnail(wide, 4).data == wide.data);
  CHECK(thumbnail(wide, 100).data == wide.data);
  CHECK(thumbnail(wide, 1).data == Bytes{20});
  // Every pixel is in one box: 5 columns in 3.
  const Image uneven = thumbnail(picture<uint8_t>(1, 5, 1, {1, 3, 5, 7, 9}), 3);
  CHECK(uneven.data == Bytes{1, 4, 8});
}

TEST_CASE("thumbnails: the first of two bands, the first three of more") {
  CHECK(thumbnail(picture<uint8_t>(1, 2, 2, {7, 8, 9, 10}), 9).data == Bytes{7, 9});
  const Image colours = thumbnail(picture<uint8_t>(1, 2, 4, {1, 2, 3, 4, 5, 6, 7, 8}), 9);
  CHECK(colours.bands == 3);
  CHECK(colours.data == Bytes{1, 2, 3, 5, 6, 7});
}

TEST_CASE(
    "thumbnails of 16 bits and floats are stretched; NaN is left out, and black where alone") {
  CHECK(thumbnail(picture<uint16_t>(1, 3, 1, {100, 150, 200}), 9).data == Bytes{0, 255, 255});
  std::vector<uint16_t> ramp;
  for (int i = 0; i <= 1000; i++) ramp.push_back(static_cast<uint16_t>(3000 + i));
  const Image stretched = thumbnail(picture<uint16_t>(1, 1001, 1, ramp), 1001);
  CHECK(stretched.data.front() == 0);
  CHECK(stretched.data[500] == 128);
  CHECK(stretched.data.back() == 255);
  const float nan = std::nanf("");
  const Image holes =
      thumbnail(picture<float>(2, 6, 1, {nan, -20, -5, nan, nan, 0, -20, nan, -5, -5, nan, 0}), 3);
  CHECK(holes.height == 1);
  CHECK(holes.data == Bytes{0, 255, 255});
  const Image lost = thumbnail(picture<float>(1, 4, 1, {nan, nan, 1, 2}), 2);
  CHECK(lost.data == Bytes{0, 128});
  CHECK(thumbnail(picture<float>(1, 2, 1, {nan, INFINITY}), 2).data == Bytes{0, 0});
  Image marked = picture<uint8_t>(1, 4, 1, {9, 255, 255, 255});
  CHECK(thumbnail(marked, 2).data == Bytes{132, 255});
  marked.nodata = 255;
  CHECK(thumbnail(marked, 2).data == Bytes{9, 0});
}

TEST_CASE("thumbnails: wrong use is refused") {
  const auto refused = [](const Image& image, int64_t side) {
    return test::error_of(ErrorKind::usage, [&] { thumbnail(image, side); });
  };
  const Image image = picture<uint8_t>(1, 1, 1, {1});
  CHECK(test::has(refused(image, 0), "not 0"));
  CHECK(test::has(refused(Image{}, 5), "without pixels"));
  Image strange = image;
  strange.type = DType::i32;
  CHECK(test::has(refused(strange, 5), "i32"));
}
