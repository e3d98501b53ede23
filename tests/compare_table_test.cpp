// Trainings with each line of a table of options: fulmar compare.
#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/support/html_page.h"
#include "tests/support/pixel_scenes.h"
#include "tests/support/refusal.h"
#include "tests/support/training.h"
#include "tools/run/results.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace fs = std::filesystem;

namespace {

// Scenes with labels by pixel in train/ and test/, and a table of 2 x 2 trainings on them.
struct Scenes {
  TempFolder folder;
  std::string data = folder.path("data"), file = folder.path("table.json");
  Json table{{"data", data},
             {"common",
              {{"labels", pixels::tasks},
               {"classes", Json::parse(pixels::classes)},
               {"crop", 32},
               {"batch", 4},
               {"epochs", 1},
               {"epoch-batches", 3},
               {"lr", 1e-2}}},
             {"axes", {{"widths", {"4,8", "4"}}, {"loss", {"cross-entropy", "dice"}}}}};

  Scenes() {
    pixels::write_scenes(folder, 4);
    make_folders(data + "/train");
    make_folders(data + "/test");
    for (const auto& [path, bytes] : contents_of(data))
      if (fs::is_regular_file(path)) {
        const std::string name = fs::path(path).filename().string();
        fs::rename(path, data + (name < "s2" ? "/train/" : "/test/") + name);
      }
    save();
  }
  void save() const { write_file(file, table.dump(2)); }
  std::vector<std::string> words(const std::string& out) const {
    return {"compare", file, "--out", folder.path(out), "--json"};
  }
};

Json parsed(const Ended& ended) {
  CHECK_MESSAGE(ended.code == 0, ended.err);
  return Json::parse(ended.out, nullptr, false);
}

// The files of all trainings that are done.
std::map<std::string, std::string> runs_of(const std::string& out) {
  std::map<std::string, std::string> all;
  for (const auto& [path, bytes] : contents_of(out))
    if (has(path, "/seed-") && !has(path, "/explained")) all[path] = bytes;
  return all;
}

Json without_places(Json json) {
  for (Json& training : json["trainings"]) {
    training.erase("seconds");
    for (Json& run : training["runs"]) {
      run.erase("run");
      run.erase("seconds");
    }
  }
  return json;
}

}  // namespace

TEST_CASE("compare: a table of 2 x 2 trainings, stopped and resumed, gives the undisturbed one's") {
  const Scenes scenes;
  const Json whole = parsed(fulmar_program(scenes.words("whole")));
  HowToRun how;
  how.interrupt_at = "training 3 of 4";
  const Ended stopped = fulmar_program(scenes.words("out"), how);
  CHECK(stopped.code == 130);
  CHECK(stopped.out.empty());
  const auto before = runs_of(scenes.folder.path("out"));
  const Ended resumed = fulmar_program(scenes.words("out"));
  const Json json = parsed(resumed);
  CHECK_FALSE(has(resumed.err, "training 2 of 4"));
  CHECK(has(resumed.err, "training 3 of 4: widths-4_loss-cross-entropy, seed 1"));
  CHECK(without_places(json) == without_places(whole));
  const auto after = runs_of(scenes.folder.path("out"));
  for (const auto& file : before)
    if (has(file.first, "widths-4,8_")) {
      CAPTURE(file.first);
      CHECK(after.at(file.first) == file.second);
    }

  CHECK(json["axes"] == Json{"widths", "loss"});
  CHECK(json["tested"].size() == 2);
  REQUIRE(json["trainings"].size() == 4);
  for (const Json& training : json["trainings"]) {
    const std::string run = training["runs"][0]["run"];
    CHECK(run == scenes.folder.path("out/" + training["name"].get<std::string>() + "/seed-1"));
    const Json own =
        parsed(fulmar_program({"eval", run + "/best.safetensors", scenes.data, "--json"}));
    for (const char* task : {"kind", "any"}) {
      for (const char* metric : {"accuracy", "miou", "r2"}) {
        CHECK(training["runs"][0]["scores"][task][metric] == own["tasks"][task][metric]);
        CHECK(training["scores"][task][metric]["mean"] == own["tasks"][task][metric]);
      }
      CHECK(training["receptive_fields"][task]["side_of_90_percent"]["mean"] > 0);
    }
  }
  // Two levels see further than one.
  const Json& trainings = json["trainings"];
  CHECK(trainings[0]["options"] == Json{{"widths", "4,8"}, {"loss", "cross-entropy"}});
  CHECK(trainings[0]["receptive_fields"]["kind"]["possible"] >
        trainings[2]["receptive_fields"]["kind"]["possible"]);

  const std::string out = scenes.folder.path("out");
  check_page(out + "/report.html");
  const std::string page = contents(out + "/report.html");
  CHECK(numbers_in(page) == json);
  CHECK(json_in(out + "/report.json") == json);
  CHECK(page.find("2 pictures of ") < page.find("<h1>"));
  // Two scenes of two tasks: picture, labels and four maps; four CAMs, of two pictures each; and
  // fields.
  CHECK(count_of(page, ": its labels\"") == 4);
  CHECK(count_of(page, "class=\"heat\"") >= 12);
  CHECK(has(page, ">How far the middle pixel sees<"));
  CHECK(has(contents(out + "/widths-4_loss-dice/seed-1/report.html"), "Pixels of test"));
  const std::string csv = contents(out + "/report.csv");
  CHECK(count_of(csv, "\n") == 1 + 4 * 2);
  CHECK(csv.rfind("training,widths,loss,seed,task,accuracy,", 0) == 0);
  CHECK(has(csv, "\n\"widths-4,8_loss-dice\",\"4,8\",dice,1,any,"));
}

