#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "tests/support/array.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"
#include "tests/support/raster.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiff_writer.h"

// The program on float GeoTIFF.

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;
using Words = std::vector<std::string>;

namespace {

constexpr int scenes = 16;

// dB of two polarisations, brighter where the scene is a positive one, with a wedge of nodata and a
// few NaN.
double decibels(int scene, int64_t row, int64_t column, int64_t band) {
  if (column + 2 * (scene % 5) < row / 3) return -9999;
  const int64_t at = ((scene * 64 + row) * 64 + column) * 2 + band;
  if (splitmix64(static_cast<uint64_t>(at)) % 97 == 0) return std::nan("");
  return -18 - 7 * static_cast<double>(band) + 5 * (scene % 2) + uniform_value(3, at, -3, 3);
}

// The same scenes as one file of two bands in whole/ and as a file a band in split/.
void write_scenes(const TempFolder& folder) {
  for (int scene = 0; scene < scenes; scene++) {
    const std::string name = std::string(scene % 2 ? "pos" : "neg") + "/s" + std::to_string(scene);
    for (const char* kind : {"whole/", "split/"})
      make_folders(std::filesystem::path(folder.path(kind + name)).parent_path().string());
    const auto band = [&](int64_t first) {
      return [scene, first](int64_t row, int64_t column, int64_t b) {
        return decibels(scene, row, column, first + b);
      };
    };
    write_raster(folder.path("whole/" + name + ".tif"), 24, 28, 2, band(0), -9999);
    write_raster(folder.path("split/" + name + "_VV.tif"), 24, 28, 1, band(0), -9999);
    write_raster(folder.path("split/" + name + "_VH.tif"), 24, 28, 1, band(1), -9999);
  }
}

const std::string patterns = "*_VV.tif,*_VH.tif";

Words train(const std::string& data, const std::string& run, const Words& more = {},
            const std::string& crop = "20", const std::string& epochs = "30") {
  Words words{"train",    data,   "--out",   run, "--crop", crop,   "--widths",  "4,8",
              "--epochs", epochs, "--batch", "8", "--lr",   "1e-2", "--augment", "none"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Json json_of(const Ended& ended) {
  CHECK_MESSAGE(ended.code == 0, ended.err);
  return Json::parse(ended.out, nullptr, false);
}

// Lines of JSON without the named entries.
std::vector<Json> lines_of(const Ended& ended, const Words& without) {
  CHECK_MESSAGE(ended.code == 0, ended.err);
  std::vector<Json> lines;
  std::istringstream text(ended.out);
  for (std::string line; std::getline(text, line);) {
    lines.push_back(Json::parse(line));
    for (const std::string& key : without) lines.back().erase(key);
  }
  return lines;
}

}  // namespace

TEST_CASE("training with activations in bf16 converges too") {
  const TempFolder folder;
  write_scenes(folder);
  const std::string whole = folder.path("whole");
  const Ended trained = fulmar_program(train(whole, folder.path("run"), {"--precision", "bf16"}));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  for (const char* precision : {"bf16", "fp32"}) {
    CAPTURE(precision);
    const Json scores = json_of(fulmar_program(
        {"eval", folder.path("run/best.safetensors"), whole, "--json", "--precision", precision}));
    CHECK(scores["accuracy"].get<double>() > 0.9);
  }
}

TEST_CASE("float GeoTIFF is trained on, and split bands are the same scenes") {
  const TempFolder folder;
  write_scenes(folder);
  const std::string whole = folder.path("whole"), split = folder.path("split");
  const Ended trained = fulmar_program(train(whole, folder.path("run")));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  CHECK(has(trained.err, "band 2: mean -2"));
  CHECK_FALSE(has(trained.err, "9999"));
  const std::string model = folder.path("run/best.safetensors");
  const Json record = json_of(fulmar_program({"info", model, "--json"}))["preprocess"];
  CHECK(record["type"] == "f32");
  CHECK(record["bands"] == 2);
  const Json config = Json::parse(read_file(folder.path("run/config.json"), 1 << 20));
  CHECK(config["channels"] == 2);
  CHECK(config["band_mean"][0].get<double>() == doctest::Approx(-15.5).epsilon(0.02));
  CHECK(record["fill"] == config["band_mean"]);
  CHECK(record["scale"][1].get<double>() ==
        doctest::Approx(1 / config["band_deviation"][1].get<double>()));

  // Trained on split bands: the same bits, and the model knows its files.
  const Ended too = fulmar_program(
      train(split, folder.path("too"), {"--bands", patterns, "--cache", folder.path("cache")}));
  REQUIRE_MESSAGE(too.code == 0, too.err);
  const std::string other = folder.path("too/best.safetensors");
  const auto evaluated = [&](const std::string& with, const std::string& on, const Words& more) {
    Words words{"eval", with, on, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    Json json = json_of(fulmar_program(words));
    json.erase("folder");
    json.erase("model");
    return json;
  };
  const Json scores = evaluated(model, whole, {});
  CHECK(scores["samples"] == scenes);
  CHECK(scores["accuracy"].get<double>() > 0.9);
  CHECK(evaluated(model, split, {"--bands", patterns}) == scores);
  CHECK(evaluated(other, split, {}) == scores);
  CHECK(evaluated(other, whole, {"--bands", "none"}) == scores);

  const auto predicted = [&](Words words) {
    words.insert(words.begin(), "predict");
    words.emplace_back("--json");
    return lines_of(fulmar_program(words), {"path", "files"});
  };
  const std::vector<Json> said = predicted({model, whole});
  REQUIRE(said.size() == scenes);
  // An oblique Mercator: Swiss, LV95.
  const std::string swiss = folder.path("swiss.tif");
  write_raster(
      swiss, 24, 28, 2, [](auto...) { return -17.0; }, {}, 2056);
  const Ended elsewhere = fulmar_program({"predict", model, swiss, "--json"});
  CHECK(elsewhere.code == 0);
  CHECK(has(elsewhere.err, "no longitude and latitude for 1 of the pictures, such as " + swiss));
  CHECK(has(elsewhere.err, "2056"));
  CHECK(predicted({model, split, "--bands", patterns}) == said);
  CHECK(predicted({other, split}) == said);
  // Naming all files of a sample names it once.
  const std::string a = split + "/neg/s0_VV.tif", b = split + "/neg/s0_VH.tif";
  CHECK(predicted({other, b, a}) == std::vector<Json>{said[0]});
  const Json files = Json::parse(fulmar_program({"predict", other, b, "--json"}).out);
  CHECK(files["path"] == a);
  CHECK(files["files"] == Json{a, b});

  // Where a picture lies.
  const Json place = said[0]["georeference"];
  CHECK(place["epsg"] == 32633);
  CHECK(place["transform"] == Json{4e5, 10.0, 0.0, 5.3e6, 0.0, -10.0});
  CHECK(place["bounds"] == Json{4e5, 5.3e6 - 240, 4e5 + 280, 5.3e6});
  CHECK(place["seen_bounds"] == Json{400040.0, 5299780.0, 400240.0, 5299980.0});
  CHECK(place["longitude"].get<double>() == doctest::Approx(13.665).epsilon(1e-4));
  CHECK(place["latitude"].get<double>() == doctest::Approx(47.845).epsilon(1e-4));
  const std::string table = folder.path("table.csv");
  CHECK(fulmar_program({"predict", model, whole, "--csv", table}).code == 0);
  CHECK(has(
      read_file(table, 1 << 20),
      ",epsg,west,south,east,north,seen_west,seen_south,seen_east,seen_north,longitude,latitude,"
      "error\n"));
  CHECK(has(
      read_file(table, 1 << 20),
      ",32633,400000.0,5299760.0,400280.0,5300000.0,400040.0,5299780.0,400240.0,5299980.0,13.66"));

  // A run goes on with what was found in the pictures.
  const std::string before = read_file(folder.path("run/config.json"), 1 << 20);
  const Ended again = fulmar_program({"train", "--out", folder.path("run"), "--resume"});
  CHECK_MESSAGE(again.code == 0, again.err);
  CHECK(read_file(folder.path("run/config.json"), 1 << 20) == before);
}

TEST_CASE("16 bits of which little is used are measured, others are 0 to 65535") {
  // Numbers up to `most`, and one bright target in each scene.
  const auto write = [](const std::string& data, uint32_t most) {
    for (int scene = 0; scene < scenes; scene++) {
      Tiff tiff;
      for (uint32_t at = 0; at < 24 * 24; at++) {
        const uint32_t value =
            at == 100 ? 65535
                      : static_cast<uint32_t>(uniform_value(static_cast<uint64_t>(scene) + 1, at, 0,
                                                            scene % 2 ? most : most / 2));
        tiff.data += static_cast<char>(value & 0xFF);
        tiff.data += static_cast<char>(value >> 8);
      }
      for (const auto& [tag, number] : std::map<int, uint32_t>{{256, 24},
                                                               {257, 24},
                                                               {258, 16},
                                                               {259, 1},
                                                               {262, 1},
                                                               {273, 8},
                                                               {277, 1},
                                                               {278, 24},
                                                               {279, 24 * 24 * 2}})
        tiff.set(tag, number);
      const std::string folder = data + (scene % 2 ? "/pos" : "/neg");
      make_folders(folder);
      write_file(folder + "/s" + std::to_string(scene) + ".tif", tiff.bytes());
    }
  };
  const TempFolder folder;
  const auto config_of = [&](const std::string& name, uint32_t most, const std::string& told,
                             const Words& more) {
    const std::string data = folder.path(name), run = folder.path("run-" + name);
    write(data, most);
    const Ended trained = fulmar_program(train(data, run, more, "20", "1"));
    REQUIRE_MESSAGE(trained.code == 0, trained.err);
    CHECK_MESSAGE(has(trained.err, told), trained.err);
    const Ended resumed = fulmar_program({"train", "--out", run, "--resume", "--epochs", "2"});
    CHECK_MESSAGE(resumed.code == 0, resumed.err);
    CHECK((told.empty() || !has(resumed.err, told)));
    return Json::parse(read_file(run + "/config.json", 1 << 20));
  };
  const Json low = config_of("low", 800, "band 1 uses little of its 16 bits: mean 4", {});
  CHECK(low["range"].is_null());
  CHECK(low["band_mean"].size() == 3);  // of one grey one
  CHECK(low["band_deviation"][0].get<double>() > 200);
  const Json full = config_of("full", 60000, "the pictures use their 16 bits: 0 and 65535", {});
  CHECK(full["range"] == Json{0.0, 65535.0});
  CHECK(full["band_mean"].is_null());
  const Json given = config_of("given", 800, "", {"--range", "0,800"});
  CHECK(given["range"] == Json{0.0, 800.0});
}

TEST_CASE("--range chooses what becomes 0 and 1 without looking at the pictures") {
  const TempFolder folder;
  write_scenes(folder);
  const Ended trained =
      fulmar_program(train(folder.path("whole"), folder.path("run"), {"--range", "-30,-5"}));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  const Json record = json_of(
      fulmar_program({"info", folder.path("run/best.safetensors"), "--json"}))["preprocess"];
  CHECK(record["scale"] == Json{0.04, 0.04});
  CHECK(record["offset"] == Json{1.2, 1.2});
  CHECK(record["fill"] == Json{-30.0, -30.0});
}

TEST_CASE("rasters that don't go together are refused by name") {
  const TempFolder folder;
  write_scenes(folder);
  const std::string whole = folder.path("whole"), split = folder.path("split");
  const auto refused = [&](const Words& words, int code, const std::string& said) {
    const Ended ended = fulmar_program(words);
    CAPTURE(ended.err);
    CHECK(ended.code == code);
    CHECK(has(ended.err, said));
  };
  refused(train(whole, folder.path("run"), {"--range", "-30"}), 2, "--range: '-30' is not 2");
  refused(train(whole, folder.path("run"), {"--range", "3,3"}), 2, "--range takes two different");
  refused(train(whole, folder.path("run"), {"--channels", "3"}), 3, "it has 2 bands, not 3");
  refused(train(split, folder.path("run"), {"--bands", "*_VV.tif"}), 2, "two or more");
  refused(train(whole, folder.path("run"), {"--bands", patterns}), 3, "holds no pictures");
  std::filesystem::remove(split + "/pos/s3_VH.tif");
  refused(train(split, folder.path("run"), {"--bands", patterns}), 3,
          "s3_VV.tif: s3_VH.tif is not beside it");
  refused({"check", split, "--bands", patterns}, 3, "put right");
  CHECK_FALSE(std::filesystem::exists(folder.path("run/config.json")));
  write_raster(whole + "/pos/wide.tif", 24, 28, 3,
               [](int64_t, int64_t, int64_t band) { return static_cast<double>(band); });
  refused(train(whole, folder.path("run")), 3, "wide.tif: it has 3 bands, not 2");
  const Json audit = Json::parse(fulmar_program({"check", whole, "--json"}).out);
  CHECK(audit["mixed_bands"] == true);
  CHECK(audit["ok"] == false);
  std::filesystem::remove(whole + "/pos/wide.tif");
  const Json fine = json_of(fulmar_program({"check", whole, "--scenes", "file", "--json"}));
  CHECK(fine["ok"] == true);
  CHECK(fine["parts"][0]["classes"]["neg"]["missing_fraction"].get<double>() > 0.05);
  CHECK(fine["parts"][0]["classes"]["neg"]["black_fraction"] == 0.0);
  // Nothing but what was not measured.
  for (const char* name : {"neg", "pos"}) {
    make_folders(folder.path(std::string("empty/") + name));
    write_raster(
        folder.path(std::string("empty/") + name + "/x.tif"), 24, 24, 1,
        [](int64_t, int64_t, int64_t) { return -9999.0; }, -9999);
  }
  refused(train(folder.path("empty"), folder.path("run")), 3, "no training picture has a valid");
}

TEST_CASE("real Sentinel-1 GeoTIFF is checked, trained on and predicted") {
  const auto data = test_data("s1-geotiff");
  if (!data) {
    MESSAGE("skipped: no s1-geotiff");
    return;
  }
  const TempFolder folder;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*data))
    if (has(entry.path().filename().string(), "_VV.tif")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() == 6);
  // Every second pair is of the other class: this shows that they are read, not that they differ.
  for (size_t i = 0; i < files.size(); i++)
    for (const char* band : {"VV", "VH"}) {
      std::string name = files[i].filename().string();
      name.replace(name.size() - 6, 2, band);
      const std::string to = folder.path(i % 2 ? "data/pos/" : "data/neg/");
      make_folders(to);
      std::filesystem::copy_file(files[i].parent_path() / name, to + name);
    }
  const Ended checked = fulmar_program(
      {"check", folder.path("data"), "--bands", patterns, "--scenes", "file", "--json"});
  const Json audit = json_of(checked);
  CHECK(audit["ok"] == true);
  CHECK(audit["sizes"][0]["bands"] == 2);
  CHECK(audit["sizes"][0]["type"] == "f32");
  const Ended trained = fulmar_program(
      train(folder.path("data"), folder.path("run"), {"--bands", patterns}, "96", "2"));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  const std::string model = folder.path("run/best.safetensors");
  const std::vector<Json> said =
      lines_of(fulmar_program({"predict", model, *data + "/bigearthnet-s1-sample", "--json"}), {});
  REQUIRE(said.size() == 6);
  for (const Json& line : said) {
    CHECK(line["georeference"]["epsg"].get<int>() / 100 == 326);
    CHECK(std::isfinite(line["logits"][0].get<double>()));
  }
  // The other scene has one band.
  const std::string scene = *data + "/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif";
  const Ended other = fulmar_program({"predict", model, "--bands", "none", scene});
  CHECK(other.code == 3);
  CHECK(has(other.err, "it has 1 band, the model takes 2"));
  for (const char* name : {"neg", "pos"}) {
    make_folders(folder.path(std::string("one/") + name));
    std::filesystem::copy_file(scene, folder.path(std::string("one/") + name + "/s.tif"));
  }
  const Ended one =
      fulmar_program(train(folder.path("one"), folder.path("second"), {}, "200", "1"));
  REQUIRE_MESSAGE(one.code == 0, one.err);
  const std::vector<Json> place = lines_of(
      fulmar_program({"predict", folder.path("second/best.safetensors"), scene, "--json"}), {});
  REQUIRE(place.size() == 1);
  CHECK(place[0]["georeference"]["epsg"] == 32631);
}
