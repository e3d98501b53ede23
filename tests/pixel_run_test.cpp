#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/geotiff.h"
#include "engine/io/file.h"
#include "tests/support/paths.h"
#include "tests/support/pixel_scenes.h"
#include "tests/support/program.h"
#include "tests/support/raster.h"
#include "tests/support/temp_folder.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/pixel_evaluation.h"
#include "tools/run/stems.h"

// The program on labels by pixel: train, eval, predict, check.

using namespace fulmar;
using namespace fulmar::test;
using namespace fulmar::test::pixels;
using Json = nlohmann::ordered_json;

namespace {

data::Image image_of(const std::string& path) { return data::read_image(path); }

}  // namespace

TEST_CASE(
    "a U-Net of two tasks trains, is evaluated, and predicts maps that lie where scenes lie") {
  const TempFolder folder;
  write_scenes(folder, 4);
  const Ended trained =
      fulmar_program(train(folder, "run", {"--validation", "0.25", "--scenes", "file", "--json"}));
  const Json run = json_of(trained);
  CHECK(run["best"]["val_kind_accuracy"].get<double>() > 0.9);
  CHECK(run["best"]["val_any_miou"].get<double>() > 0.8);
  CHECK(std::filesystem::exists(folder.path("run/report.html")));
  const std::string model = folder.path("run/best.safetensors");

  // Where the labels are is known from the training.
  const Json scores = json_of(fulmar_program({"eval", model, folder.path("data"), "--json"}));
  const Json& of_kind = scores["tasks"]["kind"];
  int64_t known = 0;
  for (int64_t i = 0; i < height * width; i++) known += labelled(i / width, i % width);
  CHECK(of_kind["pixels"] == 4 * known);
  CHECK(of_kind["accuracy"].get<double>() > 0.9);
  CHECK(of_kind["classes"]["thick"]["iou"].get<double>() > 0.8);
  const Ended tables = fulmar_program({"eval", model, folder.path("data")});
  CHECK_MESSAGE(tables.code == 0, tables.err);
  CHECK(has(tables.out, "4 pictures of "));
  CHECK(has(tables.out, "kind: accuracy 0.9"));

  const std::string scene = folder.path("data/s3_sar.tif"), out = folder.path("maps");
  const Json said = json_of(fulmar_program({"predict", model, scene, "--out", out, "--json"}));
  const Json& shares = said["tasks"]["kind"]["share"];
  CHECK(shares["water"].get<double>() + shares["thin"].get<double>() +
            shares["thick"].get<double>() ==
        doctest::Approx(1));
  const std::string map = out + "/s3_sar.kind.tif";
  CHECK(said["tasks"]["kind"]["file"] == map);
  const data::Image called = image_of(map);
  CHECK(called.height == height);
  CHECK(called.width == width);
  CHECK(called.nodata == 255);
  const data::Georeference here = data::read_georeference(map),
                           there = data::read_georeference(scene);
  CHECK(here.transform == there.transform);
  CHECK(here.epsg == there.epsg);
  int64_t right = 0, measured = 0;
  for (int64_t i = 0; i < height * width; i++) {
    const int64_t row = i / width, column = i % width;
    const int number = called.data[static_cast<size_t>(i)];
    CHECK((number == 255) == (column < row / 20));
    measured += number != 255;
    right += number == kind(3, row, column);
  }
  CHECK(static_cast<double>(right) > 0.9 * static_cast<double>(measured));
  CHECK(image_of(out + "/s3_sar.any.png").height == height);
  // In one piece the same, but for pixels at which two classes are nearly alike.
  const Json whole = json_of(fulmar_program(
      {"predict", model, scene, "--out", folder.path("whole"), "--tile", "64", "--json"}));
  const data::Image untiled = image_of(folder.path("whole/s3_sar.kind.tif"));
  int64_t other = 0;
  for (size_t i = 0; i < called.data.size(); i++) other += called.data[i] != untiled.data[i];
  CHECK(other <= 0.05 * height * width);

  const Ended nowhere = fulmar_program({"predict", model, scene});
  CHECK(nowhere.code == 2);
  CHECK(has(nowhere.err, "say with --out where the maps go"));
}

