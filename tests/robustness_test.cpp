// A classifier's results by what covers the scenes: fulmar robustness.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "data/encode_png.h"
#include "tests/support/html_page.h"
#include "tests/support/picture_model.h"
#include "tests/support/program.h"
#include "tests/support/raster.h"
#include "tools/run/robustness.h"
#include "tools/run/scene_table.h"

using namespace fulmar;
using namespace fulmar::test;
using namespace fulmar::tools;

namespace {

using Names = std::vector<std::string>;
using Samples = std::vector<int64_t>;

// Labels and calls of two classes, of which the second is the positive one.
Evaluation evaluation_of(const std::vector<int32_t>& labels, const std::vector<int32_t>& called) {
  Evaluation e;
  e.classes = {"neg", "pos"};
  e.positive_class = 1;
  for (size_t i = 0; i < labels.size(); i++) {
    const float p = called[i] == 1 ? 0.9f : 0.1f;
    const std::vector<float> probabilities{1 - p, p};
    e.predictions.add(labels[i], probabilities, 0);
    e.files.push_back(std::to_string(i));
  }
  return e;
}

std::vector<Samples> samples_of(const std::vector<RobustnessBin>& bins) {
  std::vector<Samples> all;
  for (const RobustnessBin& bin : bins) all.push_back(bin.samples);
  return all;
}

// Eight pictures, four of each class, and a table of what covers them. With the threshold 0 all
// are called pos.
struct Files {
  TempFolder folder;
  std::string model = folder.path("model.safetensors"), data = folder.path("data"),
              table = folder.path("table.csv");

  Files() {
    save_model(model, {"neg", "pos"});
    for (uint32_t i = 0; i < 8; i++)
      save_picture(data + (i < 4 ? "/neg/" : "/pos/") + std::to_string(i) + ".bmp", 16, i);
    // neg: 0 0.1 0.2 0.3; pos: 0 0 0.3 0.4
    write_file(table,
               "file,ice,remark,\"depth, m\"\n"
               "0.bmp,0,a,1\nneg/1.bmp,0.1,\"b, c\",2\n2,0.2,d,3\nneg/3,0.3,e,4\r\n"
               "4.bmp,0,f,5\n5,0,g,6\n\n6,0.3,\"h \"\"i\"\"\",7\n7,0.4,j,8\n");
  }

