#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "tests/support/picture_model.h"
#include "tests/support/program.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

// A dataset of noise: 10 pictures of `neg` and 14 of `pos`, of two sizes.
struct Files {
  TempFolder folder;
  std::string model = folder.path("model.safetensors");
  std::string data = folder.path("data");

  Files() {
    save_model(model, {"neg", "pos"});
    for (uint32_t i = 0; i < 24; i++)
      save_picture(data + (i < 10 ? "/neg/" : "/pos/") + std::to_string(100 + i) + ".bmp",
                   i % 3 == 0 ? 24 : 16, i);
  }
};

Json evaluated(const std::vector<std::string>& more, const Files& files) {
  std::vector<std::string> arguments{"eval", files.model, files.data, "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Ended e = fulmar_program(arguments);
  CHECK(e.code == 0);
  CHECK(e.err == "only the centre 16 x 16 of 24 x 24 pixels is used, 44 % (8 pictures)\n");
  return Json::parse(e.out);
}

// The confusion that predict's decisions give.
std::vector<std::vector<int64_t>> confusion_of_predict(const Files& files,
                                                       const std::string& threshold) {
  std::vector<std::vector<int64_t>> confusion{{0, 0}, {0, 0}};
  for (size_t truth = 0; truth < 2; truth++) {
    const std::string folder = files.data + (truth == 0 ? "/neg" : "/pos");
    std::istringstream lines(
        fulmar_program({"predict", files.model, folder, "--json", "--threshold", threshold}).out);
    for (std::string line; std::getline(lines, line);)
      confusion[truth][Json::parse(line)["class"] == "pos" ? 1 : 0]++;
  }
  return confusion;
}

}  // namespace

TEST_CASE("eval --json: the report's keys, in agreement with predict") {
  const Files files;
  const Json json = evaluated({}, files);
  for (const char* key : {"accuracy", "macro_f1", "f1", "roc_auc", "pr_auc", "threshold",
                          "confusion", "classes", "positive_class", "loss", "samples"})
    CHECK(json.contains(key));
  CHECK(json["samples"] == 24);
  CHECK(json["threshold"] == 0.25);
  CHECK(json["positive_class"] == "pos");
  CHECK(json["classes"]["neg"]["support"] == 10);
  CHECK(json["classes"]["pos"]["support"] == 14);
  CHECK(json["confusion"] == Json(confusion_of_predict(files, "0.25")));

  // A threshold amid the probabilities, so that all four cells count.
  std::vector<double> scores;
  std::istringstream lines(fulmar_program({"predict", files.model, files.data, "--json"}).out);
  for (std::string line; std::getline(lines, line);)
    scores.push_back(Json::parse(line)["probabilities"]["pos"]);
  std::sort(scores.begin(), scores.end());
  const std::string middle = std::to_string((scores[11] + scores[12]) / 2);
  const Json other = evaluated({"--threshold", middle, "--batch", "5"}, files);
  const auto c = confusion_of_predict(files, middle);
  CHECK(other["confusion"] == Json(c));
  const auto tp = static_cast<double>(c[1][1]);
  CHECK(other["accuracy"].get<double>() ==
        doctest::Approx(static_cast<double>(c[0][0] + c[1][1]) / 24));
  CHECK(other["classes"]["pos"]["recall"].get<double>() == doctest::Approx(tp / 14));
  CHECK(other["f1"].get<double>() ==
        doctest::Approx(2 * tp / static_cast<double>(14 + c[0][1] + c[1][1])));
  CHECK(other["f1"] == other["classes"]["pos"]["f1"]);
  CHECK(other["roc_auc"] == json["roc_auc"]);
  CHECK(evaluated({"--threads", "1", "--batch", "1"}, files)["roc_auc"] == json["roc_auc"]);
}

TEST_CASE("eval for people: a classification report") {
  const Files files;
  const Ended e = fulmar_program({"eval", files.model, files.data});
  CHECK(e.code == 0);
  for (const char* part : {"24 pictures of ", "precision  recall", "macro average", "accuracy",
                           "threshold", "0.2500: pos", "true \\ predicted"})
    CHECK(has(e.out, part));
}

