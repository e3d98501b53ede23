// Reading of the pixels of common PNGs, beside libspng's.
#include <doctest/doctest.h>
#include <libdeflate.h>

#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/png_filters.h"
#include "data/png_pixels.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/libspng.h"

using namespace fulmar;
using data::PngPixels;
using fulmar::test::by_libspng;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

using Samples = std::vector<uint8_t>;

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string big_endian(uint32_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift);
  return text;
}

std::string chunk(const std::string& type, const std::string& body) {
  const std::string whole = type + body;
  return big_endian(static_cast<uint32_t>(body.size())) + whole +
         big_endian(libdeflate_crc32(0, whole.data(), whole.size()));
}

std::string zlib(const std::string& rows, int level = 6) {
  auto* const compressor = libdeflate_alloc_compressor(level);
  std::string packed(libdeflate_zlib_compress_bound(compressor, rows.size()), '\0');
  packed.resize(
      libdeflate_zlib_compress(compressor, rows.data(), rows.size(), packed.data(), packed.size()));
  libdeflate_free_compressor(compressor);
  return packed;
}

// Half noise, half a gradient, so that all branches of the filters are met.
Samples random_samples(const PngPixels& p, std::mt19937& random) {
  Samples samples(static_cast<size_t>(p.height * p.row_bytes()));
  for (size_t i = 0; i < samples.size(); i++)
    samples[i] = static_cast<uint8_t>(random() % 2 ? random() : i / 3);
  return samples;
}

int paeth(int a, int b, int c) {
  const int p = a + b - c, pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

// Rows with their filters' numbers, as PNG's specification (clause 9) makes them.
std::string filtered(const Samples& samples, const PngPixels& p,
                     const std::function<int(int64_t)>& filter_of) {
  const auto at = [&](int64_t row, int64_t i) {
    return row < 0 || i < 0 ? 0 : int{samples[static_cast<size_t>(row * p.row_bytes() + i)]};
  };
  std::string rows;
  for (int64_t row = 0; row < p.height; row++) {
    const int filter = filter_of(row);
    rows += static_cast<char>(filter);
    for (int64_t i = 0; i < p.row_bytes(); i++) {
      const int a = at(row, i - p.pixel_bytes()), b = at(row - 1, i);
      const int c = i < p.pixel_bytes() ? 0 : at(row - 1, i - p.pixel_bytes());
      const int guesses[] = {0, a, b, (a + b) / 2, paeth(a, b, c)};
      rows += static_cast<char>(at(row, i) - guesses[filter]);
    }
  }
  return rows;
}

// Channels to colour types.
constexpr char colour_types[] = {0, 0, 4, 2, 6};

std::string header(const PngPixels& p) {
  const std::string extents =
      big_endian(static_cast<uint32_t>(p.width)) + big_endian(static_cast<uint32_t>(p.height));
  const std::string kind{static_cast<char>(p.bits), colour_types[p.channels], 0, 0, 0};
  return chunk("IHDR", extents + kind);
}

const std::string signature = "\x89PNG\r\n\x1a\n", end_mark = chunk("IEND", "");

std::string png(const PngPixels& p, const std::string& packed, const std::string& before = "",
                const std::string& behind = "") {
  return signature + header(p) + before + chunk("IDAT", packed) + behind + end_mark;
}

// The rows that a picture has behind decode_image(): without alpha.
Samples without_alpha(const Samples& samples, const PngPixels& p) {
  if (p.channels % 2) return samples;
  const int64_t sample = p.bits / 8, kept = (p.channels - 1) * sample;
  Samples result;
  for (size_t i = 0; i < samples.size(); i++)
    if (static_cast<int64_t>(i) % p.pixel_bytes() < kept) result.push_back(samples[i]);
  return result;
}

// What decode_image() makes of a file is what libspng alone makes of it, refusals included.
void check_like_libspng(const std::string& file, const PngPixels& p) {
  const std::optional<Samples> expected = by_libspng(bytes_of(file));
  try {
    const data::Image image = data::decode_image(bytes_of(file), "it.png");
    REQUIRE(expected.has_value());
    CHECK(image.data == without_alpha(*expected, p));
  } catch (const Error& error) {
    CHECK_MESSAGE(!expected.has_value(), error.what());
  }
}

template <class Body>
void for_each_kind(const Body& body) {
  for (const int64_t bits : {8, 16})
    for (const int64_t channels : {1, 2, 3, 4})
      for (const int64_t width : {1, 2, 3, 21, 70})
        for (const int64_t height : {1, 2, 9}) {
          CAPTURE(bits);
          CAPTURE(channels);
          CAPTURE(width);
          CAPTURE(height);
          body(PngPixels{height, width, channels, bits});
        }
}

}  // namespace