TEST_CASE("patches: the same bits for any threads, and a resumed run gives those of a whole one") {
  const TempFolder folder;
  write_scenes(folder, 2);
  const auto with = [&](const std::string& run, Words more) {
    more.insert(more.end(), {"--epochs", "3", "--epoch-batches", "4"});
    return train(folder, run, more);
  };
  const Ended one = fulmar_program(with("one", {"--threads", "1", "--loader-threads", "1"}));
  REQUIRE_MESSAGE(one.code == 0, one.err);
  const Ended two = fulmar_program(with("two", {"--threads", "2", "--loader-threads", "3"}));
  REQUIRE_MESSAGE(two.code == 0, two.err);
  HowToRun interrupted;
  interrupted.interrupt_at = "epoch 1 ";
  const Ended stopped =
      fulmar_program(with("three", {"--checkpoint-minutes", "0.00001"}), interrupted);
  REQUIRE_MESSAGE(stopped.code == 130, stopped.err);
  const Ended resumed = fulmar_program({"train", "--out", folder.path("three"), "--resume"});
  REQUIRE_MESSAGE(resumed.code == 0, resumed.err);
  const std::string weights = read_file(folder.path("one/best.safetensors"), 1 << 24);
  CHECK(weights == read_file(folder.path("two/best.safetensors"), 1 << 24));
  CHECK(weights == read_file(folder.path("three/best.safetensors"), 1 << 24));
}

TEST_CASE("a pyramid on folders of images and labels, whose classes nobody named") {
  const TempFolder folder;
  write_scenes(folder, 2);
  for (const char* part : {"train", "val"}) {
    make_folders(folder.path(std::string("sets/") + part + "/images"));
    make_folders(folder.path(std::string("sets/") + part + "/labels"));
  }
  for (int scene = 0; scene < 2; scene++) {
    const std::string part = folder.path(scene == 0 ? "sets/train" : "sets/val");
    const std::string from = folder.path("data/s" + std::to_string(scene));
    std::filesystem::rename(from + "_sar.tif", part + "/images/a.tif");
    std::filesystem::rename(from + "_kind.tif", part + "/labels/a.tif");
  }
  const Json run = json_of(fulmar_program({"train",           folder.path("sets"),
                                           "--out",           folder.path("run"),
                                           "--network",       "deeplab",
                                           "--stages",        "1",
                                           "--rates",         "1,2",
                                           "--pool",          "2",
                                           "--decoder-width", "4",
                                           "--crop",          "32",
                                           "--batch",         "2",
                                           "--epochs",        "1",
                                           "--epoch-batches", "2",
                                           "--json"}));
  CHECK(run["best"].contains("val_miou"));
  const Json config = Json::parse(read_file(folder.path("run/config.json"), 1 << 20));
  CHECK(config["labels"] == "folders");
  CHECK(config["classes"] == R"({"labels":{"0":"0","2":"2","5":"5"}})");
  CHECK(config["network"] == "deeplab");
  const Json info =
      json_of(fulmar_program({"info", folder.path("run/best.safetensors"), "--json"}));
  CHECK(info["heads"][0]["settings"]["numbers"] == Json::parse("[0,2,5]"));
  const Ended whole =
      fulmar_program({"eval", folder.path("run/best.safetensors"), folder.path("sets")});
  CHECK(whole.code == 3);
  CHECK(has(whole.err, "there is no test part; give the folder of one of its parts"));
  const Json part = json_of(fulmar_program(
      {"eval", folder.path("run/best.safetensors"), folder.path("sets/val"), "--json"}));
  CHECK(part["tasks"]["labels"]["pixels"].get<int64_t>() > 1000);
}

