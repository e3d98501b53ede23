// The same scenes at several resolutions: fulmar resolution.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "data/box_means.h"
#include "data/encode_png.h"
#include "data/geotiff.h"
#include "tests/support/html_page.h"
#include "tests/support/program.h"
#include "tests/support/raster.h"
#include "tests/support/refusal.h"
#include "tests/support/training.h"
#include "tools/run/results.h"

using namespace fulmar;
using namespace fulmar::test;

namespace fs = std::filesystem;

namespace {

template <class T>
data::Image picture(int64_t height, int64_t width, int64_t bands, const std::vector<T>& values) {
  data::Image image;
  static_cast<data::ImageHeader&>(image) = {height, width, bands, dtype_of<T>()};
  image.data.resize(values.size() * sizeof(T));
  std::memcpy(image.data.data(), values.data(), image.data.size());
  return image;
}

template <class T>
std::vector<T> values_of(const data::Image& image) {
  std::vector<T> values(image.data.size() / sizeof(T));
  std::memcpy(values.data(), image.data.data(), image.data.size());
  return values;
}

// Pictures of noise, train/ and test/, of 32 pixels a side.
struct Scenes {
  TempFolder folder;
  std::string data = folder.path("data"), out = folder.path("out");

  Scenes() {
    uint32_t seed = 0;
    for (const char* part : {"train", "test"})
      for (const char* name : {"neg", "pos"})
        for (int i = 0; i < 8; i++)
          save_picture(data + "/" + part + "/" + name + "/" + std::to_string(100 + i) + ".bmp", 32,
                       seed++);
  }

