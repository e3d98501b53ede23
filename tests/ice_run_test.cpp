#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "data/geotiff.h"
#include "data/ice_bands.h"
#include "data/ice_scene.h"
#include "data/image.h"
#include "data/label_raster.h"
#include "engine/io/file.h"
#include "tests/support/ice_scene.h"
#include "tests/support/program.h"
#include "tests/support/refusal.h"
#include "tests/support/temp_folder.h"

// The program on made sea-ice scenes in NetCDF.

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

namespace {

Json json_of(const Ended& ended) {
  CHECK_MESSAGE(ended.code == 0, ended.err);
  return Json::parse(ended.out, nullptr, false);
}

void make(const std::string& out, const Words& more = {}) {
  Words words{"synth",  out, "--kind", "sea-ice", "--train", "3",
              "--test", "1", "--size", "120",     "--seed",  "4"};
  words.insert(words.end(), more.begin(), more.end());
  const Ended made = fulmar_program(words);
  REQUIRE_MESSAGE(made.code == 0, made.err);
}

Words train(const std::string& data, const std::string& run, const Words& more = {}) {
  Words words{"train",           data, "--out",   run,    "--widths",     "4,4",
              "--crop",          "32", "--batch", "4",    "--epochs",     "2",
              "--epoch-batches", "6",  "--lr",    "1e-2", "--validation", "0.34"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("sea ice: made, checked, trained on, evaluated and mapped by commands alone") {
  const TempFolder folder;
  const std::string scenes = folder.path("scenes"), run = folder.path("run");
  make(scenes, {"--threads", "1"});
  make(folder.path("again"), {"--threads", "2"});
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(scenes))
    if (entry.path().extension() == ".nc") {
      const std::string name = fs::relative(entry.path(), scenes);
      names.insert(name);
      CHECK(read_file(entry.path(), 1 << 24) == read_file(folder.path("again/" + name), 1 << 24));
    }
  CHECK(names.size() == 5);  // a test's charts lie beside it

  const Json checked = json_of(fulmar_program({"check", scenes, "--json"}));
  CHECK(checked["faults"].empty());
  CHECK(checked["parts"][0]["tasks"].size() == 3);
  CHECK(checked["parts"][0]["tasks"]["SIC"]["pixels"] == 3 * 120 * 120);
  CHECK(checked["parts"][1]["pictures"] == 1);
  CHECK(checked["formats"].begin().key() == "120x120, 24 bands, f32");

  const Ended trained = fulmar_program(train(scenes, run, {"--bands", "sar,18.7,location,month"}));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  const std::string model = run + "/best.safetensors";
  const Json info = json_of(fulmar_program({"info", model, "--json"}));
  CHECK(info["preprocess"]["bands"] == 10);
  CHECK(info["preprocess"]["scale"][0] == 1);  // as the files are
  CHECK(info["preprocess"]["offset"][9] == 0);
  const Json config = Json::parse(read_file(run + "/config.json", 1 << 20));
  const Json classes = Json::parse(config["classes"].get<std::string>());
  CHECK(classes["SIC"].size() == 12);
  CHECK(classes["SOD"].size() == 7);
  CHECK(classes["FLOE"].size() == 8);

  const Json scores = json_of(fulmar_program({"eval", model, scenes, "--json"}));
  CHECK(scores.contains("combined_score"));
  // One scene was tested: its month is all.
  REQUIRE(scores["months"].size() == 1);
  const Json& month = scores["months"].begin().value();
  CHECK(month["combined_score"] == scores["combined_score"]);
  CHECK(month["tasks"]["SOD"]["accuracy"] == scores["tasks"]["SOD"]["accuracy"]);
  std::string scene;
  for (const std::string& name : names)
    if (name.rfind("test/", 0) == 0 && name.find("reference") == std::string::npos)
      scene = scenes + "/" + name;
  const Ended mapped = fulmar_program({"predict", model, scene, "--out", folder.path("maps")});
  REQUIRE_MESSAGE(mapped.code == 0, mapped.err);
  const std::string stem = folder.path("maps/" + fs::path(scene).stem().string());
  for (const char* task : {"SIC", "SOD", "FLOE"}) CHECK(fs::exists(stem + "." + task + ".tif"));
  // A palette of the World Meteorological Organization's colours, whose places are the numbers.
  const data::Image coloured = data::read_image(stem + ".SOD.tif");
  const data::Image places = data::read_labels(stem + ".SOD.tif", data::LabelValues::counted(7));
  REQUIRE(coloured.bands == 3);
  const std::set<std::vector<uint8_t>> known{{150, 200, 255}, {240, 210, 250}, {170, 40, 240},
                                             {155, 210, 0},   {0, 120, 0},     {180, 100, 50},
                                             {153, 153, 153}, {0, 0, 0}};
  for (size_t i = 0; i < places.data.size(); i++) {
    const uint8_t* colour = &coloured.data[3 * i];
    CHECK(known.count({colour[0], colour[1], colour[2]}) == 1);
    CHECK((places.data[i] == 0) == (colour[0] == 150));
  }
  CHECK(data::read_image(stem + ".FLOE.tif").bands == 1);
  CHECK(fulmar_program({"predict", model, scenes + "/test", "--out", folder.path("all")}).code ==
        0);

  // Where the SAR is masked, which is 0 there, no pixel is called, whatever other bands say.
  REQUIRE(reads_netcdf());
  IceFile masked;
  masked.number = [](const std::string& band, int64_t, int64_t column) {
    return band == "nersc_sar_primary" && column < 10 ? 0 : 0.5;
  };
  masked.write(folder.path("20200301T000000_dmi_prep.nc"));
  REQUIRE(fulmar_program({"predict", model, folder.path("20200301T000000_dmi_prep.nc"), "--out",
                          folder.path("masked")})
              .code == 0);
  const data::Image called = data::read_labels(
      folder.path("masked/20200301T000000_dmi_prep.SOD.tif"), data::LabelValues::counted(7));
  REQUIRE(called.width == 80);
  for (size_t i = 0; i < called.data.size(); i++) CHECK((called.data[i] == 255) == (i % 80 < 10));
}

TEST_CASE("sea ice: made as GeoTIFFs it is the same, cells repeated, charts beside it") {
  const TempFolder folder;
  const std::string netcdf = folder.path("netcdf"), tiff = folder.path("tiff");
  make(netcdf);
  make(tiff, {"--format", "geotiff"});
  int scenes = 0;
  for (const auto& entry : fs::directory_iterator(netcdf + "/train")) {
    const std::string stem = tiff + "/train/" + entry.path().stem().string();
    const std::string scene = entry.path();
    CHECK(data::read_image(stem + ".tif").data ==
          data::read_ice_scene(scene, data::usual_ice_bands()).data);
    for (const char* chart : {"SIC", "SOD", "FLOE"})
      CHECK(data::read_image(stem + "_" + chart + ".tif").data ==
            data::read_ice_chart(scene, chart).data);
    const data::Georeference where = data::read_georeference(stem + ".tif");
    const data::Georeference expected = data::ice_georeference(scene);
    CHECK(where.epsg == 4326);
    REQUIRE(where.points.size() == expected.points.size());
    CHECK(where.points.back().column == expected.points.back().column);
    CHECK(where.points.back().y == expected.points.back().y);
    scenes++;
  }
  CHECK(scenes == 3);
  CHECK(fulmar_program({"check", tiff, "--labels", "SIC=*_SIC.tif,SOD=*_SOD.tif,FLOE=*_FLOE.tif"})
            .code == 0);
}

TEST_CASE("sea ice read in parts of the files gives the bits of scenes in memory") {
  const TempFolder folder;
  const std::string scenes = folder.path("scenes");
  make(scenes);
  const Words same{"--bands", "hh,distance,36.5", "--seed", "3", "--rotate", "0.2"};
  // Of the trained model, on all test scenes.
  const auto scores = [&](const std::string& run, Words more) {
    more.insert(more.end(), same.begin(), same.end());
    const Ended trained = fulmar_program(train(scenes, folder.path(run), more));
    REQUIRE_MESSAGE(trained.code == 0, trained.err);
    return json_of(
        fulmar_program({"eval", folder.path(run + "/best.safetensors"), scenes, "--json"}));
  };
  const Json memory = scores("memory", {"--threads", "2"});
  const Json files = scores("files", {"--memory", "0.00001", "--threads", "1"});
  CHECK(memory["loss"] == files["loss"]);
  CHECK(memory["tasks"] == files["tasks"]);
}

TEST_CASE("sea ice: what can't be is refused, and named") {
  const TempFolder folder;
  const std::string scenes = folder.path("scenes");
  make(scenes);
  check_refused({train(scenes, folder.path("run"), {"--bands", "sar,19.7"}),
                 2,
                 {"'19.7' is no band", "18.7"}},
                folder.path());
  check_refused(
      {train(scenes, folder.path("run"), {"--cache", folder.path("cache")}), 2, {"--cache"}},
      folder.path());
  check_refused(
      {{"synth", folder.path("large"), "--kind", "sea-ice", "--size", "50"}, 2, {"100 to 6000"}},
      folder.path());
  check_refused({{"synth", folder.path("land"), "--kind", "sea-ice", "--land", "0.1"},
                 2,
                 {"--land goes with --kind polar-low"}},
                folder.path());
  check_refused({{"synth", folder.path("png"), "--kind", "sea-ice", "--format", "png"},
                 2,
                 {"netcdf or geotiff"}},
                folder.path());
  check_refused({{"synth", folder.path("netcdf"), "--format", "netcdf"}, 2, {"--kind sea-ice"}},
                folder.path());
  const std::string path = [&] {
    for (const auto& entry : fs::directory_iterator(scenes + "/train"))
      return entry.path().string();
    return std::string();
  }();
  std::string bytes = read_file(path, 1 << 24);
  bytes.resize(bytes.size() / 2);
  std::ofstream(path, std::ios::binary) << bytes;
  check_refused({train(scenes, folder.path("run")), 3, {path}}, folder.path());
  const Ended checked = fulmar_program({"check", scenes});
  CHECK(checked.code == 3);
  CHECK(has(checked.out, path));
}
