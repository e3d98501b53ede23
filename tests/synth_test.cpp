#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "data/geotiff.h"
#include "data/image.h"
#include "engine/io/file.h"
#include "tests/support/built.h"
#include "tests/support/paths.h"
#include "tests/support/refusal.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::test;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> order(const std::string& out, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{"synth",  out,  "--train",      "6",    "--test", "4",
                                     "--size", "64", "--resolution", "2000", "--seed", "3"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) names.insert(fs::relative(entry.path(), folder));
  return {names.begin(), names.end()};
}

// contents_of() with paths from the folder on.
std::map<std::string, std::string> relative_contents(const std::string& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& [path, bytes] : contents_of(folder))
    contents[fs::relative(path, folder)] = bytes;
  return contents;
}

nlohmann::json json_of(const std::string& path) {
  return nlohmann::json::parse(read_file(path, 1 << 20));
}

}  // namespace

TEST_CASE("synth: pictures, masks, parameters and an index, the same with any number of threads") {
  const TempFolder folder;
  const std::string out = folder.path("out");
  const Ended e = fulmar_program(order(out, {"--twins", "--threads", "1"}));
  CHECK(e.code == 0);
  CHECK(has(e.out, out));
  CHECK(files_in(out + "/train/pos").size() == 3);
  CHECK(files_in(out + "/train/neg").size() == 3);
  const std::vector<std::string> positives = files_in(out + "/test/pos");
  CHECK(positives.size() == 2);
  CHECK(files_in(out + "/twins/neg") == positives);
  CHECK(files_in(out + "/masks").size() == 12);
  CHECK(files_in(out + "/parameters").size() == 12);
  for (const std::string& name : positives) {
    CHECK(data::read_image(out + "/test/pos/" + name).width == 64);
    const data::Image mask = data::read_image(out + "/masks/test/pos/" + name);
    CHECK(std::count(mask.data.begin(), mask.data.end(), 255) > 0);
    const data::Image none = data::read_image(out + "/masks/twins/neg/" + name);
    CHECK(std::count(none.data.begin(), none.data.end(), 255) == 0);
    const std::string record = fs::path(name).stem().string() + ".json";
    auto of_scene = json_of(out + "/parameters/test/pos/" + record);
    CHECK(of_scene["vortex"]["amplitude"] == 1);
    const auto row = static_cast<int64_t>(of_scene["vortex"]["row"].get<double>());
    const auto column = static_cast<int64_t>(of_scene["vortex"]["column"].get<double>());
    int64_t seen = 0;  // about the eye
    for (int64_t r = row - 2; r <= row + 2; r++)
      for (int64_t c = column - 2; c <= column + 2; c++)
        seen += mask.data[static_cast<size_t>(r * 64 + c)] == 255;
    CHECK(seen > 0);
    const auto of_twin = json_of(out + "/parameters/twins/neg/" + record);
    CHECK(of_twin["vortex"]["amplitude"] == 0);
    of_scene["vortex"]["amplitude"] = 0;
    CHECK(of_scene == of_twin);
  }
  const std::string index = read_file(out + "/index.csv", 1 << 20);
  CHECK(std::count(index.begin(), index.end(), '\n') == 1 + 12);

  const std::string other = folder.path("other");
  CHECK(fulmar_program(order(other, {"--twins", "--threads", "3"})).code == 0);
  CHECK(relative_contents(out) == relative_contents(other));
  CHECK(fulmar_program({"check", out}).code == 0);
}

TEST_CASE("synth --format geotiff: two bands in dB, georeferenced, with nodata and NaN") {
  const TempFolder folder;
  const std::string one = folder.path("one"), split = folder.path("split");
  CHECK(fulmar_program(order(one, {"--format", "geotiff", "--swath-edge", "0.4"})).code == 0);
  CHECK(fulmar_program(order(split, {"--format", "geotiff", "--swath-edge", "0.4", "--band-files"}))
            .code == 0);
  int64_t nodata = 0, nan = 0;
  for (const std::string& name : files_in(one + "/train")) {
    const std::string path = one + "/train/" + name;
    const data::Image image = data::read_image(path);
    REQUIRE(image.bands == 2);
    REQUIRE(image.type == DType::f32);
    const data::Georeference where = data::read_georeference(path);
    CHECK(where.epsg == 3995);
    REQUIRE(where.transform);
    CHECK((*where.transform)[1] == 2000);
    CHECK((*where.transform)[5] == -2000);
    std::vector<float> values(static_cast<size_t>(64 * 64 * 2));
    std::memcpy(values.data(), image.data.data(), image.data.size());
    const std::string stem = split + "/train/" + name.substr(0, name.size() - 4);
    for (int64_t band = 0; band < 2; band++) {
      const std::string file = stem + (band == 0 ? "_VV.tif" : "_VH.tif");
      const data::Image alone = data::read_image(file);
      REQUIRE(alone.bands == 1);
      CHECK(data::read_georeference(file).transform == where.transform);
      for (size_t i = 0; i < 64 * 64; i++) {
        float value = 0;
        std::memcpy(&value, &alone.data[4 * i], 4);
        const float same = values[2 * i + static_cast<size_t>(band)];
        CHECK((value == same || (std::isnan(value) && std::isnan(same))));
      }
    }
    // As the file has them: the reader makes nodata NaN.
    nan += std::count_if(values.begin(), values.end(), [](float v) { return std::isnan(v); });
    for (float v : values)
      if (!std::isnan(v)) CHECK((v > -60 && v < 20));
    nodata += has(read_file(path, 1 << 24), "-9999");
  }
  CHECK(nan > 0);
  CHECK(nodata == 6);
}