TEST_CASE("eval: FOLDER/test is taken where it is there; more classes have no threshold") {
  const Files files;
  std::filesystem::create_directories(files.folder.path("both/train"));
  std::filesystem::rename(files.data, files.folder.path("both/test"));
  const Ended e = fulmar_program({"eval", files.model, files.folder.path("both"), "--json"});
  CHECK(e.code == 0);
  CHECK(Json::parse(e.out)["samples"] == 24);

  const std::string three = files.folder.path("three.safetensors"), data = files.folder.path("3");
  save_model(three, {"a", "b", "c"});
  for (const char* name : {"a", "b", "c"})
    save_picture(data + "/" + name + "/1.bmp", 16, static_cast<uint32_t>(name[0]));
  const Ended more = fulmar_program({"eval", three, data, "--json"});
  CHECK(more.code == 0);
  const Json json = Json::parse(more.out);
  CHECK(json["threshold"].is_null());
  CHECK(json["f1"].is_null());
  CHECK(json["confusion"].size() == 3);
  CHECK(fulmar_program({"eval", three, data, "--threshold", "0.5"}).code == 2);
}

TEST_CASE("eval: what it can't use ends it with 3 and the file's or folder's name") {
  const Files files;
  const auto refused = [&](const std::string& folder, const std::string& message) {
    const Ended e = fulmar_program({"eval", files.model, folder, "--json"});
    CHECK(e.code == 3);
    CHECK(e.out.empty());
    CAPTURE(e.err);
    CHECK(has(e.err, message));
  };
  refused(files.folder.path("absent"), "absent");
  std::filesystem::create_directories(files.folder.path("empty"));
  refused(files.folder.path("empty"), files.folder.path("empty"));
  write_file(files.data + "/pos/100.png", "\x89PNG\r\n\x1a\n cut");
  refused(files.data, files.data + "/pos/100.png");
  std::filesystem::remove(files.data + "/pos/100.png");
  save_picture(files.data + "/pos/small.bmp", 15, 1);
  refused(files.data, files.data + "/pos/small.bmp");
  std::filesystem::remove(files.data + "/pos/small.bmp");
  std::filesystem::rename(files.data + "/pos", files.data + "/positive");
  refused(files.data, "positive");
}

TEST_CASE("check: a sound folder is told of and passes") {
  const Files files;
  const Ended e = fulmar_program({"check", files.data, "--json"});
  CHECK(e.code == 0);
  const Json json = Json::parse(e.out);
  CHECK(json["ok"] == true);
  CHECK(json["parts"][0]["classes"]["neg"]["pictures"] == 10);
  CHECK(json["parts"][0]["classes"]["pos"]["pictures"] == 14);
  CHECK(json["sizes"][0]["width"] == 16);
  CHECK(json["sizes"][0]["pictures"] == 16);
  CHECK(json["sizes"][1]["pictures"] == 8);
  CHECK(json["values"][0]["bands"][0]["high"] <= 255);
  const Ended text = fulmar_program({"check", files.data});
  CHECK(text.code == 0);
  CHECK(has(text.out, "nothing is wrong"));
  CHECK(has(text.out, "least  greatest"));
}