  Names words(const Names& more) const {
    Names words{"robustness", model, data, "--table", table};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

void check_refused(const Names& words, int code, const Names& said) {
  const Ended e = fulmar_program(words);
  CHECK(e.code == code);
  CHECK(e.out.empty());
  for (const std::string& part : said) CHECK_MESSAGE(has(e.err, part), e.err);
}

}  // namespace

TEST_CASE("Wilson's interval: Newcombe's (1998) examples, and the ends") {
  const auto near = [](double value) { return doctest::Approx(value).epsilon(1e-4); };
  const Interval some = wilson(81, 263);  // Newcombe, Statistics in Medicine 17, method 3
  CHECK(some.value == near(0.30798));
  CHECK(some.low == near(0.2553).epsilon(1e-3));
  CHECK(some.high == near(0.3662).epsilon(1e-3));
  CHECK(wilson(0, 20).low == 0);
  CHECK(wilson(0, 20).high == doctest::Approx(0.1611).epsilon(1e-3));
  CHECK(wilson(20, 20).high == 1);
  CHECK(std::isnan(wilson(0, 0).value));
}

TEST_CASE("scores of some pictures are those counted by hand") {
  //                                     0  1  2  3  4  5  6  7
  const Evaluation e = evaluation_of({0, 0, 0, 1, 1, 1, 1, 0}, {0, 1, 0, 1, 1, 0, 1, 1});
  const PartScores all = score_part(e, {0, 1, 2, 3, 4, 5, 6, 7}, 1);
  CHECK(all.pictures == 8);
  CHECK(all.positives == 4);
  CHECK(all.accuracy.value == 5.0 / 8);
  CHECK(all.recall.value == 3.0 / 4);
  CHECK(all.false_alarms.value == 2.0 / 4);
  CHECK(all.f1.value == doctest::Approx(6.0 / 9));
  CHECK(all.f1.low < all.f1.value);
  CHECK(all.f1.high > all.f1.value);
  CHECK(all.f1.value == doctest::Approx(measure(e).scores.f1));
  CHECK(score_part(e, {0, 1, 2, 3, 4, 5, 6, 7}, 1).f1.low == all.f1.low);  // the seed decides
  const PartScores negatives = score_part(e, {0, 1, 2}, 1);
  CHECK(negatives.false_alarms.value == doctest::Approx(1.0 / 3));
  CHECK(std::isnan(negatives.recall.value));
  CHECK(std::isnan(negatives.f1.value));

  Evaluation three;
  three.classes = {"a", "b", "c"};
  three.predictions = model::Predictions(3);
  const std::vector<float> a{1, 0, 0}, b{0, 1, 0};
  three.predictions.add(0, a, 0);
  three.predictions.add(0, b, 0);
  three.predictions.add(1, b, 0);
  const PartScores macro = score_part(three, {0, 1, 2}, 1);
  CHECK(macro.f1.value == doctest::Approx(2.0 / 3));  // of a and of b; there is no c
  CHECK(std::isnan(macro.recall.value));
}

TEST_CASE("the bootstrap's interval of F1 holds its value as often as it should") {
  // Recall 0.8 and as many false alarms as misses: F1 is 0.8. Of n positives and n negatives its
  // deviation is near sqrt(0.8 0.2 / n) / 1.4.
  std::vector<int32_t> labels, called;
  Samples samples;
  for (int i = 0; i < 400; i++) {
    labels.push_back(i % 2);
    called.push_back(i % 10 < 2 ? 1 - i % 2 : i % 2);
    samples.push_back(i);
  }
  const Interval f1 = score_part(evaluation_of(labels, called), samples, 3).f1;
  CHECK(f1.value == doctest::Approx(0.8));
  CHECK((f1.high - f1.low) / 2 == doctest::Approx(0.0415).epsilon(0.1));
}

TEST_CASE("bins of equal counts; equal values stay together") {
  CHECK(samples_of(quantile_bins({5, 1, 4, 2, 3, 0}, 3)) ==
        std::vector<Samples>{{1, 5}, {3, 4}, {0, 2}});
  const auto many_zeros = quantile_bins({0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 3);
  CHECK(samples_of(many_zeros) == std::vector<Samples>{{0, 1, 2, 3, 4, 5}, {6, 7}, {8, 9}});
  CHECK(many_zeros[1].low == 1);
  CHECK(many_zeros[1].high == 2);
  CHECK(many_zeros[1].mean == 1.5);
  CHECK(quantile_bins({7, 7, 7}, 5).size() == 1);
  CHECK(quantile_bins({1, 2}, 5).size() == 2);
  CHECK(quantile_bins({}, 5).empty());
}

TEST_CASE("the share without data: black, nodata, NaN") {
  data::Image image = float_raster(2, 2, 2, [](int64_t row, int64_t column, int64_t band) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return row == 0 || (column == 0 && band == 0) ? nan : 0.0;
  });
  CHECK(nodata_share(image) == 0.5);  // a pixel with one band is data
  data::Image bytes;
  static_cast<data::ImageHeader&>(bytes) = {1, 4, 3, DType::u8};
  bytes.data = {0, 0, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9};
  CHECK(nodata_share(bytes) == 0.25);
  bytes.nodata = 9;
  CHECK(nodata_share(bytes) == 0.5);
}

TEST_CASE("robustness --json: metrics by a table's column, known by hand") {
  const Files files;
  const Ended e = fulmar_program(
      files.words({"--columns", "ice,depth, m", "--json", "--threshold", "0", "--bins", "3"}));
  CHECK(e.code == 2);  // a comma within a name separates two
  const Ended run = fulmar_program(
      files.words({"--columns", "ice", "--json", "--threshold", "0", "--bins", "3"}));
  REQUIRE_MESSAGE(run.code == 0, run.err);
  const auto json = nlohmann::ordered_json::parse(run.out);
  CHECK(json["generated"] == false);
  REQUIRE(json["properties"].size() == 1);
  const auto& bins = json["properties"][0]["bins"];
  REQUIRE(bins.size() == 3);
  // 0: one neg, two pos; 0.1 and 0.2: neg; 0.3 and 0.4: one neg, two pos.
  const std::vector<std::vector<double>> by_hand{{0, 0, 3, 2}, {0.1, 0.2, 2, 0}, {0.3, 0.4, 3, 2}};
  for (size_t i = 0; i < 3; i++) {
    CAPTURE(i);
    const double n = by_hand[i][2], positives = by_hand[i][3];
    CHECK(bins[i]["low"] == by_hand[i][0]);
    CHECK(bins[i]["high"] == by_hand[i][1]);
    CHECK(bins[i]["pictures"] == n);
    CHECK(bins[i]["positives"] == positives);
    CHECK(bins[i]["accuracy"]["value"].get<double>() == doctest::Approx(positives / n));
    CHECK(bins[i]["false_alarms"]["value"] == 1);
    CHECK(bins[i]["f1"]["value"].is_null() == (positives == 0));
    if (positives == 0) continue;
    CHECK(bins[i]["recall"]["value"] == 1);
    CHECK(bins[i]["f1"]["value"].get<double>() == doctest::Approx(2 * positives / (n + positives)));
  }
  CHECK(json["whole"]["accuracy"]["value"] == 0.5);
}

TEST_CASE("robustness for people, and its page") {
  const Files files;
  const std::string page = files.folder.path("page.html");
  const Ended e = fulmar_program(files.words({"--report-file", page}));
  REQUIRE_MESSAGE(e.code == 0, e.err);
  CHECK(e.out.rfind("8 pictures of " + files.data + "\n", 0) == 0);
  CHECK(has(e.out, "nodata: share"));
  CHECK(has(e.out, "ice: column 'ice'"));
  CHECK(has(e.err, "report: " + page));
  check_page(page);
  const auto numbers = numbers_in(contents(page));
  CHECK(numbers["properties"].size() == 2);
  CHECK(count_of(contents(page), "<svg ") == 4);
  CHECK(count_of(contents(page), "<img ") >= 4);
}

TEST_CASE("robustness of several classes: macro F1, on the page too") {
  const TempFolder folder;
  const std::string model = folder.path("m.safetensors"), data = folder.path("data"),
                    page = folder.path("page.html");
  save_model(model, {"a", "b", "c"});
  uint32_t seed = 0;
  for (const char* name : {"a", "b", "c"})
    for (int i = 0; i < 3; i++)
      save_picture(data + "/" + name + "/" + std::to_string(i) + ".bmp", 16, seed++);
  const Ended e = fulmar_program({"robustness", model, data, "--report-file", page, "--json"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  CHECK(has(e.err, "no table of the scenes"));
  const auto json = nlohmann::ordered_json::parse(e.out);
  const auto own =
      nlohmann::ordered_json::parse(fulmar_program({"eval", model, data, "--json"}).out);
  CHECK(json["whole"]["macro_f1"]["value"].get<double>() ==
        doctest::Approx(own["macro_f1"].get<double>()));
  CHECK(json["whole"]["accuracy"]["value"] == own["accuracy"]);
  CHECK(json["properties"].size() == 1);  // nodata
  CHECK_FALSE(json["whole"].contains("recall"));
  check_page(page);
  CHECK(has(contents(page), "Macro F1 by nodata"));
}

TEST_CASE("robustness: of made scenes the shares that index.csv tells, and their twins apart") {
  const Files files;
  const std::string scenes = files.folder.path("scenes");
  REQUIRE(fulmar_program({"synth", scenes, "--train", "0", "--test", "8", "--size", "64", "--twins",
                          "--no-masks", "--threads", "1"})
              .code == 0);
  const Ended e = fulmar_program({"robustness", files.model, scenes, "--bins", "100", "--json"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const auto json = nlohmann::ordered_json::parse(e.out);
  CHECK(json["generated"] == true);
  CHECK(json["pictures"].get<std::string>().rfind("Made scenes: ", 0) == 0);
  CHECK(json["table"] == scenes + "/index.csv");
  const CsvTable index = read_csv_table(scenes + "/index.csv");
  for (const auto& property : json["properties"]) {
    const std::string name = property["name"];
    CAPTURE(name);
    double mean = 0, expected = 0;  // over the pictures
    for (const auto& bin : property["bins"])
      mean += bin["mean"].get<double>() * bin["pictures"].get<double>() / 8;
    const auto column = index.find(name == "hidden" ? "visible" : name);
    CHECK(column.has_value() == (name != "nodata"));
    if (!column) continue;
    for (size_t row = 0; row < index.rows.size(); row++)
      if (index.rows[row][0] == "test")
        expected +=
            (name == "hidden" ? 1 - index.number(row, *column) : index.number(row, *column)) / 8;
    CHECK(mean == doctest::Approx(expected));
  }
  CHECK(json["properties"].size() == 4);
  const Ended text = fulmar_program({"robustness", files.model, scenes});
  CHECK(text.out.rfind("Made scenes: the numbers here describe the generator", 0) == 0);
}

TEST_CASE("robustness: errors name the picture, the cell, the column") {
  const Files files;
  check_refused(files.words({"--columns", "wind"}), 2,
                {"'wind'", "nodata", "ice", "depth, m", files.table});
  check_refused({"robustness", files.model, files.data, "--columns", "ice"}, 2, {"--table"});
  check_refused(files.words({"--columns", "remark"}), 3,
                {files.table + ":2:", "'a'", "'remark'", "no number"});
  check_refused(files.words({"--bins", "0"}), 2, {"--bins"});
  const std::string whole = contents(files.table);
  write_file(files.table, whole.substr(0, whole.rfind("7,0.4")));
  check_refused(files.words({}), 3, {files.table, "no row", "pos/7.bmp"});
  write_file(files.table, whole + "7,0.5,k,9\n");
  check_refused(files.words({}), 3, {"lines 10 and 11", "pos/7.bmp"});
  write_file(files.table, "file,wind\n0,5\n");
  check_refused(files.words({}), 2, {files.table, "cut, ice, land", "nodata, wind"});
  write_file(files.table, whole + "8,0.5\n");
  check_refused(files.words({}), 3, {files.table + ":11:", "2 cells", "4 columns"});
  write_file(files.table, whole + "8,\"0.5");
  check_refused(files.words({}), 3, {files.table + ":11:", "quote"});
  write_file(files.table, "file,ice,ice\n0,1,2\n");
  check_refused(files.words({}), 3, {"two columns are called 'ice'"});
  write_file(files.table, "");
  check_refused(files.words({}), 3, {"without rows"});
}
