// Held-out test parts: `fulmar split`, and `fulmar train --test`.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/training.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

namespace fs = std::filesystem;

// 20 scenes of two pictures each, one of each class.
std::string save_scenes(const std::string& folder) {
  for (uint32_t i = 0; i < 20; i++)
    for (const std::string name : {"neg", "pos"}) {
      const std::string scene = "s" + std::to_string(100 + i);
      save_picture(folder + "/" + name + "/" + scene + "_" + name + ".bmp", 16,
                   2 * i + (name == "pos" ? 1 : 0));
    }
  return folder;
}

// All files below a folder with their bytes, by path within.
std::map<std::string, std::string> files_in(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[entry.path().lexically_relative(folder).string()] = contents(entry.path().string());
  return files;
}

std::set<std::string> scenes_in(const std::string& folder) {
  std::set<std::string> scenes;
  for (const auto& [name, bytes] : files_in(folder))
    scenes.insert(fs::path(name).filename().string().substr(0, 4));
  return scenes;
}

}  // namespace

TEST_CASE("split copies whole scenes into parts, and leaves the source alone") {
  const TempFolder folder;
  const std::string data = save_scenes(folder.path("data")), out = folder.path("out");
  const auto before = files_in(data);
  const Ended e = fulmar_program(
      {"split", data, out, "--test", "0.25", "--validation", "0.2", "--seed", "3", "--json"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const Json json = Json::parse(e.out);
  CHECK(json["parts"]["test"]["pictures"] == 10);
  CHECK(json["parts"]["test"]["classes"] == Json{{"neg", 5}, {"pos", 5}});
  CHECK(json["parts"]["val"]["pictures"] == 6);
  CHECK(json["parts"]["train"]["pictures"] == 24);
  CHECK(json["seed"] == 3);
  CHECK(files_in(data) == before);

  // Every picture once, to the byte; no scene on two sides.
  std::map<std::string, std::string> after;
  size_t scenes = 0;
  std::set<std::string> all;
  for (const std::string part : {"train", "val", "test"}) {
    for (const auto& [name, bytes] : files_in(out + "/" + part)) after[name] = bytes;
    const auto of_part = scenes_in(out + "/" + part);
    scenes += of_part.size();
    all.insert(of_part.begin(), of_part.end());
  }
  CHECK(after == before);
  CHECK(scenes == 20);
  CHECK(all.size() == 20);
  const Json manifest = json_in(out + "/split.json");
  CHECK(manifest["source"] == data);
  CHECK(manifest["parts"]["test"]["scene_of_picture"].size() == 10);
  CHECK(manifest["parts"]["test"]["classes"]["pos"] == 5);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 2);

  // The same seed splits alike, another otherwise; check finds nothing wrong.
  const auto test_of = [&](const std::string& seed) {
    const std::string to = folder.path("out" + seed);
    const Ended again = fulmar_program({"split", data, to, "--test", "0.25", "--seed", seed});
    CHECK(again.code == 0);
    CHECK(has(again.out, "test: 5 scenes: s1"));
    return scenes_in(to + "/test");
  };
  CHECK(test_of("3") == scenes_in(out + "/test"));
  CHECK(test_of("4") != scenes_in(out + "/test"));
  CHECK(fulmar_program({"check", out}).code == 0);
}

TEST_CASE("split --link makes links; what can't be is refused and leaves nothing") {
  const TempFolder folder;
  const std::string data = save_scenes(folder.path("data")), out = folder.path("out");
  fs::create_directories(out);  // an empty one is new enough
  const Ended e = fulmar_program({"split", data, out + "/", "--test", "0.2", "--link"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  size_t links = 0;
  for (const auto& entry : fs::recursive_directory_iterator(out)) links += entry.is_symlink();
  CHECK(links == 40);
  CHECK(scenes_in(out + "/test").size() == 4);

  const auto refused = [&](const std::vector<std::string>& more, int code,
                           const std::string& part) {
    std::vector<std::string> arguments{"split"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ended refusal = fulmar_program(arguments);
    CHECK(refusal.code == code);
    CHECK_MESSAGE(has(refusal.err, part), refusal.err);
  };
  const std::string none = folder.path("none");
  refused({data, none}, 2, "which share");
  refused({data, out, "--test", "0.2"}, 3, "holds something already");
  refused({data, data + "/part", "--test", "0.2"}, 3, "which must stay as it is");
  refused({out, none, "--test", "0.2"}, 2, out + "/test: a test part already");
  refused({folder.path("absent"), none, "--test", "0.2"}, 3, "no such folder");
  refused({data, none, "--test", "1"}, 2, "--test: 1 is not between");
  CHECK_FALSE(fs::exists(none));
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 2);
}

TEST_CASE("train --test holds scenes out of everything, and scores the best model on them") {
  const TempFolder folder;
  const std::string data = save_scenes(folder.path("data")), run = folder.path("run");
  const std::vector<std::string> arguments{
      "train",     data,   "--out",    run, "--crop", "16",   "--widths",     "4",
      "--batch",   "8",    "--epochs", "2", "--test", "0.25", "--validation", "0.2",
      "--augment", "none", "--json"};
  const Ended e = fulmar_program(arguments);
  REQUIRE_MESSAGE(e.code == 0, e.err);
  CHECK(has(e.err, "training on 24 pictures (3 batches an epoch), validating on 6"));
  CHECK(has(e.err, "held out to test on (10 pictures)"));
  CHECK(has(e.err, "on 10 pictures that nothing was trained or chosen on"));
  const Json line = Json::parse(e.out);
  CHECK(line["test"]["samples"] == 10);
  CHECK(line["test"]["classes"]["pos"]["support"] == 5);

  // What is kept names the pictures; `eval` of a folder of them says the same.
  const Json kept = json_in(run + "/evaluation-test.json");
  CHECK(kept["set"] == "test");
  std::set<std::string> held;
  for (const Json& sample : kept["samples"]) {
    const std::string name = sample["file"];
    held.insert(fs::path(name).filename().string().substr(0, 4));
    fs::create_directories(fs::path(folder.path("held/" + name)).parent_path());
    fs::copy_file(data + "/" + name, folder.path("held/" + name));
  }
  CHECK(held.size() == 5);
  const Json validation = json_in(run + "/evaluation-validation.json");
  for (const Json& sample : validation["samples"])
    CHECK(held.count(
              fs::path(sample["file"].get<std::string>()).filename().string().substr(0, 4)) == 0);
  const Json other = Json::parse(
      fulmar_program({"eval", run + "/best.safetensors", folder.path("held"), "--json"}).out);
  for (const char* key : {"accuracy", "loss", "f1", "confusion", "roc_auc"})
    CHECK(other[key] == line["test"][key]);
  const std::string page = contents(run + "/report.html");
  CHECK(has(page, "on which nothing was chosen"));

  // Split by split as `fulmar split` with that seed; resuming finds the same.
  CHECK(fulmar_program({"split", data, folder.path("out"), "--test", "0.25"}).code == 0);
  CHECK(scenes_in(folder.path("out/test")) == held);
  const Ended resumed = fulmar_program({"train", "--out", run, "--resume", "--json"});
  CHECK(Json::parse(resumed.out)["test"]["loss"] == line["test"]["loss"]);
  const Ended twice = fulmar_program(
      {"train", folder.path("out"), "--out", folder.path("r"), "--crop", "16", "--test", "0.2"});
  CHECK(twice.code == 2);
  CHECK(has(twice.err, folder.path("out/test") + ": a test part already"));
}