TEST_CASE("with a halo of the receptive field, tiles give what the whole scene gives") {
  const TempFolder folder;
  write_scenes(folder, 2);
  const Ended trained = fulmar_program(train(folder, "run", {"--epochs", "1"}));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  Words pyramid = train(folder, "pyramid",
                        {"--epochs", "1", "--network", "deeplab", "--stages", "1", "--rates", "1,2",
                         "--pool", "2", "--decoder-width", "4"});
  const auto widths = std::find(pyramid.begin(), pyramid.end(), "--widths");
  pyramid.erase(widths, widths + 2);
  const Ended other = fulmar_program(pyramid);
  REQUIRE_MESSAGE(other.code == 0, other.err);
  const std::string scene = folder.path("scene.tif");
  constexpr int64_t rows = 131, columns = 118;
  write_raster(scene, rows, columns, 2, [](int64_t row, int64_t column, int64_t band) {
    return -20 + 3.0 * kind(1, row, column) * (band == 0 ? 1 : 0.4) +
           uniform_value(8, (row * columns + column) * 2 + band, -1.5, 1.5);
  });
  const auto map = [&](const std::string& out, const Words& more, const std::string& run = "run") {
    Words words{"predict", folder.path(run + "/best.safetensors"), scene, "--out",
                folder.path(out)};
    words.insert(words.end(), more.begin(), more.end());
    const Ended predicted = fulmar_program(words);
    REQUIRE_MESSAGE(predicted.code == 0, predicted.err);
    return image_of(folder.path(out + "/scene.kind.tif")).data;
  };
  const std::vector<uint8_t> whole = map("whole", {"--tile", "256"});
  // Two levels reach 2 + 4 pixels down, 8 below and as far up again, and one for each doubling.
  CHECK(map("tiled", {"--tile", "80", "--halo", "28"}) == whole);
  CHECK(map("narrow", {"--tile", "16", "--halo", "0"}) != whole);
  // Features 8 pixels apart, though the scene's extents are no multiple of that.
  CHECK(map("pieces", {"--tile", "120", "--halo", "48"}, "pyramid") ==
        map("one", {"--tile", "256"}, "pyramid"));
  // Scenes smaller than a tile, and than the network's coarsest stride.
  write_raster(folder.path("tiny.tif"), 3, 5, 2, [](auto...) { return -20.0; });
  const Ended tiny = fulmar_program({"predict", folder.path("run/best.safetensors"),
                                     folder.path("tiny.tif"), "--out", folder.path("tiny")});
  CHECK_MESSAGE(tiny.code == 0, tiny.err);
  CHECK(image_of(folder.path("tiny/tiny.kind.tif")).data.size() == 15);
  const Ended small =
      fulmar_program({"predict", folder.path("run/best.safetensors"), scene, "--out",
                      folder.path("none"), "--tile", "32", "--halo", "16"});
  CHECK(small.code == 2);
  CHECK(has(small.err, "has no room for a halo of 16"));
}

TEST_CASE("maps: none takes another's place, fill is 255, the default tile fits coarse strides") {
  const TempFolder folder;
  write_scenes(folder, 1);
  // 8 bits, 7 in the first rows.
  const auto write = [&](const std::string& path, std::optional<double> nodata) {
    data::Image image;
    static_cast<data::ImageHeader&>(image) = {height, width, 1, DType::u8};
    for (int64_t i = 0; i < height * width; i++)
      image.data.push_back(static_cast<uint8_t>(i < 2 * width ? 7 : 40 + i % 90));
    data::write_geotiff(path, image, {}, nodata);
  };
  write(folder.path("data/s0_sar.tif"), 7);
  // Its features are 32 pixels apart, as many as a patch has.
  const Ended trained = fulmar_program(
      train(folder, "run", {"--epochs", "1", "--epoch-batches", "1", "--widths", "2,2,2,2,2"}));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  const std::string model = folder.path("run/best.safetensors"), out = folder.path("maps");
  make_folders(folder.path("a"));
  make_folders(folder.path("b"));
  write(folder.path("a/x.tif"), {});  // says nothing of what the training pictures declared
  std::filesystem::copy(folder.path("data/s0_sar.tif"), folder.path("b/x.tif"));
  const Ended predicted =
      fulmar_program({"predict", model, folder.path("a"), folder.path("b"), "--out", out});
  REQUIRE_MESSAGE(predicted.code == 0, predicted.err);
  const std::vector<uint8_t> map = image_of(out + "/x.kind.tif").data;
  CHECK(std::count(map.begin(), map.end(), 255) == 2 * width);
  CHECK(image_of(out + "/x-2.kind.tif").data == map);
  const Ended blocked = fulmar_program({"predict", model, folder.path("a"), "--out", model});
  CHECK(blocked.code == 3);
  CHECK_MESSAGE(has(blocked.err, "cannot create the folder"), blocked.err);
}

