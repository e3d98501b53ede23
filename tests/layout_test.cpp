// Datasets as people lay them out, and names as they have them.
#include <doctest/doctest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/folder_layout.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::data;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

class Tree : public test::TempFolder {
 public:
  explicit Tree(const Names& names = {}) {
    for (const std::string& name : names) add(name);
  }
  // An empty file that passes for a picture by its name; scanning doesn't open those.
  void add(const std::string& name, const std::string& text = "") const {
    fs::create_directories(fs::path(path(name)).parent_path());
    write_file(path(name), text);
  }
  // Two classes with pictures in a folder.
  void add_classes(const std::string& folder, int of_each = 2) const {
    for (const std::string name : {"neg", "pos"})
      for (int i = 0; i < of_each; i++) add(folder + "/" + name + "/" + std::to_string(i) + ".png");
  }
};

// Scenes by picture, of the training part.
std::vector<std::string> scenes(const Tree& tree, SceneRule rule = SceneRule::name) {
  std::vector<std::string> all;
  for (const Sample& sample : survey_folder(tree.path(), rule).train.samples)
    all.push_back(sample.scene);
  return all;
}

}  // namespace

TEST_CASE("parts by the names that people give them") {
  struct Row {
    const char *train, *other;
    Part part;
  };
  const std::vector<Row> rows{
      {"train", "val", Part::validation},           {"train", "valid", Part::validation},
      {"train", "Validation", Part::validation},    {"Train", "Test", Part::test},
      {"training", "validation", Part::validation}, {"TRAIN", "VAL", Part::validation},
      {"seg_train", "seg_test", Part::test},        {"train_set", "test_set", Part::test},
      {"train2017", "val2017", Part::validation},   {"Training Data", "Testing Data", Part::test},
      {"trainset", "testset", Part::test}};
  for (const Row& row : rows) {
    CAPTURE(row.train);
    CAPTURE(row.other);
    const Tree tree;
    tree.add_classes(row.train);
    tree.add_classes(row.other);
    const Folder found = survey_folder(tree.path());
    CHECK(found.faults.empty());
    CHECK(found.train.classes == Names{"neg", "pos"});
    CHECK(found.train.folder == tree.path(row.train));
    const auto& other = row.part == Part::test ? found.test : found.validation;
    REQUIRE(other);
    CHECK(other->folder == tree.path(row.other));
    CHECK(other->class_counts() == std::vector<int64_t>{2, 2});
    CHECK(found.parts().size() == 2);
    const Folder scanned = scan_folder(tree.path());
    CHECK_FALSE(scanned.test);
    CHECK(scanned.validation.has_value() == (row.part == Part::validation));
    CHECK(scanned.test_folder == (row.part == Part::test ? tree.path(row.other) : ""));
    if (row.part == Part::test)
      CHECK(scan_for_classes(tree.path(), found.train.classes).folder == tree.path(row.other));
  }
}

TEST_CASE("words that only look like parts are classes") {
  const Tree tree({"training_ship/a.png", "tank/b.png", "testbed/2019/c.png", "valley/d.png"});
  CHECK(scan_folder(tree.path()).train.classes ==
        Names{"tank", "testbed", "training_ship", "valley"});
  const Tree deep({"neg/2019/a.png", "neg/2020/b.png", "pos/2019/c.png", "pos/2020/d.png"});
  CHECK(scan_folder(deep.path()).train.classes == Names{"neg", "pos"});
}

