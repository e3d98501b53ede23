#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/statistics.h"
#include "engine/context.h"
#include "engine/session.h"
#include "model/evaluate.h"
#include "model/observe.h"
#include "model/polar_low.h"
#include "model/program.h"
#include "tests/support/array.h"
#include "tests/support/raster.h"
#include "tests/support/temp_folder.h"

// What was not measured (NaN, infinite, nodata) never reaches the network: what it sees of a
// picture with holes is, to the bit, what it sees of one that has the fill in their place.

using namespace fulmar;

namespace {

constexpr int64_t side = 40;
const double missing_values[] = {std::nan(""), -9999.0, std::numeric_limits<double>::infinity(),
                                 -std::numeric_limits<double>::infinity()};

// Which kind of missing a pixel is; -1: measured. A swath's wedge, single pixels, a whole band.
int hole(int picture, int64_t row, int64_t column, int64_t band) {
  if (picture == 0 && column < row / 2) return 0;
  if (picture == 1 && column < row / 3) return 1;
  if (picture == 2 && band == 1) return 1;
  const uint64_t bits =
      test::splitmix64(static_cast<uint64_t>(((picture * side + row) * side + column) * 2 + band));
  return bits % 23 == 0 ? static_cast<int>(bits / 23 % 4) : -1;
}

double measured(int picture, int64_t row, int64_t column, int64_t band) {
  return -14 - 6 * static_cast<double>(band) +
         test::uniform_value(7, ((picture * side + row) * side + column) * 2 + band, -4, 4);
}

Preprocess float_record() {
  Preprocess p;
  p.type = DType::f32;
  p.crop = 24;
  p.bands = 2;
  p.scale = {0.25, 0.3};
  p.offset = {3.5, 6};
  p.fill = {-14, -20};
  return p;
}

// Values of the network's input for a batch of four pictures.
std::vector<double> seen_by_network(const std::vector<std::string>& paths, const Preprocess& record,
                                    bool augmented) {
  Context context;
  Device& device = context.device("cpu");
  data::PictureOptions options;
  options.bands = record.bands;
  const std::shared_ptr<const data::Pictures> pictures =
      data::open_pictures(paths, options, context.pool());
  data::LoaderOptions loading;
  loading.batch = pictures->count();
  loading.seed = 5;
  if (augmented) loading.augment = data::Augment::published();
  data::Loader loader(pictures, {}, data::sequential_sampler(pictures->count(), loading.batch),
                      record, loading);
  model::PolarLowOptions small;
  small.channels = record.bands;
  small.widths = {2, 2};
  ModelInfo info;
  info.network = model::polar_low(small);
  info.preprocess["input"] = record;
  const model::Program program = model::record_program(info, {}, loader.tensors(), {Mode::eval});
  Model model = model::new_model(info, device, 1);
  const Val input = program.tape->find("input"), logits = program.outputs.begin()->second;
  Session session(context, device, program.tape, std::vector<Val>{input, logits}, &model);
  loader.start(0, 0);
  model::set_inputs(session, program, *loader.next());
  session.run();
  for (const double logit : session.read(logits)) CHECK(std::isfinite(logit));
  return session.read(input);
}

}  // namespace

TEST_CASE("NaN, infinite and nodata pixels of float pictures are fill to the network") {
  const test::TempFolder folder;
  const Preprocess record = float_record();
  std::vector<std::string> with_holes, filled;
  for (int picture = 0; picture < 4; picture++) {
    with_holes.push_back(folder.path("holes" + std::to_string(picture) + ".tif"));
    filled.push_back(folder.path("filled" + std::to_string(picture) + ".tif"));
    test::write_raster(
        with_holes.back(), side, side, 2,
        [&](int64_t row, int64_t column, int64_t band) {
          const int kind = hole(picture, row, column, band);
          return kind < 0 ? measured(picture, row, column, band) : missing_values[kind];
        },
        -9999);
    test::write_raster(
        filled.back(), side, side, 2, [&](int64_t row, int64_t column, int64_t band) {
          return hole(picture, row, column, band) < 0 ? measured(picture, row, column, band)
                                                      : record.fill[static_cast<size_t>(band)];
        });
  }
  for (const int64_t size : {0, 32})
    for (const bool augmented : {false, true})
      for (const bool standardize : {false, true}) {
        CAPTURE(size);
        CAPTURE(augmented);
        CAPTURE(standardize);
        Preprocess p = record;
        p.size = size;
        p.standardize = standardize;
        const std::vector<double> seen = seen_by_network(with_holes, p, augmented);
        CHECK(seen.size() == 4 * 24 * 24 * 2);
        bool finite = true;
        for (const double value : seen) finite &= std::isfinite(value) && std::abs(value) < 20;
        CHECK(finite);
        CHECK(seen == seen_by_network(filled, p, augmented));
      }
}