TEST_CASE("what is written is called by pictures without extensions, by samples as they are") {
  using Names = std::vector<std::string>;
  CHECK(tools::stems_of({"a/x.tif", "b/x.tif", "b/x.png", "b/x-2.tif"}) ==
        Names{"x", "x-2", "x-3", "x-2-2"});
  CHECK(tools::stems_of({"a/2020.01_VV.tif", "b/2020.02_VV.tif"},
                        data::BandFiles::parse("*_VV.tif,*_VH.tif")) ==
        Names{"2020.01", "2020.02"});
}

TEST_CASE("the challenge's combined score") {
  CHECK(tools::combined_score(92.0, 88.6, 70.3) == 86.3);
  CHECK(tools::combined_score(100, 100, 100) == 100);
  CHECK(tools::combined_score(12.34567, 0, 0) == 4.938);  // 2 times 12.346 over 5
  CHECK(std::isnan(tools::combined_score(std::nan(""), 1, 1)));
}

TEST_CASE("class weights balance, and the losses are the model's") {
  const TempFolder folder;
  write_scenes(folder, 2);
  const Ended trained =
      fulmar_program(train(folder, "run",
                           {"--loss", "focal", "--focal-gamma", "1", "--class-weights", "balanced",
                            "--epochs", "2", "--task-weights", "2,1"}));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  const Json heads =
      json_of(fulmar_program({"info", folder.path("run/best.safetensors"), "--json"}))["heads"];
  REQUIRE(heads.size() == 2);
  CHECK(heads[0]["settings"]["loss"] == "focal");
  CHECK(heads[0]["settings"]["gamma"] == 1);
  std::map<int, double> counts;
  double all = 0;
  for (int scene = 0; scene < 2; scene++)
    for (int64_t i = 0; i < height * width; i++)
      if (labelled(i / width, i % width)) {
        counts[kind(scene, i / width, i % width)]++;
        all++;
      }
  size_t k = 0;
  for (const auto& [number, count] : counts)
    CHECK(heads[0]["settings"]["class_weights"][k++].get<double>() ==
          doctest::Approx(all / (3 * count)));
  // Another run begins with these weights.
  const Ended on = fulmar_program(
      train(folder, "on", {"--init", folder.path("run/best.safetensors"), "--epochs", "1"}));
  CHECK_MESSAGE(on.code == 0, on.err);
  // The same again from what the configuration keeps.
  const Ended again = fulmar_program({"train", "--out", folder.path("run"), "--resume"});
  CHECK_MESSAGE(again.code == 0, again.err);
}

TEST_CASE("check audits labels by pixel") {
  const TempFolder folder;
  write_scenes(folder, 3);
  const std::string data = folder.path("data");
  const Json found = json_of(fulmar_program({"check", data, "--labels", tasks, "--json"}));
  const Json& of_kind = found["parts"][0]["tasks"]["kind"];
  int64_t thick = 0, known = 0;
  for (int scene = 0; scene < 3; scene++)
    for (int64_t i = 0; i < height * width; i++) {
      const bool is_known = labelled(i / width, i % width);
      known += is_known;
      thick += is_known && kind(scene, i / width, i % width) == 5;
    }
  CHECK(found["parts"][0]["pictures"] == 3);
  CHECK(of_kind["classes"]["5"]["pixels"] == thick);
  CHECK(of_kind["unlabelled_share"].get<double>() ==
        doctest::Approx(1 - static_cast<double>(known) / (3 * height * width)));
  CHECK(found["faults"].empty());

  write_raster(data + "/s1_kind.tif", height, width - 1, 1, [](auto...) { return 0.0; });
  std::filesystem::remove(data + "/s2_any.tif");
  const Ended wrong = fulmar_program({"check", data, "--labels", tasks});
  CHECK(wrong.code == 3);
  CHECK(has(wrong.out, "44 x 52 pixels, and its picture 45 x 52"));
  CHECK(has(wrong.out, "labels of 1 of 2 tasks"));
}

