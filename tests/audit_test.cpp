#include "data/audit.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>

#include "engine/io/file.h"
#include "tests/support/bitmap.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::data;

namespace {

namespace fs = std::filesystem;

class Tree : public test::TempFolder {
 public:
  // The top `black` of 10 rows are black.
  void add(const std::string& name, uint32_t colour, int black = 0) const {
    fs::create_directories(fs::path(path(name)).parent_path());
    test::write_bitmap(path(name), 10, 4, [&](int row, int) { return row < black ? 0u : colour; });
  }
  Audit audit() const {
    ThreadPool pool(2);
    return audit_folder(survey_folder(path()), {}, pool);
  }
};

std::unique_ptr<Tree> sound() {
  auto tree = std::make_unique<Tree>();
  tree->add("train/neg/a_1.bmp", 0x010203);
  tree->add("train/neg/a_2.bmp", 0x010204, 5);
  tree->add("train/pos/b_1.bmp", 0x010205, 10);
  tree->add("test/neg/c_1.bmp", 0x010206);
  tree->add("test/pos/own.bmp", 0x010207);
  tree->add("train/pos/own.bmp", 0x010208);
  return tree;
}

}  // namespace

TEST_CASE("a sound dataset has counts, formats, black fractions and no faults") {
  const auto tree = sound();
  write_file(tree->path("train/neg/notes.txt"), "x");
  const Audit audit = tree->audit();
  CHECK_FALSE(audit.has_faults());
  REQUIRE(audit.parts.size() == 2);
  CHECK(audit.parts[0].folder == tree->path("train"));
  REQUIRE(audit.parts[0].classes.size() == 2);
  const Audit::Class &neg = audit.parts[0].classes[0], &pos = audit.parts[0].classes[1];
  CHECK(neg.name == "neg");
  CHECK(neg.pictures == 2);
  CHECK(neg.black_fraction == doctest::Approx(.25));
  CHECK(neg.wholly_black == 0);
  CHECK(pos.pictures == 2);
  CHECK(pos.black_fraction == doctest::Approx(.5));
  CHECK(pos.wholly_black == 1);
  REQUIRE(audit.formats.size() == 1);
  CHECK(audit.formats[0].header.height == 10);
  CHECK(audit.formats[0].header.width == 4);
  CHECK(audit.formats[0].header.bands == 3);
  CHECK(audit.formats[0].pictures == 6);
  CHECK(audit.left_out.stray == Audit::Paths{tree->path("train/neg/notes.txt")});
  CHECK(audit.shared_scenes.empty());  // own.bmp is a scene of its own in both
}

