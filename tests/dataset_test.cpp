#include "data/dataset.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::data;
using fulmar::test::has;

namespace {

class Tree : public test::TempFolder {
 public:
  // An empty file that passes for a picture by its name; scanning doesn't open those.
  void add(const std::string& name) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    write_file(path(name), "");
  }
  void add(const std::string& folder, const std::string& scene, int count) const {
    for (int i = 0; i < count; i++) add(folder + "/" + scene + "_" + std::to_string(i) + ".png");
  }
};

std::string refusal(const std::string& folder) {
  try {
    const Folder found = survey_folder(folder);
    REQUIRE(!found.faults.empty());
    return found.faults.front();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::file);
    return error.what();
  }
}

Dataset dataset_of(const std::vector<std::pair<std::string, int32_t>>& scenes, int32_t classes) {
  Dataset dataset;
  for (int32_t c = 0; c < classes; c++) dataset.classes.push_back("c" + std::to_string(c));
  for (const auto& [scene, label] : scenes) {
    const std::string name = scene + "_" + std::to_string(dataset.samples.size());
    dataset.samples.push_back({name, name, label, scene});
  }
  return dataset;
}

std::set<std::string> scenes_of(const Dataset& dataset) {
  std::set<std::string> scenes;
  for (const Sample& sample : dataset.samples) scenes.insert(sample.scene);
  return scenes;
}

}  // namespace

TEST_CASE("train and test folders, classes by name, stray files noted") {
  const Tree tree;
  tree.add("train/zebra/a_1.png");
  tree.add("train/zebra/deep/b.JPG");
  tree.add("train/ape/c_x_y.bmp");
  tree.add("train/ape/notes.txt");
  tree.add("train/.DS_Store");
  tree.add("test/ape/d.png");
  tree.add("test/zebra/e.png");
  tree.add("README");
  const Folder found = survey_folder(tree.path());
  CHECK(found.faults.empty());
  CHECK(found.train.classes == std::vector<std::string>{"ape", "zebra"});
  REQUIRE(found.train.samples.size() == 3);
  CHECK(found.train.samples[0].name == "ape/c_x_y.bmp");
  CHECK(found.train.samples[0].path == tree.path("train/ape/c_x_y.bmp"));
  CHECK(found.train.samples[0].label == 0);
  CHECK(found.train.samples[0].scene == "c");
  CHECK(found.train.samples[1].scene == "a");
  CHECK(found.train.samples[2].name == "zebra/deep/b.JPG");
  CHECK(found.train.samples[2].scene == "zebra/deep/b.JPG");  // a scene of its own
  CHECK(found.train.labels() == std::vector<int32_t>{0, 1, 1});
  CHECK(found.train.class_counts() == std::vector<int64_t>{1, 2});
  REQUIRE(found.test);
  CHECK(found.test->samples.size() == 2);
  CHECK(found.stray ==
        std::vector<std::string>{tree.path("train/ape/notes.txt"), tree.path("README")});
  CHECK(found.copies == std::vector<std::string>{tree.path("train/.DS_Store")});
  CHECK(scan_folder(tree.path(), SceneRule::file).train.samples[0].scene == "ape/c_x_y.bmp");
}

TEST_CASE("one folder of classes") {
  const Tree tree;
  tree.add("neg/a.png");
  tree.add("pos/b.png");
  const Folder found = scan_folder(tree.path());
  CHECK_FALSE(found.test);
  CHECK(found.train.folder == tree.path());
  CHECK(found.train.samples.size() == 2);
}

TEST_CASE("a fingerprint tells names and labels") {
  const Tree tree;
  tree.add("neg/a.png");
  tree.add("pos/b.png");
  Dataset dataset = scan_folder(tree.path()).train;
  const uint64_t before = dataset.fingerprint();
  CHECK(scan_folder(tree.path()).train.fingerprint() == before);
  dataset.samples[0].label = 1;
  CHECK(dataset.fingerprint() != before);
  tree.add("neg/c.png");
  CHECK(scan_folder(tree.path()).train.fingerprint() != before);
}