TEST_CASE("folders of the same folders are never trained on as classes") {
  const auto refused = [](const Tree& tree, const std::string& part) {
    const std::string message = error_of(ErrorKind::file, [&] { scan_folder(tree.path()); });
    CHECK_MESSAGE(has(message, part), message);
    const Folder survey = survey_folder(tree.path());
    REQUIRE_FALSE(survey.faults.empty());
    CHECK(has(survey.faults.front(), part));
  };
  Tree learn;
  learn.add_classes("learn");
  learn.add_classes("proof");
  refused(learn, "learn and proof hold the same folders, such as neg and pos");
  learn.add("proof/rare/a.png");
  refused(learn, "learn and proof hold the same folders");
  const Tree digits({"a/0/x.png", "a/1/x.png", "b/0/x.png", "b/1/x.png"});
  refused(digits, "such as 0 and 1");
  Tree years;
  years.add_classes("2019");
  years.add_classes("2020");
  refused(years, "2019 and 2020 hold the same folders");
  Tree lone;
  lone.add_classes("val");
  lone.add_classes("test");
  refused(lone, "no training part");
  Tree beside({"neg/a.png", "pos/b.png"});
  beside.add_classes("test");
  refused(beside, "test is a part of a dataset by its name");
  Tree twice;
  for (const char* name : {"Train", "training", "test"}) twice.add_classes(name);
  refused(twice, "by its name the training part, as is Train");
  Tree two;
  for (const char* name : {"train", "val", "valid"}) two.add_classes(name);
  refused(two, "by its name the validation part");
  // An exact name is the part, whatever else is called alike.
  Tree old;
  for (const char* name : {"train", "test", "Train_old", "test_old"}) old.add_classes(name);
  CHECK(scan_folder(old.path()).train.folder == old.path("train"));
  CHECK(has(error_of(ErrorKind::file,
                     [&] {
                       scan_for_classes(two.path(), Names{"neg", "pos"});
                     }),
            "no test part"));
}

TEST_CASE("a validation part has the classes of train, and may lack one") {
  Tree tree;
  tree.add_classes("train");
  tree.add("val/pos/a.png");
  fs::create_directories(tree.path("val/neg"));
  Folder found = scan_folder(tree.path());
  REQUIRE(found.validation);
  CHECK(found.validation->class_counts() == std::vector<int64_t>{0, 1});
  CHECK(found.validation->labels() == std::vector<int32_t>{1});
  REQUIRE(found.notes.size() == 1);
  CHECK(has(found.notes[0], "val: there is no picture of the class 'neg'"));
  tree.add("val/Pos/b.png");
  CHECK(has(error_of(ErrorKind::file, [&] { scan_folder(tree.path()); }),
            "'Pos' is not one of the classes of " + tree.path("train") +
                "; 'pos' is, which is "
                "the same but for case"));
}

TEST_CASE("what editors, file managers, downloads and trainings leave is no picture and no class") {
  const Tree tree({"neg/a.png", "neg/a.png~", "neg/._a.png", "neg/b.png.bak",
                   "neg/@eaDir/a.png/x.png", "neg/c.png.crdownload", "neg/d.part", "neg/Thumbs.db",
                   "neg/.DS_Store", "neg/a copy.png", "pos/e.png", "pos.bak/e.png",
                   "@eaDir/neg/a.png", "__MACOSX/neg/a.png", "pos/notes.txt"});
  tree.add("run/config.json", R"({"fulmar": "0.1", "dataset": "/data"})");
  tree.add("run/picture.png");
  tree.add("seeds/seed-1/config.json", R"({"fulmar": "0.1", "dataset": "/data"})");
  tree.add("cache/pictures-0123.fulmarpack");
  tree.add("begun/run.lock");
  const Folder found = scan_folder(tree.path());
  CHECK(found.train.classes == Names{"neg", "pos"});
  CHECK(found.train.class_counts() == std::vector<int64_t>{2, 1});
  CHECK(found.stray == Names{tree.path("pos/notes.txt")});
  CHECK(found.made ==
        Names{tree.path("begun"), tree.path("cache"), tree.path("run"), tree.path("seeds")});
  CHECK(std::set<std::string>(found.copies.begin(), found.copies.end()) ==
        std::set<std::string>{
            tree.path("@eaDir"), tree.path("__MACOSX"), tree.path("neg/.DS_Store"),
            tree.path("neg/._a.png"), tree.path("neg/@eaDir"), tree.path("neg/Thumbs.db"),
            tree.path("neg/a.png~"), tree.path("neg/b.png.bak"), tree.path("neg/c.png.crdownload"),
            tree.path("neg/d.part"), tree.path("pos.bak")});
  CHECK(list_pictures(Names{tree.path("neg")}).size() == 2);
  CHECK(scan_for_classes(tree.path(), found.train.classes).samples.size() == 3);
  // A configuration of something else makes a folder no run.
  tree.add("new/config.json", R"({"name": "x"})");
  CHECK(has(error_of(ErrorKind::file, [&] { scan_folder(tree.path()); }), tree.path("new")));
}

