#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "data/geotiff.h"
#include "data/image.h"
#include "kernels/error.h"
#include "tests/support/crc32.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"
#include "tests/support/table_rows.h"

using namespace fulmar;
using data::Image;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

const char* const corpora[] = {"png-corpus", "s1-geotiff", "tiff-corpus"};

std::vector<std::vector<std::string>> table(const std::string& name) {
  return test::table_rows(test::golden("images/" + name));
}

// A line of corpus.tsv; tests/goldens/make/corpus.py says what the fields are.
struct Row {
  explicit Row(const std::vector<std::string>& f)
      : path(f[0]), verdict(f[1]), says(f[2]), type(f[6]), crc(f[9]) {
    height = std::stoll(f[3]);
    width = std::stoll(f[4]);
    bands = std::stoll(f[5]);
    if (f[7] != "-") nodata = std::stod(f[7]);
    dropped_alpha = f[8] == "1";
  }
  bool decodes() const { return verdict == "ok" || verdict == "jpeg"; }

  std::string path, verdict, says, type, crc;
  int64_t height = 0, width = 0, bands = 0;
  std::optional<double> nodata;
  bool dropped_alpha = false;
};

std::string corpus_of(const std::string& path) { return path.substr(0, path.find('/')); }

void check_header(const data::ImageHeader& header, const Row& row) {
  CHECK(header.height == row.height);
  CHECK(header.width == row.width);
  CHECK(header.bands == row.bands);
  CHECK(name_of(header.type) == row.type);
  CHECK(header.nodata == row.nodata);
}

// Pixels at the middles of 32 x 32 parts are within 2 of the oracle's, and the means of 8 x 8
// parts, each over thousands of pixels, within 0.2.
void check_near(const Image& image, const std::vector<std::string>& row) {
  const auto at = [&](int64_t y, int64_t x, int64_t band) {
    return image.data[static_cast<size_t>((y * image.width + x) * image.bands + band)];
  };
  int largest = 0;
  REQUIRE(static_cast<int64_t>(row[1].size()) == 2 * 32 * 32 * image.bands);
  for (int64_t i = 0; i < 32 * 32; i++)
    for (int64_t band = 0; band < image.bands; band++) {
      const std::string digits =
          row[1].substr(static_cast<size_t>(2 * (i * image.bands + band)), 2);
      const int64_t y = (2 * (i / 32) + 1) * image.height / 64;
      const int64_t x = (2 * (i % 32) + 1) * image.width / 64;
      largest = std::max(largest, std::abs(at(y, x, band) - std::stoi(digits, nullptr, 16)));
    }
  CHECK(largest <= 2);
  std::istringstream means(row[2]);
  double furthest = 0;
  for (int64_t part = 0; part < 64; part++)
    for (int64_t band = 0; band < image.bands; band++) {
      const int64_t top = part / 8 * image.height / 8, bottom = (part / 8 + 1) * image.height / 8;
      const int64_t left = part % 8 * image.width / 8, right = (part % 8 + 1) * image.width / 8;
      double sum = 0, mean = 0;
      for (int64_t y = top; y < bottom; y++)
        for (int64_t x = left; x < right; x++) sum += at(y, x, band);
      REQUIRE(static_cast<bool>(means >> mean));
      const auto pixels = static_cast<double>((bottom - top) * (right - left));
      furthest = std::max(furthest, std::abs(sum / pixels - mean));
    }
  CHECK(furthest <= 0.2);
}

}  // namespace

TEST_CASE("every file of the corpora has a row, and every row a file") {
  std::map<std::string, std::set<std::string>> rows;
  for (const auto& row : table("corpus.tsv")) rows[corpus_of(row[0])].insert(row[0]);
  for (const std::string corpus : corpora) {
    const auto folder = test::test_data(corpus);
    if (!folder) {
      MESSAGE("skipped: no " << corpus);
      continue;
    }
    std::set<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(*folder))
      if (entry.is_regular_file())
        files.insert(corpus + "/" + entry.path().lexically_relative(*folder).generic_string());
    CHECK(files == rows[corpus]);
  }
}

TEST_CASE("every file of the corpora decodes as its row says, or is refused as it says") {
  std::map<std::string, int> seen;
  std::map<std::string, std::vector<std::string>> near;
  for (const auto& row : table("corpus_jpeg.tsv")) near[row[0]] = row;
  for (const auto& fields : table("corpus.tsv")) {
    const Row row(fields);
    if (!test::test_data(corpus_of(row.path))) continue;  // the case above says so
    CAPTURE(row.path);
    const std::string path = *test::test_data(row.path);
    seen[row.verdict]++;
    if (!row.decodes()) {
      const std::string message = error_of(ErrorKind::file, [&] { data::read_image(path); });
      CAPTURE(message);
      CHECK(has(message, path));
      CHECK(has(message, row.says));
      // A header can be right where the data are not.
      if (row.verdict == "corrupt") continue;
      const std::string probed = error_of(ErrorKind::file, [&] { data::probe_image(path); });
      CHECK(probed == message);
      continue;
    }
    const Image image = data::read_image(path);
    check_header(image, row);
    check_header(data::probe_image(path), row);
    CHECK(image.dropped_alpha == row.dropped_alpha);
    if (row.verdict == "jpeg")
      check_near(image, near.at(row.path));
    else
      CHECK(test::crc32(image.data) == std::stoul(row.crc, nullptr, 16));
  }
  if (seen.empty()) return;
  MESSAGE(seen["ok"] << " equal, " << seen["jpeg"] << " within 2, " << seen["unsupported"]
                     << " unsupported, " << seen["corrupt"] << " corrupt, " << seen["other"]
                     << " no pictures");
}

TEST_CASE("the georeference of every GeoTIFF is what rasterio reads") {
  for (const auto& row : table("georeference.tsv")) {
    const auto path = test::test_data(row[0]);
    if (!path) continue;  // the first case says so
    CAPTURE(row[0]);
    const data::Georeference found = data::read_georeference(*path);
    CHECK(found.epsg == std::stoi(row[1]));
    const bool placed = row[2] != "-", tied = row[3] != "-";
    REQUIRE(found.transform.has_value() == placed);
    std::istringstream numbers(row[2]);
    if (found.transform)
      for (const double value : *found.transform) {
        double expected = 0;
        REQUIRE(static_cast<bool>(numbers >> expected));
        CHECK(value == doctest::Approx(expected).epsilon(1e-14));
      }
    CHECK(found.points.empty() != tied);
  }
}