TEST_CASE("compare: classifiers, more seeds, an axis of several options, a part held out") {
  const TrainingFiles files;
  const std::string table = files.folder.path("table.json"), out = files.folder.path("out");
  const std::vector<std::string> words{"compare", table, "--out", out, "--json"};
  Json json{
      {"data", files.data},
      {"common", {{"crop", 16}, {"batch", 8}, {"epochs", 1}, {"augment", "none"}, {"test", 0.25}}},
      {"axes",
       {{"network",
         {{"short", {{"widths", "4"}}}, {"long", {{"widths", {4, 8}}, {"pad", true}}}}}}},
      {"seeds", {1, 2}}};
  write_file(table, json.dump());
  const Json first = parsed(fulmar_program(words));
  REQUIRE(first["trainings"].size() == 2);
  CHECK(first["trainings"][1]["name"] == "long");
  for (const Json& training : first["trainings"]) {
    std::vector<double> accuracies;
    for (const Json& run : training["runs"]) accuracies.push_back(run["scores"][""]["accuracy"]);
    const tools::Spread spread = tools::spread_of(accuracies);
    CHECK(training["scores"][""]["accuracy"]["mean"] == spread.mean);
    CHECK(training["scores"][""]["accuracy"]["sd"] == spread.deviation);
  }
  const Json config = json_in(out + "/long/seed-2/config.json");
  CHECK(config["widths"] == Json{4, 8});
  CHECK(config["pad"] == true);
  CHECK(config["seed"] == 2);
  check_page(out + "/report.html");
  CHECK(count_of(contents(out + "/report.html"), "class=\"heat\"") == 6);

  // Lines and seeds may be added; what is there stays.
  const auto before = runs_of(out);
  json["seeds"] = {1, 2, 4};
  json["axes"]["network"]["third"] = {{"widths", "8"}};
  write_file(table, json.dump());
  const Ended more = fulmar_program(words);
  CHECK(parsed(more)["trainings"][2]["runs"].size() == 3);
  CHECK(has(more.err, "training 3 of 9: third, seed 1"));
  const auto after = runs_of(out);
  for (const auto& file : before) CHECK(after.at(file.first) == file.second);

  // Another option for what is there would compare what doesn't go together.
  json["common"]["lr"] = 0.5;
  write_file(table, json.dump());
  check_refused({words, 2, {"--lr was 0.001", "is 0.5 here", "--out"}}, out);
}

TEST_CASE("compare: what can't be is refused before the first training") {
  Scenes scenes;
  const std::string out = scenes.folder.path("out");
  const auto refused = [&](const Json& table, int code, const std::vector<std::string>& said) {
    write_file(scenes.file, table.dump());
    check_refused({scenes.words("out"), code, said}, scenes.folder.path());
  };
  const auto with = [&](const std::string& pointer, const Json& value) {
    Json table = scenes.table;
    table[Json::json_pointer(pointer)] = value;
    return table;
  };
  write_file(scenes.file, "{\"data\": ");
  check_refused({scenes.words("out"), 3, {scenes.file, "no JSON object"}}, scenes.folder.path());
  refused(with("/axis", 1), 2, {"'axis' is not known", "axes"});
  refused(with("/common/epoch", 1), 2, {"'epoch' is no option of 'fulmar train'"});
  refused(with("/common/seed", 1), 2, {"'seed' is no option"});
  refused(with("/common/memory", 1), 2, {"'memory' is no option"});
  refused(with("/common/loss", "mae"), 2, {"'loss' stands in several places"});
  refused(with("/axes/loss/1", "hinge"), 2, {"hinge"});
  refused(with("/axes/loss/1", 3), 2, {"3"});
  refused(with("/axes/batch", {4, "x"}), 2, {"x"});
  refused(with("/axes/rates", {"6,12"}), 2, {"--rates goes with --network deeplab"});
  refused(with("/axes/pad", {true, "no"}), 2, {"'pad' is true or false"});
  refused(with("/seeds", {1, 1}), 2, {"twice"});
  refused(with("/seeds", {1.5}), 2, {"'seeds' must be a list"});
  refused(with("/data", scenes.folder.path("none")), 3, {"none"});
  // Known by the pictures alone, or by the network.
  refused(with("/axes/channels", {2, 3}), 3, {"widths-4,8_loss-cross-entropy_channels-3"});
  refused(with("/axes/class-weights", {"balanced", "1,2"}), 2, {"class-weights-1,2"});
  fs::remove_all(scenes.data + "/test");
  refused(scenes.table, 2, {"no test part", "'test'"});
  CHECK_FALSE(fs::exists(out));
}