TEST_CASE("folders that are no dataset are refused, with what is expected") {
  const Tree tree;
  CHECK(has(refusal(tree.path("absent")), tree.path("absent") + ": no such folder"));
  CHECK(has(refusal(tree.path()), "no class folders; expected are"));
  tree.add("pos/a.png");
  CHECK(has(refusal(tree.path("pos/a.png")), "not a folder"));
  CHECK(has(refusal(tree.path()), "only the class 'pos'"));
  tree.add("neg/readme.txt");
  CHECK(has(refusal(tree.path()), tree.path("neg") + ": the class folder holds no pictures"));

  const Tree parted;
  parted.add("train/neg/a.png");
  parted.add("train/pos/b.png");
  parted.add("test/neg/c.png");
  const std::vector<std::string> notes = survey_folder(parted.path()).notes;
  REQUIRE(notes.size() == 1);
  CHECK(has(notes[0], parted.path("test") + ": there is no picture of the class 'pos'"));
  parted.add("test/pos/d.png");
  parted.add("test/other/e.png");
  CHECK(has(refusal(parted.path()), "'other'"));

  const Tree circle;
  circle.add("pos/a.png");
  std::filesystem::create_directory_symlink(circle.path("pos"), circle.path("pos/again"));
  CHECK(has(refusal(circle.path()), "nested"));
}

TEST_CASE("training looks at train alone; a survey tells every fault and goes on") {
  const Tree tree;
  tree.add("train/neg/a.png");
  tree.add("train/pos/b.png");
  tree.add("train/void/readme.txt");
  tree.add("test/c.png");
  CHECK_THROWS_WITH_AS(scan_folder(tree.path()), doctest::Contains("train/void"), Error);
  Folder found = survey_folder(tree.path());
  REQUIRE(found.faults.size() == 2);
  CHECK(has(found.faults[0], tree.path("train/void")));
  CHECK(has(found.faults[1], tree.path("test") + ": the folder holds no class folders"));
  CHECK(found.train.samples.size() == 2);

  std::filesystem::remove_all(tree.path("train/void"));
  CHECK_FALSE(scan_folder(tree.path()).test);
  CHECK(scan_folder(tree.path()).train.samples.size() == 2);
  std::filesystem::remove_all(tree.path("test"));
  tree.add("test/pos/d.png");
  tree.add("test/other/e.png");
  found = survey_folder(tree.path());
  CHECK(found.faults.size() == 1);  // 'other' is none of train's
  CHECK(found.notes.size() == 1);   // 'neg' is missing
  REQUIRE(found.test);
  CHECK(found.test->classes == std::vector<std::string>{"neg", "pos", "other"});
  CHECK(found.test->labels() == std::vector<int32_t>{1, 2});
}

TEST_CASE("names of classes are UTF-8; links that lead nowhere are stray") {
  const Tree tree;
  tree.add("neg/a.png");
  tree.add("sj\xF8/b.png");
  CHECK_THROWS_WITH_AS(scan_folder(tree.path()), doctest::Contains("not UTF-8"), Error);
  std::filesystem::rename(tree.path("sj\xF8"), tree.path("sj\xC3\xB8"));
  std::filesystem::create_symlink("nowhere", tree.path("neg/broken.txt"));
  const Folder found = scan_folder(tree.path());
  CHECK(found.stray == std::vector<std::string>{tree.path("neg/broken.txt")});
  for (const char* text : {"", "abc", "\xC3\xB8", "\xE2\x82\xAC", "\xF0\x9F\x90\xA6"})
    CHECK(is_utf8(text));
  for (const char* text : {"\xF8", "\xC3", "\xC3(", "\xC0\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80",
                           "\xE0\x80\x80", "\xF4\x90\x80\x80", "a\x80"})
    CHECK_FALSE(is_utf8(text));
}

TEST_CASE("evaluation takes the model's classes and their order") {
  const Tree tree;
  tree.add("test/neg/a.png");
  tree.add("test/pos/b.png");
  tree.add("train/neg/c.png");
  const std::vector<std::string> model{"pos", "neg"};
  const Dataset dataset = scan_for_classes(tree.path(), model);
  CHECK(dataset.classes == model);
  REQUIRE(dataset.samples.size() == 2);
  CHECK(dataset.samples[0].name == "pos/b.png");
  CHECK(dataset.samples[0].label == 0);
  CHECK(dataset.samples[1].label == 1);
  CHECK(scan_for_classes(tree.path("test"), model).samples.size() == 2);
  const std::vector<std::string> other{"pos", "ice"};
  CHECK_THROWS_WITH_AS(scan_for_classes(tree.path(), other), doctest::Contains("'neg'"), Error);
  const std::vector<std::string> more{"pos", "neg", "ice"};
  CHECK(absent_classes(scan_for_classes(tree.path(), more)) == std::vector<std::string>{"ice"});
  std::filesystem::create_directories(tree.path("test/ice"));
  CHECK(absent_classes(scan_for_classes(tree.path(), more)) == std::vector<std::string>{"ice"});
}