TEST_CASE("faults are found, each by name") {
  SUBCASE("unreadable") {
    const auto tree = sound();
    const std::string path = tree->path("test/neg/c_1.bmp");
    write_file(path, read_file(path, 1 << 20).substr(0, 60));
    write_file(tree->path("train/pos/text.png"), "words");
    const Audit audit = tree->audit();
    CHECK(audit.has_faults());
    REQUIRE(audit.unreadable.size() == 2);
    CHECK(audit.unreadable[0].path == tree->path("train/pos/text.png"));
    CHECK(audit.unreadable[1].path == path);
    CHECK(audit.unreadable[1].reason.find(path) == 0);
    CHECK(audit.parts[1].classes[0].pictures == 1);
  }
  SUBCASE("equal pictures with two labels") {
    const auto tree = sound();
    tree->add("train/neg/d.bmp", 0x505050);
    tree->add("train/pos/e.bmp", 0x505050);
    const Audit audit = tree->audit();
    CHECK(audit.has_faults());
    REQUIRE(audit.two_labels.size() == 1);
    CHECK(audit.two_labels[0] ==
          Audit::Paths{tree->path("train/neg/d.bmp"), tree->path("train/pos/e.bmp")});
    CHECK(audit.in_both_parts.empty());
  }
  SUBCASE("a grey picture equals the same one stored as RGB") {
    const Tree tree;
    for (const std::string name : {"a/x.png", "b/y.bmp", "b/z.png"})
      fs::create_directories(fs::path(tree.path(name)).parent_path());
    fs::copy_file(test::golden("images/grey.bmp"), tree.path("b/y.bmp"));
    fs::copy_file(test::golden("images/colour_as_grey.png"), tree.path("a/x.png"));
    fs::copy_file(test::golden("images/colour.png"), tree.path("b/z.png"));
    const Audit audit = tree.audit();
    REQUIRE(audit.two_labels.size() == 1);
    CHECK(audit.two_labels[0] == Audit::Paths{tree.path("a/x.png"), tree.path("b/y.bmp")});
    CHECK(audit.formats.size() == 2);
  }
  SUBCASE("equal pictures in train and test, or twice in a class") {
    const auto tree = sound();
    tree->add("test/neg/again.bmp", 0x010203);
    tree->add("test/pos/once.bmp", 0x707070);
    tree->add("test/pos/twice.bmp", 0x707070);
    const Audit audit = tree->audit();
    CHECK(audit.has_faults());
    REQUIRE(audit.in_both_parts.size() == 1);
    CHECK(audit.in_both_parts[0] ==
          Audit::Paths{tree->path("train/neg/a_1.bmp"), tree->path("test/neg/again.bmp")});
    CHECK(audit.two_labels.empty());
    REQUIRE(audit.repeated.size() == 1);
    CHECK(audit.repeated[0].size() == 2);
  }
  SUBCASE("a scene on both sides") {
    const auto tree = sound();
    tree->add("test/pos/a_9.bmp", 0x808080);
    const Audit audit = tree->audit();
    CHECK(audit.has_faults());
    REQUIRE(audit.shared_scenes.size() == 1);
    CHECK(audit.shared_scenes[0].scene == "a");
    CHECK(audit.shared_scenes[0].parts[0].size() == 2);
    CHECK(audit.shared_scenes[0].parts[1] == Audit::Paths{tree->path("test/pos/a_9.bmp")});
  }
  SUBCASE("types that don't go together") {
    const auto tree = sound();
    fs::copy_file(test::golden("../fuzz/corpus/image/wide.png"), tree->path("test/pos/wide.png"));
    const Audit audit = tree->audit();
    CHECK(audit.mixed_types);
    CHECK(audit.has_faults());
    CHECK(audit.formats.size() == 2);
    CHECK(audit.formats[0].pictures == 6);
  }
}

TEST_CASE("each band has its range, mean and deviation over what isn't missing") {
  const auto tree = sound();
  const Audit audit = tree->audit();
  REQUIRE(audit.values.size() == 1);
  CHECK(audit.values[0].type == DType::u8);
  REQUIRE(audit.values[0].bands.size() == 3);
  const Audit::Band& green = audit.values[0].bands[1];  // 180 times 2, and 60 black ones
  CHECK(green.values == 240);
  CHECK(green.low == 0);
  CHECK(green.high == 2);
  CHECK(green.mean == doctest::Approx(1.5));
  CHECK(green.deviation == doctest::Approx(std::sqrt(.75)));
}

TEST_CASE("the real chips are sound") {
  const auto folder = test::test_data("mstar10/MSTAR-10");
  if (!folder) {
    MESSAGE("skipped: no mstar10");
    return;
  }
  ThreadPool pool(2);
  const Audit audit = audit_folder(survey_folder(*folder), {}, pool);
  CHECK(audit.unreadable.empty());
  CHECK(audit.two_labels.empty());
  CHECK(audit.in_both_parts.empty());
  CHECK(audit.shared_scenes.empty());
  CHECK(audit.formats.size() == 6);
  CHECK(audit.formats[0].header.height == 128);
  CHECK(audit.formats[0].header.width == 128);
}