TEST_CASE("synth goes on where it was stopped, and only there") {
  const TempFolder folder;
  const std::string out = folder.path("out"), whole = folder.path("whole");
  CHECK(fulmar_program(order(whole)).code == 0);
  HowToRun full;
  full.environment = {"LD_PRELOAD=" + built::no_space, "FULMAR_FULL_DISK=" + out,
                      "FULMAR_FULL_DISK_ROOM=40000"};
  const Ended stopped = fulmar_program(order(out), full);
  CHECK(stopped.code == 3);
  CHECK(has(stopped.err, "No space left on device"));
  CHECK(has(stopped.err, out));
  const size_t before = files_in(out).size();
  CHECK((before > 1 && before < files_in(whole).size()));
  const auto written = [&] {
    std::map<std::string, fs::file_time_type> times;
    for (const std::string& name : files_in(out + "/parameters"))
      times[name] = fs::last_write_time(out + "/parameters/" + name);
    return times;
  };
  const auto kept = written();
  REQUIRE(!kept.empty());
  // One whose parameters were written: those come last.
  const fs::path taken = out + "/" + kept.begin()->first;
  REQUIRE(fs::remove(fs::path(taken).replace_extension(".png")));
  const Ended again = fulmar_program(order(out));
  CHECK(again.code == 0);
  CHECK(has(again.err, "going on"));
  const auto now = written();
  size_t same = 0;
  for (const auto& [name, time] : kept) same += now.at(name) == time;
  CHECK(same + 1 == kept.size());  // that of the picture which was taken away is made again
  CHECK(relative_contents(out) == relative_contents(whole));
  check_refused({order(out, {"--land", "0.2"}), 3, {out, "other options", "another folder"}},
                folder.path());
}

TEST_CASE("synth refuses what can't be") {
  const TempFolder folder;
  fs::create_directories(folder.path("full"));
  write_file(folder.path("full/mine.txt"), "x");
  write_file(folder.path("file"), "x");
  const std::string& root = folder.path();
  const std::string fresh = folder.path("fresh");
  check_refused({order(folder.path("full")), 3, {"full", "holds something else"}}, root);
  check_refused({order(folder.path("file")), 3, {"file"}}, root);
  check_refused({order(fresh, {"--band-files"}), 2, {"--format geotiff"}}, root);
  check_refused({order(fresh, {"--land", "0.5"}), 2, {"--land"}}, root);
  check_refused({{"synth", fresh, "--size", "4096", "--resolution", "2000"}, 2, {"3000 km"}}, root);
  check_refused({{"synth", fresh, "--resolution", "30"}, 2, {"--resolution"}}, root);
  check_refused({{"synth", "", "--train", "1"}, 2, {"OUT"}}, root);
  check_refused({{"synth", fresh, "--train", "0", "--test", "0"}, 2, {"--train"}}, root);
}

TEST_CASE("a model trained on scenes in GeoTIFF takes them as one file and as a file a band") {
  const TempFolder folder;
  const std::string one = folder.path("one"), split = folder.path("split"),
                    run = folder.path("run");
  CHECK(fulmar_program(order(one, {"--format", "geotiff"})).code == 0);
  CHECK(fulmar_program(order(split, {"--format", "geotiff", "--band-files"})).code == 0);
  const Ended trained = fulmar_program({"train", one, "--out", run, "--crop", "48", "--widths",
                                        "4,8", "--batch", "4", "--epochs", "2"});
  CHECK_MESSAGE(trained.code == 0, trained.err);
  const std::string model = run + "/best.safetensors";
  const auto loss = [&](const std::string& scenes, const std::vector<std::string>& more) {
    std::vector<std::string> words{"eval", model, scenes + "/test", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended e = fulmar_program(words);
    CHECK_MESSAGE(e.code == 0, e.err);
    const auto scores = nlohmann::json::parse(e.out);
    CHECK(scores["samples"] == 4);
    return scores["loss"].get<double>();
  };
  const double whole = loss(one, {});
  CHECK(std::isfinite(whole));
  CHECK(loss(split, {"--bands", "*_VV.tif,*_VH.tif"}) == whole);

  const auto real = test_data("s1-geotiff/bigearthnet-s1-sample/BigEarthNet-S1-Example");
  if (!real) {
    MESSAGE("skipped: real Sentinel-1 scenes; no s1-geotiff");
    return;
  }
  const Ended predicted =
      fulmar_program({"predict", model, *real, "--bands", "*_VV.tif,*_VH.tif", "--json"});
  CHECK_MESSAGE(predicted.code == 0, predicted.err);
  CHECK(std::count(predicted.out.begin(), predicted.out.end(), '\n') == 6);
  CHECK(has(predicted.out, "\"epsg\""));
}