TEST_CASE("Sentinel-1's names tell satellite, start and data take") {
  const std::string scene = "S1A_20190101T010412_02EF07";
  for (const char* name :
       {"S1A_IW_GRDH_1SDV_20190101T010412_20190101T010437_025291_02EF07_CC2C",
        "S1A_IW_GRDH_1SDV_20190101T010412_20190101T010437_025291_02EF07_CC2C_tile_3_4.png",
        "S1A_WV_SLC__1SSV_20190101T010412_20190101T010437_025291_02EF07_CC2C.SAFE",
        "pos-S1A_EW_GRDM_1SDH_20190101T010412_20190101T010512_025291_02EF07_CC2C.tif",
        "s1a-iw-grd-vv-20190101t010412-20190101t010437-025291-02ef07-001.tiff",
        "s1a-iw1-slc-vh-20190101t010412-20190101t010437-025291-02ef07-004_crop12.png",
        "S1A_20190101T010412_02EF07.png"}) {
    CAPTURE(name);
    const bool short_name = std::string(name).size() < 40;
    CHECK(sentinel1_scene(name) == (short_name ? "S1A_20190101T010412" : scene));
  }
  CHECK(sentinel1_scene("S1B_IW_GRDH_1SDV_20180204T043253_35VPK_57_38_VV.tif") ==
        "S1B_20180204T043253");
  CHECK(sentinel1_scene("S1A__IW___A_20150222T170750_VV_grd_mli_norm_geo_db.tif") ==
        "S1A_20150222T170750");
  CHECK(sentinel1_scene("S1C_20260101_12.png") == "S1C_20260101");
  for (const char* name : {"S1A_0001.png", "cffe42_20191012T084028_20191012T084212_mos_rgb.png",
                           "Spain_7370579_S1Hand.tif", "S1A_20191301T010412.png", "s1_a.png", ""})
    CHECK(sentinel1_scene(name).empty());
}

TEST_CASE("names of no scheme: what is before the first _, unless that tells nothing") {
  const Tree paper({"neg/cffe42_20191012T084028_20191012T084212_mos_rgb.png",
                    "neg/cffe42_20191012T084028_20191012T084212_mos_b.png",
                    "neg/cffe42_20191012T084028_20191012T084212_mos_c.png", "pos/plain.png"});
  CHECK(scenes(paper) == Names{"cffe42", "cffe42", "cffe42", "pos/plain.png"});
  const Tree numbered(
      {"neg/neg_0001.png", "neg/Neg_0002.png", "pos/IMG_1.png", "pos/IMG_2.png", "pos/IMG_3.png"});
  CHECK(scenes(numbered) == Names{"neg/Neg_0002.png", "neg/neg_0001.png", "pos/IMG_1.png",
                                  "pos/IMG_2.png", "pos/IMG_3.png"});
  CHECK(scenes(numbered, SceneRule::prefix) == Names{"Neg", "neg", "IMG", "IMG", "IMG"});
  const Tree areas({"neg/north_1.png", "neg/north_2.png", "neg/south_3.png", "pos/S1A_1.png"});
  CHECK(scenes(areas) == Names{"north", "north", "south", "pos/S1A_1.png"});
  // Tiles in the folder of their product.
  const std::string product = "S1B_EW_GRDM_1SDH_20190101T010412_20190101T010512_025291_02EF07_CC2C";
  const Tree tiles({"neg/" + product + "/tile_1.png", "pos/" + product + "/tile_2.png"});
  CHECK(scenes(tiles) == Names(2, "S1B_20190101T010412_02EF07"));
  CHECK(scenes(tiles, SceneRule::file) ==
        Names{"neg/" + product + "/tile_1.png", "pos/" + product + "/tile_2.png"});
  CHECK(error_of(ErrorKind::usage, [] { scene_rule_named("none"); }) ==
        "--scenes takes name, prefix or file, not 'none'");
}