  std::vector<std::string> words(const std::string& to, const std::vector<std::string>& more = {},
                                 const std::string& seeds = "1,2") const {
    std::vector<std::string> words{"resolution", data,  "--out",   to,    "--resolution-m", "500",
                                   "--factors",  "1,2", "--seeds", seeds, "--epochs",       "1",
                                   "--widths",   "4",   "--batch", "8",   "--crop",         "16"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

// The files of all runs, but for what a lock leaves.
std::map<std::string, std::string> runs_of(const std::string& out) {
  std::map<std::string, std::string> all;
  for (const auto& [path, bytes] : contents_of(out))
    if (has(path, "/seed-")) all[path] = bytes;
  return all;
}

nlohmann::ordered_json without_places(nlohmann::ordered_json json) {
  json.erase("pictures");
  for (auto& level : json["levels"]) {
    level.erase("pictures");
    level.erase("seconds");
    for (auto& run : level["runs"]) {
      run.erase("run");
      run.erase("seconds");
    }
  }
  return json;
}

}  // namespace

TEST_CASE("reduced pictures: exact means over boxes, halves up, the rest left out") {
  const data::Image bytes =
      picture<uint8_t>(2, 5, 1, {0, 1, 10, 20, 255, 1, 0, 30, 41, 255});  // a column is left
  CHECK(values_of<uint8_t>(reduced(bytes, 2)) == std::vector<uint8_t>{1, 25});
  CHECK(reduced(bytes, 2).width == 2);
  CHECK(reduced(bytes, 1).data == bytes.data);
  const data::Image bands = picture<uint16_t>(2, 2, 2, {1, 1000, 2, 2000, 3, 3000, 4, 65535});
  CHECK(values_of<uint16_t>(reduced(bands, 2)) == std::vector<uint16_t>{3, 17884});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const data::Image floats = picture<float>(2, 4, 1, {-1.5f, nan, nan, nan, nan, 2, nan, nan});
  const std::vector<float> means = values_of<float>(reduced(floats, 2));
  CHECK(means[0] == 0.25f);
  CHECK(std::isnan(means[1]));
  CHECK(has(error_of(ErrorKind::usage, [&] { reduced(floats, 3); }), "2 x 4 pixels"));
}

TEST_CASE("reduced pictures: nodata counts for nothing, and no mean reads as nodata") {
  data::Image bytes = picture<uint8_t>(2, 4, 1, {7, 7, 6, 8, 7, 9, 6, 8});
  bytes.nodata = 7;
  CHECK(values_of<uint8_t>(reduced(bytes, 2)) == std::vector<uint8_t>{9, 8});
  CHECK(reduced(bytes, 2).nodata == 7);
  bytes.data = {7, 7, 0, 0, 7, 7, 0, 1};
  CHECK(values_of<uint8_t>(reduced(bytes, 2)) == std::vector<uint8_t>{7, 0});
}

TEST_CASE("mean and sample standard deviation") {
  CHECK(tools::spread_of({1, 2, 3, 6}).mean == 3);
  CHECK(tools::spread_of({1, 2, 3, 6}).deviation == doctest::Approx(std::sqrt(14.0 / 3)));
  CHECK(tools::spread_of({5}).mean == 5);
  CHECK(std::isnan(tools::spread_of({5}).deviation));
}

TEST_CASE("resolution: stopped, repeated and longer, it does nothing twice") {
  const Scenes scenes;
  const std::string whole = scenes.folder.path("whole");
  const Ended undisturbed = fulmar_program(scenes.words(whole, {"--json"}));
  REQUIRE_MESSAGE(undisturbed.code == 0, undisturbed.err);

  HowToRun how;
  how.interrupt_at = "training 3 of 4";
  const Ended stopped = fulmar_program(scenes.words(scenes.out, {"--json"}), how);
  CHECK(stopped.code == 130);
  CHECK(stopped.out.empty());
  const auto before = runs_of(scenes.out);
  CHECK(fs::exists(scenes.out + "/500m/seed-1/best.safetensors"));
  CHECK(fs::exists(scenes.out + "/1000m/seed-1/report.html"));
  const Ended resumed = fulmar_program(scenes.words(scenes.out, {"--json"}));
  REQUIRE_MESSAGE(resumed.code == 0, resumed.err);
  CHECK_FALSE(has(resumed.err, "training 1 of 4"));
  CHECK(has(resumed.err, "training 3 of 4"));
  const auto after = runs_of(scenes.out);
  for (const auto& file : before)
    if (has(file.first, "/seed-1/")) {
      CAPTURE(file.first);
      CHECK(after.at(file.first) == file.second);
    }
  const auto json = nlohmann::ordered_json::parse(resumed.out);
  CHECK(without_places(json) == without_places(nlohmann::ordered_json::parse(undisturbed.out)));

  const Ended again = fulmar_program(scenes.words(scenes.out, {"--json"}));
  CHECK(again.out == resumed.out);
  CHECK_FALSE(has(again.err, "training"));
  CHECK(runs_of(scenes.out) == after);

  // Another seed is trained with, and the means hold it.
  const Ended more = fulmar_program(scenes.words(scenes.out, {"--json"}, "1,2,5"));
  REQUIRE_MESSAGE(more.code == 0, more.err);
  CHECK(has(more.err, "training 5 of 6: 500 m, seed 5"));
  CHECK(nlohmann::ordered_json::parse(more.out)["levels"][1]["runs"].size() == 3);
  const auto last = runs_of(scenes.out);
  for (const auto& file : after) CHECK(last.at(file.first) == file.second);
}

TEST_CASE("resolution: numbers are those of each run's evaluation, copies lie for others to use") {
  const Scenes scenes;
  const Ended e = fulmar_program(scenes.words(scenes.out, {"--json"}));
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const auto json = nlohmann::ordered_json::parse(e.out);
  REQUIRE(json["levels"].size() == 2);
  CHECK(json["generated"] == false);
  for (size_t l = 0; l < 2; l++) {
    const auto& level = json["levels"][l];
    const std::string pictures = l == 0 ? scenes.data : scenes.out + "/1000m/pictures";
    CHECK(level["metres"] == (l == 0 ? 500 : 1000));
    CHECK(level["crop"] == (l == 0 ? 16 : 8));
    CHECK(level["pictures"] == pictures);
    std::vector<double> accuracies;
    for (const auto& run : level["runs"]) {
      const std::string model = run["run"].get<std::string>() + "/best.safetensors";
      const auto own =
          nlohmann::ordered_json::parse(fulmar_program({"eval", model, pictures, "--json"}).out);
      CHECK(run["accuracy"] == own["accuracy"]);
      CHECK(run["f1"] == own["f1"]);
      CHECK(run["roc_auc"] == own["roc_auc"]);
      accuracies.push_back(run["accuracy"]);
    }
    CHECK(level["accuracy"]["mean"] == tools::spread_of(accuracies).mean);
    CHECK(level["accuracy"]["sd"] == tools::spread_of(accuracies).deviation);
  }
  const std::string name = "/train/pos/103";
  CHECK(data::read_image(scenes.out + "/1000m/pictures" + name + ".png").data ==
        data::reduced(data::read_image(scenes.data + name + ".bmp"), 2).data);
  const std::string page = scenes.out + "/report.html";
  check_page(page);
  check_page(scenes.out + "/1000m/seed-2/report.html");
  CHECK(numbers_in(contents(page)) == json);
  CHECK(has(contents(page), " ± "));
  CHECK(count_of(contents(page), "<svg ") == 3);
  CHECK(count_of(contents(page), "<img ") >= 4);
  CHECK(count_of(contents(scenes.out + "/1000m/seed-2/report.html"), "<h2>Evaluation on") == 1);
}

TEST_CASE("resolution of made scenes: their metres are known, and reports say what they describe") {
  const TempFolder folder;
  const std::string scenes = folder.path("scenes"), out = folder.path("out");
  REQUIRE(fulmar_program({"synth", scenes, "--train", "8", "--test", "4", "--size", "128",
                          "--resolution", "500", "--no-masks", "--threads", "1"})
              .code == 0);
  const Ended e = fulmar_program({"resolution", scenes, "--out", out, "--factors", "4", "--seeds",
                                  "1", "--epochs", "1", "--batch", "4", "--widths", "4"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  CHECK(e.out.rfind("Made scenes: the numbers here describe the generator", 0) == 0);
  CHECK(has(e.out, "\n2000 m        21 "));  // 84 of 128 pixels, a quarter of them
  const std::string page = contents(out + "/report.html");
  const size_t line = page.find("Made scenes: "), title = page.find("<h1>");
  CHECK(line < title);
  CHECK(json_in(out + "/2000m/pictures/synth.json")["resolution_m"] == 2000);
  const Ended copies = fulmar_program({"robustness", out + "/2000m/seed-1/best.safetensors",
                                       out + "/2000m/pictures", "--table", scenes + "/index.csv"});
  REQUIRE_MESSAGE(copies.code == 0, copies.err);
  CHECK(copies.out.rfind("Made scenes: ", 0) == 0);
  CHECK(has(copies.out, "ice: "));
}

TEST_CASE("resolution: what makes no sense is refused before anything is written") {
  const Scenes scenes;
  const auto refused = [&](const std::vector<std::string>& words, int code,
                           const std::vector<std::string>& said) {
    const Ended e = fulmar_program(words);
    CHECK(e.code == code);
    CHECK(e.out.empty());
    for (const std::string& part : said) CHECK_MESSAGE(has(e.err, part), e.err);
  };
  const std::vector<std::string> plain{"resolution", scenes.data, "--out", scenes.out};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), plain.begin(), plain.end());
    return more;
  };
  refused(plain, 2, {"--resolution-m", scenes.data});
  refused(with({"--resolution-m", "500", "--resume"}), 2, {"resolution has no option --resume"});
  refused(with({"--resolution-m", "500", "--size", "32"}), 2, {"resolution has no option --size"});
  refused(with({"--resolution-m", "500", "--seed", "3"}), 2, {"--seeds"});
  refused(with({"--resolution-m", "500", "--seeds", "1,1"}), 2, {"twice"});
  refused(with({"--resolution-m", "500", "--crop", "18"}), 2, {"--crop 18", "multiple of 4"});
  refused(with({"--resolution-m", "500", "--factors", "64"}), 2, {"32", "64"});
  refused(with({"--resolution-m", "500", "--warmup", "0.1"}), 2, {"--warmup"});
  CHECK_FALSE(fs::exists(scenes.out));
  fs::create_directories(scenes.out);
  write_file(scenes.out + "/thesis.txt", "years of work");
  refused(scenes.words(scenes.out), 3, {scenes.out, "holds something else"});
  fs::remove(scenes.out + "/thesis.txt");
  REQUIRE(fulmar_program(scenes.words(scenes.out, {}, "1")).code == 0);
  refused(scenes.words(scenes.out, {"--lr", "0.01"}), 2, {"--lr", "0.001", "0.01", "--out"});
  fs::remove_all(scenes.data + "/test");
  refused(scenes.words(scenes.out), 2, {"no test part", "--test"});
}

TEST_CASE("resolution: a share held out by --test, and fewer blocks where crops are small") {
  const Scenes scenes;
  fs::remove_all(scenes.data + "/test");
  const Ended e =
      fulmar_program({"resolution", scenes.data, "--out",    scenes.out, "--resolution-m", "10",
                      "--factors",  "2,4",       "--seeds",  "7",        "--epochs",       "1",
                      "--batch",    "4",         "--test",   "0.25",     "--crop",         "32",
                      "--augment",  "none",      "--widths", "4,4,8"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  CHECK(has(e.out, "of widths 4: as many blocks as leave the coarsest crop, 8 pixels a side"));
  CHECK(has(e.out, "20 m"));
  CHECK(fs::exists(scenes.out + "/20m/seed-7/evaluation-test.json"));
  CHECK_FALSE(has(e.out, "±"));
}

TEST_CASE("resolution: rasters in a file for each band keep their places on the ground") {
  const TempFolder folder;
  const std::string data = folder.path("data"), out = folder.path("out");
  for (const char* part : {"train", "test"})
    for (int label = 0; label < 2; label++)
      for (int i = 0; i < 4; i++)
        for (const char* band : {"VV", "VH"}) {
          const std::string within = data + "/" + part + (label == 1 ? "/pos" : "/neg");
          fs::create_directories(within);
          write_raster(within + "/s" + std::to_string(i) + "_" + band + ".tif", 32, 32, 1,
                       [&](int64_t row, int64_t column, int64_t) {
                         if (column < 3) return std::nan("");
                         return static_cast<double>((row * 7 + column * 5 + i) % 11 * (label + 1));
                       });
        }
  const Ended e = fulmar_program({"resolution", data, "--out", out, "--resolution-m", "10",
                                  "--factors", "1,2", "--seeds", "1", "--epochs", "1", "--widths",
                                  "4", "--batch", "4", "--bands", "*_VV.tif,*_VH.tif"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  CHECK(has(e.out, "20 m"));
  check_page(out + "/report.html");
  const std::string copy = out + "/20m/pictures/test/pos/s1_VH.tif";
  const data::Georeference before = data::read_georeference(data + "/test/pos/s1_VH.tif"),
                           after = data::read_georeference(copy);
  CHECK(after.epsg == before.epsg);
  CHECK(*after.transform == std::array<double, 6>{4e5, 20, 0, 5.3e6, 0, -20});
  const data::Image small = data::read_image(copy);
  CHECK(small.width == 16);
  const auto values = values_of<float>(small);
  CHECK(std::isnan(values[0]));
  CHECK(values[1] == 2.0f * ((1 * 0 + 15 + 1) % 11 + (7 + 15 + 1) % 11) / 2);  // column 3 alone
}
