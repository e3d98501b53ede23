#include "model/explain/mask.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::model::explain;
using fulmar::test::error_of;

namespace {

constexpr int64_t side = 12;

// A bump about a place.
void add_bump(std::vector<float>& map, int64_t row, int64_t column, double height, double width) {
  for (int64_t y = 0; y < side; y++)
    for (int64_t x = 0; x < side; x++) {
      const auto far = static_cast<double>((y - row) * (y - row) + (x - column) * (x - column));
      map[static_cast<size_t>(y * side + x)] +=
          static_cast<float>(height * std::exp(-far / (2 * width * width)));
    }
}

int64_t count(const std::vector<uint8_t>& mask) {
  int64_t sum = 0;
  for (const uint8_t pixel : mask) sum += pixel;
  return sum;
}

uint8_t at(const std::vector<uint8_t>& mask, int64_t row, int64_t column) {
  return mask[static_cast<size_t>(row * side + column)];
}

}  // namespace

TEST_CASE("masks: Otsu's threshold parts two heaps of numbers") {
  const std::vector<float> heaps{-9, 0, 1, 1.1F, 0.9F, 1, 5, 5.2F, 4.9F, -3};
  const double threshold = otsu_threshold(heaps);
  CHECK(threshold > 1.1);
  CHECK(threshold < 4.9);
  CHECK(otsu_threshold(std::vector<float>{-1, 0}) == 0);
  CHECK(otsu_threshold(std::vector<float>{2, 2, 2}) == 0);
}

TEST_CASE("masks: of two bumps the larger stays, or both") {
  std::vector<float> map(side * side, -0.1F);
  add_bump(map, 3, 3, 1, 1.5);
  add_bump(map, 9, 9, 1, 0.8);
  const auto one = mask_of(map, side, side, {});
  CHECK(at(one, 3, 3) == 1);
  CHECK(at(one, 9, 9) == 0);
  const auto both = mask_of(map, side, side, {.components = 2});
  CHECK(at(both, 3, 3) == 1);
  CHECK(at(both, 9, 9) == 1);
  CHECK(count(both) > count(one));
  std::vector<float> rising(side * side);
  for (size_t i = 0; i < rising.size(); i++) rising[i] = static_cast<float>(i);
  CHECK(count(mask_of(rising, side, side, {.share = 0.125, .components = 0})) == 18);  // of 144
  CHECK(count(mask_of(std::vector<float>(side * side, -1.0F), side, side, {})) == 0);
}

TEST_CASE("masks: refined on a picture they end at its edge") {
  // A map that is too wide to the right; the picture has an edge between columns 6 and 7.
  std::vector<float> map(side * side, 0.0F), picture(side * side, 0.0F);
  add_bump(map, 6, 4, 1, 2.5);
  for (int64_t y = 0; y < side; y++)
    for (int64_t x = 7; x < side; x++) picture[static_cast<size_t>(y * side + x)] = 1;
  const auto plain = mask_of(map, side, side, {});
  const auto refined = mask_of(map, side, side, {.refine = true}, picture);
  CHECK(at(plain, 6, 7) == 1);
  for (int64_t y = 0; y < side; y++)
    for (int64_t x = 7; x < side; x++) CHECK(at(refined, y, x) == 0);
  CHECK(at(refined, 6, 6) == 1);
  CHECK(at(refined, 6, 4) == 1);
}

TEST_CASE("masks: scores of pixels, and what doesn't fit is said") {
  const std::vector<uint8_t> mask{1, 1, 1, 0, 0, 0}, truth{0, 255, 255, 255, 255, 0}, none(6, 0);
  const MaskScores s = compare_masks(mask, truth);
  CHECK(s.iou == doctest::Approx(2.0 / 5));
  CHECK(s.precision == doctest::Approx(2.0 / 3));
  CHECK(s.recall == doctest::Approx(0.5));
  CHECK(std::isnan(compare_masks(none, none).iou));
  CHECK(compare_masks(none, truth).recall == 0);
  const std::vector<float> map(6, 1.0F);
  const auto usage = [](const auto& of) { return error_of(ErrorKind::usage, of); };
  CHECK(usage([&] { mask_of(map, 2, 2, {}); }) == "a map of 6 pixels is not 2 x 2");
  CHECK(usage([&] { mask_of(map, 2, 3, {.refine = true}); }) ==
        "a mask is refined on a picture of as many pixels: it has 0, the map 6");
  CHECK(usage([&] { mask_of(map, 2, 3, {.share = 1.5}); }) ==
        "a mask's share must lie between 0 and 1");
  CHECK(usage([&] { compare_masks(mask, std::vector<uint8_t>(2)); }) ==
        "masks of 6 and 2 pixels can't be compared");
}