TEST_CASE("filters: every one and mixtures, on every instruction set, give back the samples") {
  test::for_each_instruction_set([] {
    std::mt19937 random(1);
    for_each_kind([&](const PngPixels& p) {
      for (int filter = 0; filter <= 5; filter++) {
        CAPTURE(filter);
        const Samples samples = random_samples(p, random);
        const std::string rows = filtered(samples, p, [&](int64_t) {
          return filter < 5 ? filter : static_cast<int>(random() % 5);
        });
        Samples data(rows.begin(), rows.end());
        data.resize(rows.size() + 8);
        REQUIRE(data::undo_png_filters(data.data(), p.height, p.row_bytes(), p.pixel_bytes()));
        data.resize(samples.size());
        CHECK(data == samples);
      }
    });
  });
}

TEST_CASE("filters: Paeth's choice for many left, upper and upper left neighbours") {
  test::for_each_instruction_set([] {
    // Each row of pixels has one upper left value c, upper values b and left values a.
    for (int c = 0; c < 256; c += 5) {
      const PngPixels p{2, 2 * 256, 3, 8};
      Samples samples(static_cast<size_t>(2 * p.row_bytes()));
      for (size_t b = 0; b < 256; b++)
        for (size_t i = 0; i < 3; i++) {
          const size_t at = 6 * b + i;
          const auto below = at + static_cast<size_t>(p.row_bytes());
          samples[at] = static_cast<uint8_t>(c);
          samples[at + 3] = static_cast<uint8_t>(b);
          samples[below] = static_cast<uint8_t>(b * 7 + samples[at] * 11 + i * 85);
          samples[below + 3] = static_cast<uint8_t>(b * 3 + i);
        }
      const std::string rows = filtered(samples, p, [](int64_t) { return 4; });
      Samples data(rows.begin(), rows.end());
      data.resize(rows.size() + 8);
      REQUIRE(data::undo_png_filters(data.data(), 2, p.row_bytes(), 3));
      data.resize(samples.size());
      CHECK(data == samples);
    }
  });
}

TEST_CASE("common PNGs are read without libspng, to its pixels, however their data are cut") {
  std::mt19937 random(2);
  for_each_kind([&](const PngPixels& p) {
    const Samples samples = random_samples(p, random);
    const std::string rows = filtered(samples, p, [&](int64_t) { return random() % 5; });
    const std::string packed = zlib(rows, static_cast<int>(random() % 12 + 1));
    std::string cut;
    for (size_t at = 0; at < packed.size();) {
      const size_t length = random() % (packed.size() - at + 1);
      cut += chunk("IDAT", packed.substr(at, length));
      at += length;
    }
    const std::string file = signature + header(p) + cut + end_mark;
    const auto pixels = data::read_png_pixels(bytes_of(file), p);
    REQUIRE(pixels.has_value());
    CHECK(pixels == by_libspng(bytes_of(file)));
    check_like_libspng(file, p);
    check_like_libspng(png(p, packed), p);
  });
}