TEST_CASE("labels that make no sense are refused with the reason") {
  const TempFolder folder;
  write_scenes(folder, 2);
  const auto refused = [&](const Words& more, int code, const std::string& reason) {
    const Ended e = fulmar_program(train(folder, "run", more));
    CHECK(e.code == code);
    CHECK_MESSAGE(has(e.err, reason), e.err);
    CHECK_FALSE(std::filesystem::exists(folder.path("run/config.json")));
  };
  refused({"--classes", "a,b"}, 2, "there are 2 tasks; give the classes of each");
  refused({"--classes", R"({"kind":["a","b"]})"}, 2, "nothing of the task 'any'");
  refused({"--labels", "*_kind"}, 3, "no picture with labels beside it");
  refused({"--labels", "kind"}, 2, "with one *");
  refused({"--network", "polar-low"}, 2, "take unet or deeplab");
  refused({"--task-weights", "1"}, 2, "1 weights for 2 tasks");
  refused({"--class-weights", "1,2"}, 2, "--class-weights takes balanced");
  const auto weights = [&](const std::string& json, const std::string& reason) {
    refused({"--class-weights", json}, 2, reason);
  };
  weights(R"({"kind":[1,2],"any":[1,1]})", "2 class weights for 3 classes");
  weights(R"({"kind":[1,2,3],"ice":[1,1]})", "there is no task 'ice'");
  weights(R"({"kind":[1,2,3]})", "it says nothing of the task 'any'");
  weights(R"({"kind":[1,2,3],"any":7})", "--class-weights takes balanced");
  weights(R"({"kind":[1,2,3],"any":[]})", "--class-weights takes balanced");
  refused({"--ignore", "3,1.5"}, 2, "--ignore: 1.5 is no whole number");
  refused({"--ignore", "1e20"}, 2, "--ignore: 1e+20 is no whole number up to 1e15");
  refused({"--size", "64"}, 2, "--size goes with pictures that have one label each");
  // A number of no class: named with its place.
  const Ended stray = fulmar_program(train(
      folder, "run", {"--classes", R"({"kind":{"0":"water","2":"thin"},"any":["no","yes"]})"}));
  CHECK(stray.code == 3);
  CHECK_MESSAGE(has(stray.err, "the number 5 at row"), stray.err);
}

TEST_CASE("options of labels by pixel, or of another network, are refused where they do nothing") {
  const TempFolder folder;
  const auto refused = [&](Words words, const Words& more, const std::string& reason) {
    words.insert(words.end(), more.begin(), more.end());
    const Ended e = fulmar_program(words);
    CHECK(e.code == 2);
    CHECK_MESSAGE(has(e.err, reason), e.err);
  };
  const Words pictures{"train", folder.path("data"), "--out", folder.path("run"), "--crop", "32"};
  for (const Words& more : std::vector<Words>{{"--pictures", "*.tif"},
                                              {"--classes", "a,b"},
                                              {"--ignore", "3"},
                                              {"--epoch-batches", "2"},
                                              {"--labelled", "0.5"},
                                              {"--loss", "dice"},
                                              {"--focal-gamma", "3"},
                                              {"--class-weights", "1,2"},
                                              {"--task-weights", "1"}})
    refused(pictures, more, more[0] + " goes with labels by pixel (--labels)");
  const std::vector<Words> deeplab{
      {"--encoder", "resnet34"}, {"--stages", "2"}, {"--output-stride", "8"}, {"--rates", "1,2"},
      {"--decoder-width", "8"},  {"--pool", "2"},   {"--shared-decoder"}};
  for (const Words& more : deeplab) {
    refused(pictures, more, more[0] + " goes with --network deeplab, not with polar-low");
    refused(train(folder, "run", {}), more,
            more[0] + " goes with --network deeplab, not with unet");
  }
  refused(train(folder, "run", {}), {"--network", "deeplab"}, "--widths goes with unet");
  refused({"resolution", folder.path("data"), "--out", folder.path("run")},
          {"--labels", "*_kind.tif"}, "--labels: resolutions are compared on pictures");
}

