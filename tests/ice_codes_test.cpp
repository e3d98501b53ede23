#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/scenes/ice_codes.h"
#include "data/scenes/sea_ice.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::data::scenes;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

using Classes = std::array<int, 3>;

// Of a row of a chart's table of polygons.
Classes classes(const std::string& row) {
  const IceClasses c = classes_of(IceCodes::parse(row));
  return {c.sic, c.sod, c.floe};
}

// Of a polygon with one kind of ice.
Classes one_kind(int total, int stage, int floes) {
  return classes("1;" + std::to_string(total) + ";-9;" + std::to_string(stage) + ";" +
                 std::to_string(floes) + ";-9;-9;-9;-9;-9;-9;-9;-9;-9;I");
}

}  // namespace

TEST_CASE("codes of concentration, stage and floe size become the challenge's classes") {
  for (const int code : {0, 1, 2, 55}) CHECK(one_kind(code, 91, 6) == Classes{0, 0, 0});
  for (int tenths = 1; tenths <= 9; tenths++) CHECK(one_kind(10 * tenths, 91, 6)[0] == tenths);
  for (const int code : {91, 92}) CHECK(one_kind(code, 91, 6)[0] == 10);
  CHECK(one_kind(99, 91, 6)[0] == 255);
  CHECK(one_kind(-9, 91, 6)[0] == 255);
  CHECK(one_kind(46, 91, 6)[0] == 46);  // left as it is: no class, which reading refuses
  const std::vector<std::vector<int>> stages{{80},         {81, 82},     {83, 84, 85},
                                             {87, 88, 89}, {86, 91, 93}, {95, 96, 97}};
  for (size_t k = 0; k < stages.size(); k++)
    for (const int code : stages[k]) CHECK(one_kind(92, code, 6)[1] == static_cast<int>(k));
  for (const int code : {98, 99}) CHECK(one_kind(92, code, 6)[1] == 255);
  CHECK(one_kind(92, 0, 6)[1] == 0);
  const std::vector<std::vector<int>> floes{{0}, {2}, {3}, {4}, {5}, {6, 7}, {9, 10}};
  for (size_t k = 0; k < floes.size(); k++)
    for (const int code : floes[k]) CHECK(one_kind(92, 91, code)[2] == static_cast<int>(k));
  for (const int code : {1, 8, 21, 22}) CHECK(one_kind(92, 91, code) == Classes{10, 4, 255});
}

TEST_CASE("a kind of ice is a polygon's where it makes 65 % of the ice") {
  // 6/9 is enough, 6/10 is not, of stage and floe size each.
  CHECK(classes("1;90;60;91;6;30;95;4;-9;-9;-9;-9;-9;-9;I") == Classes{9, 4, 5});
  CHECK(classes("1;92;60;91;6;40;95;4;-9;-9;-9;-9;-9;-9;I") == Classes{10, 255, 255});
  // Two kinds of one class are one.
  CHECK(classes("1;92;40;87;6;30;95;4;30;88;7;-9;-9;-9;I") == Classes{10, 3, 5});
  CHECK(classes("1;92;20;95;3;40;91;6;40;93;7;-9;-9;-9;I") == Classes{10, 4, 5});
  // Of three of one class the first two are not added to the third: 5/10 + 2/10 is enough, and
  // 4/10 + 2/10 is not, though all of the ice is of that class.
  CHECK(classes("1;92;50;91;6;30;91;6;20;91;6;-9;-9;-9;I") == Classes{10, 4, 5});
  CHECK(classes("1;92;40;91;6;40;91;6;20;91;6;-9;-9;-9;I") == Classes{10, 255, 255});
  // A size without a class takes it from the whole polygon, stages do not.
  CHECK(classes("1;90;80;91;6;10;95;8;-9;-9;-9;-9;-9;-9;I") == Classes{9, 4, 255});
  // Nothing is filled in but the sum: the first kind has all of it.
  CHECK(classes("1;70;-9;81;2;-9;-9;-9;-9;-9;-9;-9;-9;-9;I") == Classes{7, 1, 1});
}

TEST_CASE("water is water in every chart, whatever else a polygon says") {
  CHECK(classes("1;80;-9;91;8;-9;-9;-9;-9;-9;-9;-9;-9;-9;W") == Classes{0, 0, 0});
  CHECK(classes("1;1;-9;99;8;-9;-9;-9;-9;-9;-9;-9;-9;-9;I") == Classes{0, 0, 0});
  CHECK(classes("1;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;L") == Classes{255, 255, 255});
  for (const std::string row : {"1;2", "1;x;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;I"})
    CHECK(has(error_of(ErrorKind::file, [&] { IceCodes::parse(row); }), "polygon codes"));
}

TEST_CASE("made sea ice: the same for a seed, and its classes about as frequent as real ones") {
  const SeaIce once = make_sea_ice(5, 128), again = make_sea_ice(5, 128);
  CHECK(once.bands == again.bands);
  CHECK(once.sic == again.sic);
  CHECK(once.bands != make_sea_ice(6, 128).bands);
  CHECK(once.cells == 5);
  std::array<int64_t, 256> sic{}, sod{}, floe{};
  for (uint64_t seed = 0; seed < 60; seed++) {
    const SeaIce scene = make_sea_ice(seed * 0x9E3779B97F4A7C15u, 200);
    for (size_t i = 0; i < scene.sic.size(); i++) {
      sic[scene.sic[i]]++;
      sod[scene.sod[i]]++;
      floe[scene.floe[i]]++;
      // Masked pixels have no chart, water is water throughout.
      if (scene.bands[0][i] == 0) CHECK_EQ(scene.sic[i], 255);
      if (scene.sic[i] == 0) CHECK_EQ(scene.sod[i] + scene.floe[i], 0);
    }
  }
  const auto share = [](const std::array<int64_t, 256>& counts, size_t k) {
    int64_t all = 0;
    for (size_t i = 0; i < 255; i++) all += counts[i];
    return static_cast<double>(counts[k]) / static_cast<double>(all);
  };
  CHECK(share(sic, 0) == doctest::Approx(0.57).epsilon(0.3));
  CHECK(share(sic, 10) == doctest::Approx(0.224).epsilon(0.5));
  CHECK(share(sod, 4) == doctest::Approx(0.148).epsilon(0.6));
  CHECK(share(floe, 5) == doctest::Approx(0.204).epsilon(0.6));
  CHECK(sic[255] > 0);
  CHECK(sod[255] > sic[255]);
}