TEST_CASE("pictures for prediction are listed by name") {
  const Tree tree;
  tree.add("b/2.png");
  tree.add("b/1.png");
  tree.add("b/x.txt");
  tree.add("a.dat");
  const std::vector<std::string> paths{tree.path("b"), tree.path("a.dat")};
  CHECK(list_pictures(paths) ==
        std::vector<std::string>{tree.path("b/1.png"), tree.path("b/2.png"), tree.path("a.dat")});
  const std::vector<std::string> absent{tree.path("absent")};
  CHECK_THROWS_WITH_AS(list_pictures(absent), doctest::Contains("absent"), Error);
  std::filesystem::create_directory(tree.path("none"));
  const std::vector<std::string> none{tree.path("none")};
  CHECK_THROWS_WITH_AS(list_pictures(none), doctest::Contains("no pictures"), Error);
}

TEST_CASE("a split keeps scenes whole and classes in proportion") {
  std::vector<std::pair<std::string, int32_t>> samples;
  for (int scene = 0; scene < 300; scene++)
    for (int i = 0; i <= scene % 4; i++)
      samples.emplace_back("s" + std::to_string(scene),
                           scene % 7 == 0 || (scene % 5 == 0 && i == 1));
  const Dataset dataset = dataset_of(samples, 2);
  const auto total = dataset.class_counts();
  std::set<std::set<std::string>> different;
  for (uint64_t seed = 0; seed < 20; seed++) {
    const Split split = split_dataset(dataset, .15, seed);
    CHECK(split.train.samples.size() + split.held_out.samples.size() == samples.size());
    const auto held = scenes_of(split.held_out), kept = scenes_of(split.train);
    for (const std::string& scene : held) CHECK(kept.count(scene) == 0);
    for (size_t c = 0; c < 2; c++)
      CHECK(std::abs(static_cast<double>(split.held_out.class_counts()[c]) -
                     .15 * static_cast<double>(total[c])) <= 2);
    CHECK(scenes_of(split_dataset(dataset, .15, seed).held_out) == held);
    different.insert(held);
  }
  CHECK(different.size() == 20);
}

TEST_CASE("small classes have a sample on each side, or the split says why not") {
  const Dataset few = dataset_of({{"a", 0}, {"b", 0}, {"c", 0}, {"d", 1}, {"e", 1}}, 2);
  for (uint64_t seed = 0; seed < 20; seed++)
    CHECK(split_dataset(few, .1, seed).held_out.class_counts() == std::vector<int64_t>{1, 1});
  const Dataset one = dataset_of({{"a", 0}, {"b", 0}, {"c", 1}, {"c", 1}}, 2);
  CHECK_THROWS_WITH_AS(split_dataset(one, .3, 0), doctest::Contains("'c1'"), Error);
  CHECK_THROWS_AS(split_dataset(few, 0, 0), Error);
  CHECK_THROWS_AS(split_dataset(few, 1, 0), Error);
}

TEST_CASE("the real chips: ten classes, each picture its own scene") {
  const auto folder = test::test_data("mstar10/MSTAR-10");
  if (!folder) {
    MESSAGE("skipped: no mstar10");
    return;
  }
  const Folder found = survey_folder(*folder);
  CHECK(found.train.classes.size() == 10);
  CHECK(found.train.samples.size() == 2746);
  REQUIRE(found.test);
  CHECK(found.test->samples.size() == 2425);
  CHECK(found.stray.empty());
  CHECK(scenes_of(found.train).size() == 2746);
  const Split split = split_dataset(found.train, .15, 1);
  for (size_t c = 0; c < 10; c++) {
    const auto count = static_cast<double>(found.train.class_counts()[c]);
    CHECK(split.held_out.class_counts()[c] == std::round(.15 * count));
  }
}