TEST_CASE("nodata of whole numbers is fill to the network, the value of their neighbours not") {
  const test::TempFolder folder;
  Preprocess record = Preprocess::of_pictures(0, 24, 1, DType::u16);
  record.fill = {1000};
  record.nodata = 7;
  std::vector<std::string> with_holes, filled;
  for (int picture = 0; picture < 4; picture++) {
    data::Image image;
    static_cast<data::ImageHeader&>(image) = {side, side, 1, DType::u16};
    image.data.resize(static_cast<size_t>(image.bytes()));
    auto* values = reinterpret_cast<uint16_t*>(image.data.data());
    for (const bool holes : {true, false}) {
      for (int64_t i = 0; i < image.pixels(); i++) {
        const bool missing = hole(picture, i / side, i % side, 0) >= 0;
        values[i] = missing ? (holes ? 7 : 1000) : static_cast<uint16_t>(3 + i % 9 * (i % 9 != 4));
      }
      std::vector<std::string>& paths = holes ? with_holes : filled;
      paths.push_back(folder.path(std::to_string(holes) + std::to_string(picture) + ".tif"));
      write_geotiff(paths.back(), image, {},
                    holes ? std::optional<double>(7) : std::optional<double>());
    }
  }
  const std::vector<double> seen = seen_by_network(with_holes, record, true);
  record.nodata.reset();
  CHECK(seen == seen_by_network(filled, record, true));
}

TEST_CASE("statistics by band leave out what was not measured, and don't depend on threads") {
  const test::TempFolder folder;
  std::vector<std::string> paths;
  double sum[2] = {}, squares[2] = {}, count[2] = {};
  for (int picture = 0; picture < 4; picture++) {
    paths.push_back(folder.path(std::to_string(picture) + ".tif"));
    const int64_t height = side - picture;
    test::write_raster(
        paths.back(), height, side, 2,
        [&](int64_t row, int64_t column, int64_t band) {
          const int kind = hole(picture, row, column, band);
          const auto value = static_cast<float>(measured(picture, row, column, band));
          if (kind >= 0) return missing_values[kind];
          sum[band] += static_cast<double>(value);
          squares[band] += static_cast<double>(value) * static_cast<double>(value);
          count[band]++;
          return static_cast<double>(value);
        },
        -9999);
  }
  data::PictureOptions options;
  options.bands = 0;
  std::vector<data::BandStatistics> first;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    const auto pictures = data::open_pictures(paths, options, pool);
    const std::vector<data::BandStatistics> found = data::measure_bands(*pictures, pool);
    REQUIRE(found.size() == 2);
    for (size_t band = 0; band < 2; band++) {
      const double mean = sum[band] / count[band];
      CHECK(found[band].pixels == (40 + 39 + 38 + 37) * 40);
      CHECK(found[band].valid == static_cast<int64_t>(count[band]));
      CHECK(found[band].mean == doctest::Approx(mean).epsilon(1e-12));
      CHECK(found[band].deviation ==
            doctest::Approx(std::sqrt(squares[band] / count[band] - mean * mean)).epsilon(1e-9));
      if (threads > 1) CHECK(found[band].mean == first[band].mean);
      if (threads > 1) CHECK(found[band].deviation == first[band].deviation);
    }
    first = found;
  }
}
