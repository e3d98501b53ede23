// What models of pixels show: explanations on masks, maps of whole scenes, scores by picture.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "data/encode_png.h"
#include "data/geotiff.h"
#include "data/ice_bands.h"
#include "engine/io/file.h"
#include "model/explain/receptive_field.h"
#include "model/unet.h"
#include "tests/support/html_page.h"
#include "tests/support/npy.h"
#include "tests/support/pixel_scenes.h"
#include "tools/run/class_colours.h"

using namespace fulmar;
using namespace fulmar::test;
using namespace fulmar::test::pixels;
using Json = nlohmann::ordered_json;

namespace {

// One model for all cases.
struct Trained {
  TempFolder folder;
  std::string model = folder.path("run/best.safetensors"), scene = folder.path("data/s1_sar.tif"),
              out = folder.path("out");

  Trained() {
    write_scenes(folder, 3);
    const Ended e =
        fulmar_program(train(folder, "run", {"--validation", "0.34", "--scenes", "file"}));
    REQUIRE_MESSAGE(e.code == 0, e.err);
  }
  Json explain(const Words& more) const {
    Words words{"explain", model, scene, "--out", out, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended e = fulmar_program(words);
    REQUIRE_MESSAGE(e.code == 0, e.err);
    return Json::parse(e.out.substr(0, e.out.find('\n')));
  }
};

const Trained& trained() {
  static const Trained one;
  return one;
}

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("explain: the logits of a class's pixels, by every method") {
  const Trained& t = trained();
  const Json line =
      t.explain({"--target", "kind:thick", "--method", "all", "--masks", "8", "--steps", "4"});
  CHECK(line["task"] == "kind");
  CHECK(line["target"] == "thick");
  CHECK(line["region"]["what"] == "predicted");
  const int64_t pixels = line["region"]["pixels"];
  CHECK(pixels > 50);
  const double share = line["shares"]["thick"];
  CHECK(share > 0.05);
  CHECK(line["maps"].size() == 15);
  double score = NAN;
  for (const Json& map : line["maps"]) {
    const std::string name = map["method"];
    CAPTURE(name);
    const Npy npy(t.out + "/s1_sar." + name + ".npy");
    CHECK(npy.shape[0] == height);
    CHECK(npy.shape[1] == width);
    CHECK(map["largest"].get<double>() != 0);
    if (name == "saliency") score = map["score"];
    if (map.contains("layer")) CHECK(map["layer"] == "up1.relu2");
  }
  CHECK(std::isfinite(score));
  check_page(t.out + "/report.html");
  CHECK(has(contents(t.out + "/report.html"), "called so"));

  // Mean logit of the region times its pixels is the score.
  const Json labelled = t.explain(
      {"--target", "kind:thick", "--region", "labelled", "--method", "saliency", "--crop", "40"});
  CHECK(labelled["region"]["what"] == "labelled");
  int64_t known = 0;
  for (int64_t row = 6; row < 46; row++)
    for (int64_t column = 2; column < 42; column++)
      known += pixels::labelled(row, column) && kind(1, row, column) == 5;
  CHECK(labelled["region"]["pixels"] == known);
}

TEST_CASE("explain: the score is the sum over the mask, and gradients come from around it alone") {
  const Trained& t = trained();
  // A mask of a block of 5 x 5 pixels, and of one beside it.
  data::Image mask;
  mask.height = height, mask.width = width, mask.bands = 1;
  const auto write = [&](const std::string& name, int64_t from, int64_t to) {
    mask.data.assign(static_cast<size_t>(height * width), 0);
    for (int64_t row = 22; row < 27; row++)
      for (int64_t column = from; column < to; column++)
        mask.data[static_cast<size_t>(row * width + column)] = 255;
    write_file(t.folder.path(name), data::encode_png(mask));
    return t.folder.path(name);
  };
  const auto of = [&](const std::string& file) {
    return t.explain({"--target", "kind:thin", "--region", file, "--method", "saliency"});
  };
  const Json one = of(write("one.png", 18, 23));
  CHECK(one["region"]["pixels"] == 25);
  const Npy npy(t.out + "/s1_sar.saliency.npy");
  const int64_t sees = model::explain::widest_field(model::unet({2, {{"any", 2}}, {4, 8}, false}));
  CHECK(sees > 10);
  double near = 0, far = 0;
  for (int64_t row = 0; row < height; row++)
    for (int64_t column = 0; column < width; column++)
      for (int64_t band = 0; band < 2; band++)
        (std::max(std::abs(row - 24), std::abs(column - 20)) <= sees / 2 + 6 ? near : far) +=
            std::abs(static_cast<double>(npy.at(row, column, band)));
  CHECK(near > 0);
  CHECK(far == 0);
  const double other = of(write("other.png", 23, 28))["maps"][0]["score"],
               both = of(write("both.png", 18, 28))["maps"][0]["score"];
  CHECK(both == doctest::Approx(one["maps"][0]["score"].get<double>() + other).epsilon(1e-5));

  const auto refused = [&](const Words& more) {
    Words words{"explain", t.model, t.scene, "--out", t.out};
    words.insert(words.end(), more.begin(), more.end());
    const Ended e = fulmar_program(words);
    CHECK(e.code != 0);
    return e.err;
  };
  CHECK(has(refused({"--target", "thick"}), "say of which task, as kind:water"));
  CHECK(has(refused({"--target", "kind:slush"}), "the classes of kind are water, thin, thick"));
  mask.data.assign(mask.data.size(), 0);
  write_file(t.folder.path("empty.png"), data::encode_png(mask));
  CHECK(
      has(refused({"--target", "any", "--region", t.folder.path("empty.png")}), "no pixel is in"));
}

TEST_CASE("explain: the effective receptive field is within the possible one, and drawn") {
  const Trained& t = trained();
  const Ended e = fulmar_program({"explain", t.model, t.folder.path("data/s1_sar.tif"),
                                  t.folder.path("data/s2_sar.tif"), "--out", t.out, "--method",
                                  "saliency", "--receptive-field", "--json"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  size_t fields = 0;
  std::istringstream lines(e.out);
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line);
    if (!json.contains("receptive_field")) continue;
    const Json& field = json["receptive_field"];
    fields++;
    CHECK(field["pictures"] == 2);
    const int64_t half = field["side_of_half"], most = field["side_of_90_percent"];
    CHECK(half >= 1);
    CHECK(half <= most);
    CHECK(field["effective_side"].get<double>() <= 32);
    for (const Json& file : field["files"]) CHECK(std::filesystem::exists(file.get<std::string>()));
  }
  CHECK(fields == 2);
  CHECK(data::read_image(t.out + "/receptive-field.kind.png").width == 32);
  check_page(t.out + "/report.html");

  // By hand: a cross whose arms weigh 1, and 4 in the middle.
  std::vector<float> map(49, 0.0F);
  map[24] = 4;
  for (const size_t at : {10, 23, 25, 38}) map[at] = 1;
  CHECK(model::explain::side_of_share(map, 7, 7, 3, 3, 0.5) == 1);
  CHECK(model::explain::side_of_share(map, 7, 7, 3, 3, 0.7) == 3);
  CHECK(model::explain::side_of_share(map, 7, 7, 3, 3, 1) == 5);
  CHECK(model::explain::effective_side(map) == doctest::Approx(std::sqrt(5)));
  CHECK(model::explain::side_of_share(std::vector<float>(49, 0.0F), 7, 7, 3, 3, 0.5) == 0);
}

TEST_CASE("predict: probabilities add up, areas stand in a table, and a scene beside its maps") {
  const Trained& t = trained();
  const std::string csv = t.folder.path("areas.csv");
  const Json said = json_of(fulmar_program(
      {"predict", t.model, t.scene, "--out", t.out, "--csv", csv, "--probabilities", "--json"}));
  const std::string file = said["tasks"]["kind"]["probabilities"];
  const data::Image p = data::read_image(file);
  CHECK(p.bands == 3);
  CHECK(data::read_georeference(file).transform == data::read_georeference(t.scene).transform);
  const data::Image map = data::read_image(t.out + "/s1_sar.kind.tif");
  const auto* values = reinterpret_cast<const float*>(p.data.data());
  const int numbers[] = {0, 2, 5};
  for (int64_t i = 0; i < height * width; i++) {
    const float* all = values + 3 * i;
    if (map.data[static_cast<size_t>(i)] == 255) {
      CHECK(std::isnan(all[0]));
      continue;
    }
    CHECK(all[0] + all[1] + all[2] == doctest::Approx(1).epsilon(1e-5));
    CHECK(numbers[std::max_element(all, all + 3) - all] == map.data[static_cast<size_t>(i)]);
  }
  const std::vector<std::string> lines = lines_of(csv);
  REQUIRE(lines.size() == 6);
  CHECK(lines[0] == "path,task,class,pixels,share,km2");
  CHECK(has(lines[3], ",kind,thick,"));
  double area = 0;
  for (const auto& [name, km2] : said["tasks"]["kind"]["km2"].items()) area += km2.get<double>();
  int64_t called = 0;
  for (const uint8_t number : map.data) called += number != 255;
  CHECK(area == doctest::Approx(static_cast<double>(called) * 1e-4).epsilon(0.01));
  const data::Image beside = data::read_image(t.out + "/s1_sar.maps.png");
  CHECK(beside.height == height);
  CHECK(beside.width == 3 * width + 16);
}

TEST_CASE("predict: parts blend without a seam, and --memory bounds them") {
  const Trained& t = trained();
  // A scene of several parts, each of which sees less than the network may.
  const std::string scene = t.folder.path("wide.tif");
  write_raster(scene, 96, 90, 2, [](int64_t row, int64_t column, int64_t band) {
    return -20 + 3.0 * kind(0, row, column) * (band == 0 ? 1 : 0.4);
  });
  const auto probabilities = [&](const Words& more) {
    Words words{"predict", t.model, scene, "--out", t.out, "--probabilities", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    json_of(fulmar_program(words));
    return data::read_image(t.out + "/wide.kind.probabilities.tif");
  };
  const data::Image whole = probabilities({"--tile", "128"}),
                    parts = probabilities({"--tile", "48", "--halo", "8"}),
                    exact = probabilities({"--tile", "80", "--halo", "32"});
  const auto apart = [&](const data::Image& other) {
    double most = 0;
    for (int64_t i = 0; i < whole.pixels() * 3; i++)
      most = std::max(
          most,
          std::abs(static_cast<double>(reinterpret_cast<const float*>(whole.data.data())[i] -
                                       reinterpret_cast<const float*>(other.data.data())[i])));
    return most;
  };
  CHECK(apart(exact) < 1e-5);
  CHECK(apart(parts) > 0);
  CHECK(apart(parts) < 0.5);
  const data::Image bounded = probabilities({"--memory", "4000000"});
  CHECK(apart(bounded) < 0.5);
  const Ended little =
      fulmar_program({"predict", t.model, scene, "--out", t.out, "--memory", "20000"});
  CHECK(little.code == 2);
  CHECK(has(little.err, "--memory: parts of"));
  const Ended both = fulmar_program(
      {"predict", t.model, scene, "--out", t.out, "--memory", "4000000", "--tile", "48"});
  CHECK(both.code == 2);
  CHECK(has(both.err, "leave out --tile"));
}

TEST_CASE("eval: scores by picture, and maps beside charts in the run's report") {
  const Trained& t = trained();
  const std::string csv = t.folder.path("scores.csv"), page = t.folder.path("page.html");
  const Json all = json_of(fulmar_program({"eval", t.model, t.folder.path("data"), "--csv", csv,
                                           "--report", "--report-file", page, "--json"}));
  REQUIRE(all["scenes"].size() == 3);
  int64_t pixels = 0;
  for (const Json& scene : all["scenes"]) pixels += scene["tasks"]["kind"]["pixels"].get<int64_t>();
  CHECK(all["tasks"]["kind"]["pixels"] == pixels);
  const std::vector<std::string> lines = lines_of(csv);
  REQUIRE(lines.size() == 7);
  CHECK(lines[0] == "picture,month,task,pixels,accuracy,macro_f1,weighted_f1,miou,r2,rmse");
  CHECK(has(lines[1], "s0_sar.tif,,kind,"));
  CHECK_FALSE(all.contains("months"));  // no name tells one
  for (const std::string& path : {page, t.folder.path("run/report.html")}) {
    check_page(path);
    const std::string text = contents(path);
    CHECK(has(text, "Maps beside charts"));
    CHECK(has(text, "chart, map and differences of s0_sar.tif"));
    CHECK(numbers_in(text)["pixels"][0]["tasks"]["kind"]["pixels"] == pixels);
    CHECK_FALSE(numbers_in(text)["pixels"][0].contains("figures"));
  }
  // Made anew from its files.
  const Json again = json_of(fulmar_program({"report", t.folder.path("run"), "--json"}));
  CHECK(again["pixels"][0]["outdated"] == false);
}

TEST_CASE("a task of numbers beside one of classes: trained, mapped, explained") {
  const TempFolder folder;
  write_scenes(folder, 2);
  const std::string model = folder.path("run/best.safetensors"),
                    scene = folder.path("data/s1_sar.tif"), out = folder.path("out");
  const Ended e = fulmar_program(train(
      folder, "run",
      {"--loss", "kind=mse,any=tversky", "--tversky", "0.3,0.7", "--units", "kind=dm", "--schedule",
       "restarts", "--restart-epochs", "4", "--epochs", "16", "--accumulate", "2"}));
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const Json heads = json_of(fulmar_program({"info", model, "--json"}))["heads"];
  CHECK(heads[0]["settings"]["unit"] == "dm");
  CHECK(heads[1]["settings"]["alpha"] == 0.3);
  const Json scores = json_of(fulmar_program({"eval", model, folder.path("data"), "--json"}));
  CHECK(scores["tasks"]["kind"]["r2"].get<double>() > 0.5);
  CHECK(scores["tasks"]["any"]["accuracy"].get<double>() > 0.8);
  const Json said =
      json_of(fulmar_program({"predict", model, scene, "--out", out, "--probabilities", "--json"}));
  const data::Image values = data::read_image(said["tasks"]["kind"]["values"]),
                    map = data::read_image(said["tasks"]["kind"]["file"]);
  CHECK(values.bands == 1);
  for (int64_t i = 0; i < height * width; i++) {
    const float value = reinterpret_cast<const float*>(values.data.data())[i];
    const int number = map.data[static_cast<size_t>(i)];
    CHECK(number == (std::isnan(value) ? 255 : value < 1 ? 0 : value < 3.5 ? 2 : 5));
  }
  const Ended explained = fulmar_program({"explain", model, scene, "--out", out, "--target",
                                          "kind:thick", "--region", "all", "--json"});
  REQUIRE_MESSAGE(explained.code == 0, explained.err);
  CHECK(Json::parse(explained.out)["maps"][0]["largest"].get<double>() != 0);
  const auto refused = [&](const Words& more) {
    const Ended ended = fulmar_program(train(folder, "no", more));
    CHECK(ended.code == 2);
    return ended.err;
  };
  CHECK(has(refused({"--loss", "size=mse"}), "'size=mse' names no task; write kind=..."));
  CHECK(has(refused({"--loss", "hinge"}), "the loss of pixels is 'hinge'"));
  CHECK(has(refused({"--units", "any=m"}), "the task 'any' has classes"));
  CHECK(has(refused({"--dropout", "0.1"}), "--dropout goes with deeplab"));
  CHECK(has(refused({"--tversky", "0.3,0.7"}), "--tversky goes with --loss tversky"));
  CHECK(has(refused({"--focal-gamma", "3"}), "--focal-gamma goes with --loss focal"));
  CHECK(has(refused({"--loss", "kind=dice,kind=mse"}), "'kind' stands there twice"));
}

TEST_CASE("colours: the WMO's where classes are a chart's, a list's elsewhere") {
  const tools::PixelClasses sic{"SIC", {0, 1, 4, 8, 10}, {"0", "10", "40", "80", "100"}};
  CHECK(tools::class_colour(sic, 0) == tools::Colour{150, 200, 255});
  CHECK(tools::class_colour(sic, 1) == tools::Colour{140, 255, 160});
  CHECK(tools::class_colour(sic, 2) == tools::Colour{255, 255, 0});
  CHECK(tools::class_colour(sic, 3) == tools::Colour{255, 125, 7});
  CHECK(tools::class_colour(sic, 4) == tools::Colour{255, 0, 0});
  // As scenes in NetCDF have them, with a class that no label has.
  const tools::PixelClasses all{
      "SIC", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, data::ice_chart_classes("SIC")};
  CHECK(tools::class_colour(all, 10) == tools::Colour{255, 0, 0});
  CHECK(tools::class_colour(all, 11) == tools::Colour{153, 153, 153});
  const tools::PixelClasses sod{"SOD", {0, 1, 5}, {"water", "new", "old"}};
  CHECK(tools::class_colour(sod, 1) == tools::Colour{240, 210, 250});
  CHECK(tools::class_colour(sod, 2) == tools::Colour{180, 100, 50});
  const tools::PixelClasses stages{"SOD", {0, 1, 2, 3, 4, 5, 6}, data::ice_chart_classes("SOD")};
  CHECK(tools::class_colour(stages, 6) == tools::Colour{153, 153, 153});
  const tools::PixelClasses other{"SIC", {0, 40}, {"a", "b"}};
  CHECK(tools::class_colour(other, 1) == tools::Colour{230, 159, 0});
}
