// The program on datasets as people have them: cases from public reports of other programs.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/raster.h"
#include "tests/support/training.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

namespace fs = std::filesystem;

// Pictures of two classes, `of_each` in each, "neg" and "pos" in a folder.
void save_classes(const std::string& folder, uint32_t of_each, uint32_t seed,
                  const std::string& end = ".bmp") {
  for (const std::string name : {"neg", "pos"})
    for (uint32_t i = 0; i < of_each; i++)
      save_picture(folder + "/" + name + "/" + std::to_string(100 + i) + end, 16,
                   seed += name == "pos" ? 3 : 5);
}

// A training of a fraction of a second.
std::vector<std::string> training(const std::string& data, const std::string& run,
                                  const std::vector<std::string>& more = {}) {
  std::vector<std::string> all{"train",    data, "--out",   run, "--crop",   "16",
                               "--widths", "4",  "--batch", "8", "--epochs", "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

Ended trained(const std::vector<std::string>& arguments) {
  Ended e = fulmar_program(arguments);
  CHECK_MESSAGE(e.code == 0, e.err);
  return e;
}

}  // namespace

TEST_CASE("val/ beside train/ is validated on, unless a share is asked for") {
  const TempFolder folder;
  const std::string data = folder.path("data"), run = folder.path("run");
  save_classes(data + "/train", 8, 1);
  save_classes(data + "/val", 4, 1000);
  const Ended e = trained(training(data, run));
  CHECK(has(e.err,
            "16 scenes, each a single picture to train on; 8 scenes, each a single picture "
            "to validate on (" +
                data + "/val)"));
  CHECK(has(e.err, "training on 16 pictures (2 batches an epoch), validating on 8"));
  CHECK(column(run, "val_loss").size() == 1);
  const Json config = json_in(run + "/config.json");
  CHECK(config["validation"].is_null());
  CHECK(config["validation_part"] == "val");
  CHECK(fulmar_program({"train", "--out", run, "--resume"}).code == 0);
  const Json check = Json::parse(fulmar_program({"check", data, "--json"}).out);
  REQUIRE(check["parts"].size() == 2);
  CHECK(check["parts"][1]["name"] == "validation");
  CHECK(check["parts"][1]["classes"]["pos"]["pictures"] == 4);

  const Ended share = trained(training(data, folder.path("share"), {"--validation", "0.25"}));
  CHECK(has(share.err, data + "/val: left out, as --validation says"));
  CHECK(has(share.err, "training on 12 pictures"));
  CHECK(column(folder.path("share"), "val_loss").size() == 1);
  trained(training(data, folder.path("none"), {"--validation", "0"}));
  CHECK(column(folder.path("none"), "val_loss").empty());

  fs::remove_all(data + "/val");
  const Ended gone = fulmar_program({"train", "--out", run, "--resume"});
  CHECK(gone.code == 3);
  CHECK(has(gone.err, data + "/val: no longer there"));
}

TEST_CASE("parts in capitals and other words are parts, never classes") {
  const TempFolder folder;
  const std::vector<std::vector<std::string>> pairs{
      {"Train", "Test"}, {"training", "validation"}, {"seg_train", "seg_test"}};
  for (const auto& pair : pairs) {
    const std::string data = folder.path("of " + pair[0]), run = folder.path("run " + pair[0]);
    save_classes(data + "/" + pair[0], 4, 1);
    save_classes(data + "/" + pair[1], 4, 1000);
    trained(training(data, run));
    const Json info =
        Json::parse(fulmar_program({"info", run + "/best.safetensors", "--json"}).out);
    CHECK(info["classes"] == Json{"neg", "pos"});
    const Json check = Json::parse(fulmar_program({"check", data, "--json"}).out);
    CHECK(check["ok"] == true);
    CHECK(check["parts"][0]["folder"] == data + "/" + pair[0]);
    CHECK(check["parts"][1]["folder"] == data + "/" + pair[1]);
  }
  const std::string data = folder.path("own words");
  save_classes(data + "/Lernen", 4, 1);
  save_classes(data + "/Pruefen", 4, 1000);
  for (const auto& arguments : {training(data, folder.path("none")), {"check", data}}) {
    const Ended e = fulmar_program(arguments);
    CHECK(e.code == 3);
    CHECK(has(e.err + e.out, "Lernen and Pruefen hold the same folders, such as neg and pos"));
  }
  CHECK_FALSE(fs::exists(folder.path("none")));
}

TEST_CASE("a class that a test folder lacks is absent: the rest is counted") {
  const TempFolder folder;
  const std::string model = folder.path("model.safetensors"), data = folder.path("data");
  save_model(model, {"neg", "pos"});
  save_classes(data, 6, 1);
  fs::remove_all(data + "/pos");
  for (const bool empty_folder : {false, true}) {
    if (empty_folder) fs::create_directories(data + "/pos");
    const Ended e = fulmar_program({"eval", model, data, "--json"});
    CHECK(e.code == 0);
    CHECK(has(e.err, data + ": there is no picture of the class 'pos': its recall and F1 are "
                            "undefined"));
    const Json json = Json::parse(e.out);
    CHECK(json["absent"] == Json{"pos"});
    for (const char* key : {"f1", "macro_f1", "roc_auc", "pr_auc"}) CHECK(json[key].is_null());
    for (const char* key : {"recall", "f1", "roc_auc"})
      CHECK(json["classes"]["pos"][key].is_null());
    CHECK(json["classes"]["pos"]["support"] == 0);
    const int64_t right = json["confusion"][0][0], alarms = json["confusion"][0][1];
    CHECK(right + alarms == 6);
    CHECK(json["confusion"][1] == Json{0, 0});
    CHECK(json["accuracy"].get<double>() == doctest::Approx(static_cast<double>(right) / 6));
    CHECK(json["classes"]["neg"]["recall"] == json["accuracy"]);
    CHECK(json["classes"]["pos"]["precision"] == (alarms > 0 ? Json(0.0) : Json(nullptr)));
  }
  const Ended text = fulmar_program({"eval", model, data, "--report-file", folder.path("r.html")});
  CHECK(text.code == 0);
  CHECK(has(text.out, "f1              - of pos"));
  fs::remove_all(data + "/neg");
  const Ended none = fulmar_program({"eval", model, data});
  CHECK(none.code == 3);
  CHECK(has(none.err, "none of its class folders holds pictures"));
}

TEST_CASE("Sentinel-1's names: scenes are told, and how they split") {
  const TempFolder folder;
  const auto product = [&](const std::string& data, int i, bool pos, int mission) {
    const std::string day = std::to_string(20190101 + i);
    save_picture(folder.path(data) + (pos ? "/pos/" : "/neg/") + (mission == 0 ? "S1A" : "S1B") +
                     "_EW_GRDM_1SDH_" + day + "T010412_" + day + "T010512_025291_02EF07_" +
                     (pos ? "p" : "n") + ".bmp",
                 16, static_cast<uint32_t>(2 * i + (pos ? 1 : 0)));
  };
  for (int i = 0; i < 20; i++)
    for (const bool pos : {false, true}) {
      product("both", i, pos, i % 3 == 0 ? 1 : 0);
      product("one", i, pos, 0);
    }
  for (const std::string name : {"both", "one"}) {
    const Ended e =
        trained(training(folder.path(name), folder.path("run-" + name), {"--validation", "0.2"}));
    CHECK(has(e.err, "training on 32 pictures"));
    CHECK(has(e.err, "validating on 8"));
    CHECK_MESSAGE(has(e.err, "16 scenes of 2 pictures to train on; 4 scenes: "), e.err);
    CHECK_FALSE(has(e.err, "asked for"));
  }
  // By what is before the first _ there are but two, and the share is missed.
  const std::vector<std::string> prefix{"--validation", "0.2", "--scenes", "prefix"};
  const Ended two = trained(training(folder.path("both"), folder.path("run-two"), prefix));
  CHECK(has(two.err, "--validation: 35 % are held out, not the 20 % asked for"));
  CHECK(has(two.err, "1 scene: S1A 26 to train on; 1 scene: S1B 14 to validate on"));
  const Ended one = fulmar_program(training(folder.path("one"), folder.path("run-1"), prefix));
  CHECK(one.code == 2);
  CHECK(has(one.err,
            "none can be held out: they belong to too few scenes, which stay whole (1 "
            "scene: S1A 40); --scenes file makes each picture its own"));
  // check says so before.
  const Ended check = fulmar_program({"check", folder.path("one"), "--scenes", "prefix"});
  CHECK(check.code == 0);
  for (const char* part : {"1 scene: S1A 40 to train on", "nothing is wrong; noted is:",
                           "--validation and --test would be refused", "--scenes file makes"})
    CHECK_MESSAGE(has(check.out, part), check.out);
  const Ended sound = fulmar_program({"check", folder.path("one")});
  CHECK(has(sound.out, "20 scenes of 2 pictures to train on"));
  CHECK(has(sound.out, "nothing is wrong\n"));

  // A scene on both sides: one, and the way out.
  fs::create_directories(folder.path("parts"));
  fs::rename(folder.path("both"), folder.path("parts/train"));
  product("parts/test", 0, true, 1);
  product("parts/test", 50, false, 1);
  const Ended shared = fulmar_program({"check", folder.path("parts")});
  CHECK(shared.code == 3);
  CHECK(has(shared.out,
            "1 scene in train and test: move each to one side, or say with --scenes "
            "file that each picture is its own\n  S1B_20190101T010412_02EF07: "));

  // The class's name and a number tell no scenes.
  for (uint32_t i = 0; i < 40; i++) {
    const std::string name = i % 2 ? "pos" : "neg";
    save_picture(
        folder.path("counted/") + name + "/" + name + "_" + std::to_string(1000 + i) + ".bmp", 16,
        i);
  }
  const Ended counted =
      trained(training(folder.path("counted"), folder.path("run-c"), {"--validation", "0.2"}));
  CHECK(has(counted.err, "validating on 8"));
}

TEST_CASE("a run or a cache in the dataset's folder is no class") {
  const TrainingFiles files;
  const std::string run = files.data + "/run";
  trained(training(files.data, run));
  const auto left_out = [&](const Ended& e) {
    CHECK_MESSAGE(e.code == 0, e.err);
    CHECK(has(e.err, "of a training is left out: " + run));
  };
  left_out(fulmar_program({"train", "--out", run, "--resume"}));
  left_out(fulmar_program({"eval", run + "/best.safetensors", files.data}));
  left_out(fulmar_program(
      training(files.data, files.run, {"--cache", files.data + "/cache", "--seeds", "2"})));
  const Ended third = trained(training(files.data, files.data + "/more", {"--seeds", "2"}));
  CHECK(has(third.err, "3 runs or caches of trainings are left out"));
  const Json check = Json::parse(fulmar_program({"check", files.data, "--json"}).out);
  CHECK(check["ok"] == true);
  CHECK(check["made_by_training"] == Json{files.data + "/cache", files.data + "/more", run});
}

TEST_CASE("what lies beside rasters is left out, copies by name and once") {
  const TempFolder folder;
  const std::string data = folder.path("data");
  for (const std::string name : {"neg", "pos"}) {
    fs::create_directories(data + "/" + name);
    for (int i = 0; i < 4; i++) {
      const std::string path = data + "/" + name + "/s" + std::to_string(i) + ".tif";
      write_raster(path, 16, 16, 1, [&](int64_t row, int64_t column, int64_t) {
        return -20 + static_cast<double>((row * 7 + column * (i + 3)) % (name == "pos" ? 11 : 13));
      });
      for (const char* end : {".ovr", ".msk", ".bak"}) fs::copy_file(path, path + end);
      fs::copy_file(path, data + "/" + name + "/s" + std::to_string(i) + "_copy.TIF~");
      for (const char* end : {".aux.xml", ".md5"}) write_file(path + end, "<PAMDataset/>");
    }
  }
  const Ended e = trained(training(data, folder.path("run")));
  CHECK(has(e.err, "training on 8 pictures"));
  CHECK(has(e.err, "16 copies or leavings of editors, file managers or downloads are left out: " +
                       data + "/neg/s0.tif.bak, " + data + "/neg/s0_copy.TIF~, " + data +
                       "/neg/s1.tif.bak and 13 more"));
  CHECK(count_of(e.err, ".bak") == 2);
  const Json check = Json::parse(fulmar_program({"check", data, "--json"}).out);
  CHECK(check["ok"] == true);
  CHECK(check["copies"].size() == 16);
  CHECK(check["sizes"][0]["pictures"] == 8);
}

TEST_CASE("thousands of equal tiles without data are counted, not listed") {
  const TempFolder folder;
  const std::string data = folder.path("data");
  for (const std::string name : {"a", "b", "c"}) {
    fs::create_directories(data + "/" + name);
    for (int i = 0; i < 670; i++)
      write_bitmap(data + "/" + name + "/empty" + std::to_string(1000 + i) + ".bmp", 4, 4,
                   [](int row, int column) { return row == column ? 0x010101u : 0u; });
    for (uint32_t i = 0; i < 8; i++)
      save_picture(data + "/" + name + "/" + std::to_string(i) + ".bmp", 4,
                   i + 100 * static_cast<uint32_t>(name[0]));
  }
  // And a pair that shows something.
  for (const std::string name : {"a", "b"}) save_picture(data + "/" + name + "/pair.bmp", 4, 77);
  const Ended e = fulmar_program({"check", data});
  CHECK(e.code == 3);
  CHECK_MESSAGE(e.out.size() < 3000, e.out);
  for (const std::string part :
       {"2,010 pictures are constant but for noise, with values from 0 to 1 (no data?)",
        "/a: 670 of 679", "/c: 670 of 678", "empty1002.bmp and 2,007 more",
        "1 group of equal pictures with two labels", "a/pair.bmp = "})
    CHECK_MESSAGE(has(e.out, part), e.out);
  const Json json = Json::parse(fulmar_program({"check", data, "--json"}).out);
  CHECK(json["constant"].size() == 2010);
  CHECK(json["two_labels"].size() == 2);
  CHECK(json["parts"][0]["classes"]["a"]["constant"] == 670);
  CHECK(json["parts"][0]["classes"]["a"]["wholly_black"] == 0);

  const std::string run = folder.path("run");
  const Ended training = trained({"train", data, "--out", run, "--crop", "4", "--widths", "4",
                                  "--batch", "32", "--epochs", "1"});
  CHECK(has(training.err, "2,010 pictures are constant but for noise"));
  CHECK(has(training.err, "1 group of equal pictures with two labels, such as "));
  CHECK(training.err.size() < 4000);
  const std::string page = contents(run + "/report.html");
  CHECK(has(page, "Pictures that are constant but for noise (no data?)"));
  CHECK(has(page, "670 of a in training"));
  CHECK_FALSE(has(page, "empty1000.bmp"));
}
