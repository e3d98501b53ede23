#include "engine/picture/preprocess.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kernels/error.h"

using namespace fulmar;

TEST_CASE("a preprocessing record survives being written and read") {
  Preprocess p = Preprocess::of_pictures(1536, 1024, 3, DType::u16);
  p.resize = Interpolation::bilinear;
  p.pad = true;
  p.offset = {0, 0.25, -1e-3};
  p.fill = {1, 2, 3};
  p.nodata = -9999;
  p.standardize = true;
  const Preprocess q = Preprocess::from_json(p.to_json());
  CHECK(q.to_json() == p.to_json());
  CHECK(q.type == DType::u16);
  CHECK(q.scale[2] == 1.0 / 65535);
  CHECK(q.offset == p.offset);
  CHECK(q.nodata == -9999);
  CHECK(Preprocess::of_pictures(0, 88, 1).scale[0] == 1.0 / 255);
}

TEST_CASE("a nodata value that is no number is not written, and reads as none") {
  Preprocess p = Preprocess::of_pictures(64, 64, 1);
  for (const double nodata : {std::nan(""), -HUGE_VAL, 1e300}) {
    CAPTURE(nodata);
    p.nodata = nodata;
    CHECK(!p.warp_options().has_nodata);
    CHECK(!Preprocess::from_json(p.to_json()).nodata);
  }
  p.nodata = 0;
  CHECK(p.warp_options().has_nodata);
}

TEST_CASE("a wrong record is not written") {
  Preprocess p = Preprocess::of_pictures(64, 64, 1);
  p.scale[0] = 1e39;  // beyond f32
  CHECK_THROWS_WITH_AS(p.to_json(), doctest::Contains("finite numbers of f32"), Error);
  p.scale[0] = NAN;
  CHECK_THROWS_WITH_AS(p.to_json(), doctest::Contains("finite numbers of f32"), Error);
}

TEST_CASE("a wrong record is refused, naming the entry") {
  const std::string good = Preprocess::of_pictures(64, 64, 1).to_json();
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string json = good;
    json.replace(json.find(from), from.size(), to);
    return json;
  };
  struct Row {
    std::string json;
    const char* message;
  };
  for (const Row& row : {
           Row{"[]", "not a JSON object"},
           Row{with("\"u8\"", "\"i32\""), "'type' must be u8, u16 or f32"},
           Row{with("\"u8\"", "8"), "'type' has the wrong type"},
           Row{with("\"type\"", "\"tpye\""), "no 'type'"},
           Row{with("\"crop\":64", "\"crop\":65"), "crop is larger than the size"},
           Row{with("\"crop\":64", "\"crop\":0"), "crop must be 1"},
           Row{with("\"bands\":1", "\"bands\":2"), "a value for each band"},
           Row{with("\"fill\":[0.0]", "\"fill\":[1e999]"), "JSON"},
           Row{with("nearest", "cubic"), "nearest or bilinear"},
       }) {
    CAPTURE(row.json);
    CHECK_THROWS_WITH_AS(Preprocess::from_json(row.json), doctest::Contains(row.message), Error);
  }
  CHECK_THROWS_AS(Preprocess::of_pictures(0, 88, 1, DType::f32), Error);
}