TEST_CASE("numbers that only labels held out hold are told of before anything is trained") {
  const TempFolder folder;
  write_scenes(folder, 2);
  for (const int scene : {0, 1})  // 7 and 8 each in one of them
    write_raster(folder.path("data/s" + std::to_string(scene) + "_kind.tif"), height, width, 1,
                 [&](int64_t row, int64_t, int64_t) {
                   return row < 20 ? 1.0 : row < 40 ? 7.0 + scene : 9.0;
                 });
  for (const char* part : {"--validation", "--test"}) {
    Words words = train(
        folder, "run",
        {part, "0.5", "--scenes", "file", "--labels", "*_kind.tif", "--pictures", "*_sar.tif"});
    const auto named = std::find(words.begin(), words.end(), "--classes");
    words.erase(named, named + 2);
    const Ended e = fulmar_program(words);
    CHECK(e.code == 2);
    CHECK_MESSAGE(has(e.err, "the labels of 'labels' that are held out hold the number"), e.err);
    CHECK_FALSE(std::filesystem::exists(folder.path("run/config.json")));
  }
}

TEST_CASE("weights that balance classes stay within what a loss takes") {
  const TempFolder folder;
  constexpr int64_t side = 1450;  // of two classes and one pixel, side² / 2 > 1e6
  write_raster(folder.path("labels.tif"), side, side, 1,
               [](int64_t row, int64_t column, int64_t) { return row + column > 0 ? 0.0 : 1.0; });
  data::Dataset dataset;
  dataset.layers = {"ice"};
  dataset.samples.resize(1);
  dataset.samples[0].label_files = {folder.path("labels.tif")};
  tools::TrainConfig config;
  config.class_weights = "balanced";
  Context context;
  tools::Observer observer;
  tools::choose_classes(config, dataset, {}, side * side, context, observer);
  constexpr double pixels = side * side;
  CHECK(Json::parse(*config.class_weights)["ice"] == Json({pixels / (2 * (pixels - 1)), 1e6}));
  CHECK(tools::pixel_heads(tools::read_classes(*config.classes, dataset.layers), config).size() ==
        1);
}

TEST_CASE("a real pair of Sen1Floods11 is trained on, and its map lies where it lies") {
  const auto data = test_data("sen1floods11");
  if (!data) return;
  const TempFolder folder;
  const Ended trained = fulmar_program({"train",
                                        *data,
                                        "--out",
                                        folder.path("run"),
                                        "--labels",
                                        "*_LabelHand.tif",
                                        "--classes",
                                        "land,water",
                                        "--crop",
                                        "64",
                                        "--widths",
                                        "4,8",
                                        "--batch",
                                        "4",
                                        "--epochs",
                                        "2",
                                        "--epoch-batches",
                                        "6",
                                        "--lr",
                                        "1e-2"});
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  const std::string scene = *data + "/Spain_7370579_S1Hand.tif";
  const Ended predicted = fulmar_program({"predict", folder.path("run/best.safetensors"), scene,
                                          "--out", folder.path("maps"), "--tile", "256"});
  REQUIRE_MESSAGE(predicted.code == 0, predicted.err);
  const std::string map = folder.path("maps/Spain_7370579_S1Hand.labels.tif");
  CHECK(image_of(map).width == 512);
  const data::Georeference here = data::read_georeference(map),
                           there = data::read_georeference(scene);
  CHECK(here.epsg == 4326);
  CHECK(here.transform == there.transform);
}