TEST_CASE("scenes and how they split are told in words") {
  Dataset dataset;
  dataset.classes = {"a"};
  CHECK(describe_scenes(dataset) == "0 scenes");
  const auto add = [&](const std::string& scene, int count) {
    for (int i = 0; i < count; i++) dataset.samples.push_back({"", "", 0, scene});
  };
  add("S1B", 6);
  CHECK(describe_scenes(dataset) == "1 scene: S1B 6");
  add("S1A", 24);
  CHECK(describe_scenes(dataset) == "2 scenes: S1A 24, S1B 6");
  for (int i = 0; i < 5; i++) add("more" + std::to_string(i), 6);
  CHECK(describe_scenes(dataset) == "7 scenes of 6 to 24 pictures");
  dataset.samples.clear();
  for (int i = 0; i < 30; i++) add(std::to_string(i), 1);
  CHECK(describe_scenes(dataset) == "30 scenes, each a single picture");
}

TEST_CASE("a share far from the one asked for is told") {
  Dataset dataset;
  dataset.classes = {"neg", "pos"};
  const auto add = [&](const std::string& scene, int32_t label, int count) {
    for (int i = 0; i < count; i++) dataset.samples.push_back({"", "", label, scene});
  };
  for (int32_t label = 0; label < 2; label++) {
    add("S1A", label, 14);
    add("S1B", label, 6);
  }
  const std::string missed = missed_share(split_dataset(dataset, .2, 0), .2);
  CHECK(has(missed, "30 % are held out, not the 20 % asked for (6 of 20 neg, 6 of 20 pos)"));
  CHECK(has(missed, "--scenes file"));
  for (size_t i = 0; i < dataset.samples.size(); i++) dataset.samples[i].scene = std::to_string(i);
  CHECK(missed_share(split_dataset(dataset, .2, 0), .2).empty());
}

TEST_CASE("names of classes that differ in case or accents' form alone are told") {
  CHECK(folded_name("Sj\xC3\xB8") == folded_name("sj\xC3\xB8"));
  CHECK(folded_name("caf\xC3\xA9") == folded_name("CAFE\xCC\x81"));  // NFC, NFD
  CHECK(folded_name("\xC3\x85") == folded_name("a\xCC\x8A"));
  CHECK(folded_name("\xC7\x98") == folded_name("u\xCC\x88\xCC\x81"));  // two accents
  CHECK(folded_name("\xD0\x9B\xD1\x91\xD0\xB4") == folded_name("\xD0\xBB\xD1\x91\xD0\xB4"));
  CHECK(folded_name(" pos ") == "pos");
  CHECK(folded_name("cafe") != folded_name("caf\xC3\xA9"));
  CHECK_FALSE(folded_name("\xFF\xE2\x82").empty());  // no UTF-8: told elsewhere
  const Tree tree({"Pos/a.png", "pos/b.png", "caf\xC3\xA9/a.png", "cafe\xCC\x81/b.png"});
  const Folder found = scan_folder(tree.path());
  CHECK(found.train.classes.size() == 4);
  REQUIRE(found.notes.size() == 2);
  CHECK(has(found.notes[1], "the class 'pos' is one by itself, and 'Pos' is"));
  const Tree other({"neg/a.png", "POS/b.png"});
  CHECK(has(error_of(ErrorKind::file,
                     [&] {
                       scan_for_classes(other.path(), Names{"neg", "pos"});
                     }),
            "'pos' is, which is the same but for case"));
}