TEST_CASE("check: everything that is wrong is named, exit 3") {
  const TempFolder folder;
  const std::string data = folder.path("data");
  const auto picture = [&](const std::string& name, uint32_t seed) {
    save_picture(data + "/" + name, 16, seed);
  };
  picture("train/neg/s1_a.bmp", 1);
  picture("train/neg/s2_a.bmp", 2);
  picture("train/pos/s3_a.bmp", 3);
  picture("train/pos/s4_a.bmp", 2);  // equal to one of neg
  picture("test/neg/s5_a.bmp", 5);
  picture("test/neg/s6_a.bmp", 3);  // equal to one of train/pos
  picture("test/pos/s1_b.bmp", 7);  // the scene is in train too
  picture("test/pos/s7_b.bmp", 8);
  picture("test/pos/s7_c.bmp", 8);  // equal to its neighbour: noted only
  write_bitmap(data + "/test/pos/s8_black.bmp", 16, 16, [](int, int) { return 0u; });
  write_file(data + "/train/neg/s9_cut.bmp", "BM");
  write_file(data + "/train/neg/readme.txt", "hello");

  const Ended e = fulmar_program({"check", data, "--json"});
  CHECK(e.code == 3);
  const Json json = Json::parse(e.out);
  CHECK(json["ok"] == false);
  REQUIRE(json["unreadable"].size() == 1);
  CHECK(json["unreadable"][0]["path"] == data + "/train/neg/s9_cut.bmp");
  CHECK(has(json["unreadable"][0]["reason"], "s9_cut.bmp"));
  CHECK(has(json["two_labels"].dump(), "s4_a.bmp"));
  CHECK(has(json["in_both_parts"].dump(), "s6_a.bmp"));
  CHECK(json["repeated"].size() == 1);
  CHECK(json["stray"] == Json{data + "/train/neg/readme.txt"});
  CHECK(json["mixed_types"] == false);
  std::map<std::string, Json> scenes;
  for (const Json& shared : json["scenes_in_both_parts"]) scenes[shared["scene"]] = shared;
  REQUIRE(scenes.count("s1") == 1);
  CHECK(scenes["s1"]["test"] == Json{data + "/test/pos/s1_b.bmp"});
  for (const Json& part : json["parts"])
    if (part["folder"] == data + "/test") {
      CHECK(part["classes"]["pos"]["wholly_black"] == 1);
      CHECK(part["classes"]["pos"]["black_fraction"].get<double>() == doctest::Approx(0.25));
    }

  const Ended text = fulmar_program({"check", data});
  CHECK(text.code == 3);
  for (const char* part : {"1 unreadable", "two labels", "in train and test", "s1: ", "s9_cut.bmp",
                           "something is wrong"})
    CHECK(has(text.out, part));
  // With every file a scene of its own, that fault is gone.
  CHECK(
      Json::parse(
          fulmar_program({"check", data, "--scenes", "file", "--json"}).out)["scenes_in_both_parts"]
          .empty());
}

TEST_CASE("check: what a folder lacks is told of with all the rest") {
  const TempFolder folder;
  const std::string data = folder.path("data");
  save_picture(data + "/train/neg/1.bmp", 16, 1);
  save_picture(data + "/train/pos/2.bmp", 16, 2);
  std::filesystem::create_directories(data + "/train/void");
  save_picture(data + "/test/unlabelled.bmp", 16, 3);
  std::filesystem::create_symlink("nowhere", data + "/train/pos/broken.txt");
  const Ended e = fulmar_program({"check", data, "--json"});
  CHECK(e.code == 3);
  const Json json = Json::parse(e.out);
  CHECK(json["structure"].size() == 2);
  CHECK(has(json["structure"].dump(), data + "/train/void"));
  CHECK(has(json["structure"].dump(), data + "/test"));
  CHECK(json["parts"][0]["classes"]["pos"]["pictures"] == 1);
  CHECK(json["parts"][0]["classes"]["void"]["pictures"] == 0);
  CHECK(json["sizes"][0]["pictures"] == 2);
  CHECK(json["unreadable"].empty());
  CHECK(has(json["stray"].dump(), "broken.txt"));
  const Ended text = fulmar_program({"check", data});
  CHECK(text.code == 3);
  for (const char* part : {"2 faults of the folders", "train/void", "16x16", "something is wrong"})
    CHECK(has(text.out, part));
}

TEST_CASE("check: a folder that is no dataset ends it with 3 and its name") {
  const TempFolder folder;
  const std::string data = folder.path("data");
  const auto refused = [&](const std::string& message) {
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"check", data},
          {"train", data, "--out", folder.path("run"), "--crop", "16"}}) {
      const Ended e = fulmar_program(arguments);
      CHECK(e.code == 3);
      CAPTURE(e.err);
      CHECK(has(e.err, data));
      CHECK(has(e.err + e.out, message));
      CHECK_FALSE(std::filesystem::exists(folder.path("run")));
    }
  };
  refused("data");
  std::filesystem::create_directories(data);
  refused("data");
  std::filesystem::create_directories(data + "/neg");
  save_picture(data + "/neg/1.bmp", 16, 1);
  refused("only the class 'neg'");
  std::filesystem::create_directories(data + "/pos");
  refused("pos");
}