TEST_CASE("what is wrong with the pixels' chunks goes to libspng, and is judged as it does") {
  const PngPixels p{7, 5, 3, 8};
  std::mt19937 random(3);
  const Samples samples = random_samples(p, random);
  const std::string rows = filtered(samples, p, [](int64_t) { return 4; });
  const std::string packed = zlib(rows), half = packed.substr(0, packed.size() / 2);
  const std::string other = packed.substr(half.size()), note = chunk("tEXt", "Title");
  std::string wrong_filter = rows, wrong_sum = packed;
  wrong_filter[0] = 5;
  wrong_sum.back() = static_cast<char>(wrong_sum.back() ^ 1);
  std::string wrong_checksum = chunk("IDAT", packed), wrong_header = header(p);
  wrong_checksum.back() = static_cast<char>(wrong_checksum.back() ^ 1);
  wrong_header.back() = static_cast<char>(wrong_header.back() ^ 1);
  const std::string files[] = {
      png(p, zlib(wrong_filter)),
      png(p, wrong_sum),
      png(p, zlib(rows + "more")),
      png(p, zlib(rows.substr(0, rows.size() - 1))),
      png(p, packed + "more"),
      png(p, packed, "", chunk("IDAT", "more")),
      png(p, half),
      png(p, half, "", note + chunk("IDAT", other)),
      png(p, ""),
      signature + header(p) + end_mark,
      signature + header(p) + wrong_checksum + end_mark,
      signature + wrong_header + chunk("IDAT", packed) + end_mark,
      signature + header(p) + chunk("IDAT", packed),
      signature + header(p) + header(p) + chunk("IDAT", packed) + end_mark,
  };
  for (const std::string& file : files) {
    CAPTURE(&file - files);
    if (&file != &files[std::size(files) - 1])  // the last is found by libspng alone
      CHECK_FALSE(data::read_png_pixels(bytes_of(file), p).has_value());
    if (file.size() < png(p, packed).size() && file.find("IEND") == std::string::npos)
      CHECK(has(error_of(ErrorKind::file, [&] { data::decode_image(bytes_of(file), "it.png"); }),
                "it.png"));
    else
      check_like_libspng(file, p);
  }
}

TEST_CASE("the other chunks of common PNGs are judged by libspng") {
  const PngPixels p{7, 5, 3, 8};
  std::mt19937 random(4);
  const std::string packed =
      zlib(filtered(random_samples(p, random), p, [](int64_t row) { return row % 5; }));
  const std::string grey = std::string("\0\1\0\2\0\3", 6);
  std::string wrong = chunk("tEXt", std::string("Title\0good", 10));
  wrong.back() = static_cast<char>(wrong.back() ^ 1);
  struct Case {
    std::string before, behind;
    bool decodes, transparent = false;
  };
  const Case cases[] = {
      {"", "", true},
      {chunk("tEXt", std::string("Title\0good", 10)), "", true},
      {chunk("gAMA", big_endian(45455)), chunk("tIME", std::string("\7\350\1\1\1\1\1", 7)), true},
      {chunk("pHYs", big_endian(1) + big_endian(1) + std::string(1, '\0')), "", true},
      {chunk("tRNS", grey), "", true, true},
      {chunk("PLTE", "abcdef"), "", true},
      {chunk("abCd", "unknown"), "", true},
      {wrong, "", false},
      {"", wrong, false},
      {chunk("ABCD", "unknown and not to be left out"), "", false},
      {chunk("PLTE", "abcde"), "", false},
      {"", chunk("PLTE", "abcdef"), true},  // out of order, and no matter to the pixels
  };
  for (const Case& c : cases) {
    CAPTURE(&c - cases);
    const std::string file = png(p, packed, c.before, c.behind);
    CHECK(data::read_png_pixels(bytes_of(file), p).has_value());
    CHECK(by_libspng(bytes_of(file)).has_value() == c.decodes);
    check_like_libspng(file, p);
    if (c.decodes)
      CHECK(data::decode_image(bytes_of(file), "it.png").dropped_alpha == c.transparent);
  }
}

TEST_CASE("PNGs with damaged data but right checksums are judged as by libspng") {
  std::mt19937 random(5);
  for_each_kind([&](const PngPixels& p) {
    const std::string packed =
        zlib(filtered(random_samples(p, random), p, [&](int64_t) { return random() % 5; }));
    for (int i = 0; i < 40; i++) {
      std::string damaged = packed;
      for (int flips = 0; flips < 2; flips++) {
        char& byte = damaged[random() % damaged.size()];
        byte = static_cast<char>(byte ^ 1 << random() % 8);
      }
      check_like_libspng(png(p, damaged), p);
    }
  });
}

TEST_CASE("a short PNG that claims to be large is refused before memory is asked for") {
  const PngPixels p{20000, 20000, 3, 8};
  const std::string file = png(p, zlib(std::string(100000, '\0')));
  // More than any machine has: asking for it would throw.
  const PngPixels larger{1 << 24, 1 << 24, 3, 8};
  CHECK_FALSE(data::read_png_pixels(bytes_of(file), larger).has_value());
  CHECK_FALSE(data::read_png_pixels(bytes_of(file), p).has_value());
  CHECK(has(error_of(ErrorKind::file, [&] { data::decode_image(bytes_of(file), "it.png"); }),
            "it.png: the file is damaged or cut short: PNG: too short for the size in its header"));
}
