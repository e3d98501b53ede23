// Bad input through the program: arguments, datasets, pictures, model files.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "tests/support/crc32.h"
#include "tests/support/paths.h"
#include "tests/support/picture_model.h"
#include "tests/support/refusal.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

using Words = std::vector<std::string>;

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A model for pictures of 16 pixels or more, and a dataset of 20 x 20 ones.
struct Files {
  TempFolder folder;
  std::string model = path("model.safetensors"), data = path("data"), run = path("run");

  Files() {
    save_model(model, {"neg", "pos"});
    dataset(data, 20, 20);
  }
  std::string path(const std::string& name) const { return folder.path(name); }
  static void dataset(const std::string& at, int height, int width) {
    for (const char* name : {"neg", "pos"}) {
      std::filesystem::create_directories(at + "/" + name);
      for (int i = 0; i < 4; i++)
        write_bitmap(at + "/" + name + "/" + std::to_string(i) + ".bmp", height, width,
                     [&](int y, int x) {
                       return static_cast<uint32_t>(y * 7919 + x * 104729 + i * 31 + name[0]);
                     });
    }
  }
  Words train(const Words& more) const { return train_on(data, more); }
  Words train_on(const std::string& from, const Words& more = {}) const {
    return Words{"train", from, "--out", run, "--widths", "4,8", "--epochs", "1"} + more;
  }
  void refused(const Words& arguments, int code, const Words& said) const {
    check_refused({arguments, code, said}, folder.path());
  }
};

}  // namespace

TEST_CASE("train: options that can't be, exit 2 and the option's name") {
  const Files f;
  const auto train = [&](const Words& more) {
    return Words{"train", f.data, "--out", f.run} + more;
  };
  const std::vector<Refusal> rows{
      {train({"--crop", "0"}), 2, {"--crop: 0 is not between", "fulmar train --help"}},
      {train({}), 2, {"say with --crop"}},
      {train({"--crop", "16", "--widths", "abc"}), 2, {"--widths: 'abc' is not a whole number"}},
      {train({"--crop", "16", "--widths", ""}), 2, {"--widths: '' is not a whole number"}},
      {train({"--crop", "16", "--epochs", "-1"}), 2, {"--epochs: -1 is not between 1"}},
      {train({"--size", "100", "--crop", "200"}),
       2,
       {"--crop 200 is larger than --size 100", "--pad"}},
      {train({"--size", "100x"}), 2, {"--size takes a number of pixels", "100x"}},
      {train({"--size", "9999999"}), 2, {"--size takes a number of pixels", "9999999"}},
      {train({"--crop", "16", "--channels", "33"}), 2, {"--channels: 33 is not between 1 and 32"}},
      {train({"--crop", "16", "--channels", "2"}), 3, {"it has 3 bands, not 2"}},
      {train({"--crop", "16", "--lr", "1e30"}), 2, {"--lr: 1e30 is not between"}},
      {train({"--crop", "16", "--lr", "nan"}), 2, {"--lr: nan is not between"}},
      {train({"--crop", "16", "--seeds", "0"}), 2, {"--seeds: 0 is not between"}},
      {train({"--crop", "16", "--batch", "0"}), 2, {"--batch: 0 is not between"}},
      {train({"--crop", "16", "--threads", "-1"}), 2, {"--threads: -1 is not between"}},
      {train({"--crop", "16", "--threads", "100000"}), 2, {"--threads: 100000 is not between"}},
      {train({"--crop", "16", "--loader-threads", "0"}), 2, {"--loader-threads: 0 is not"}},
      {train({"--crop", "16", "--schedule", "fast"}), 2, {"--schedule: 'fast' is none of"}},
      {train({"--crop", "16", "--init", ""}), 2, {"--init: an empty path"}},
      {{"train", f.data, "--out", "", "--crop", "16"}, 2, {"--out: an empty path"}},
      {{"train", f.data, "--crop", "16"}, 2, {"--out is required"}},
      {{"train", "--out", f.run, "--crop", "16"}, 2, {"which folder of pictures?"}},
      {{"predict", f.model, f.data, "--csv", ""}, 2, {"--csv"}},
      {{"predict", f.model, f.data, "--batch", "0"}, 2, {"--batch: 0 is not between"}},
      {{"eval", f.model, f.data, "--threshold", "2"}, 2, {"--threshold: 2 is not between"}},
      {{"info", f.model, "--batch", "0"}, 2, {"--batch: 0 is not between"}},
      {{"check", f.data, "--scenes", "none"}, 2, {"--scenes: 'none' is none of"}},
      {{"tain", f.data}, 2, {"'tain' is neither a subcommand", "fulmar --help"}},
      {train({"--crop", "16", "--device", "tpu"}), 2, {"'tpu' is none of auto|cpu|cuda|cuda:N"}},
  };
  for (const Refusal& row : rows) CHECK(check_refused(row, f.folder.path()).out.empty());
}

TEST_CASE("a dataset that is none: train, eval and check name the folder") {
  const Files f;
  std::filesystem::create_directories(f.path("empty"));
  std::filesystem::create_directories(f.path("hollow/neg"));
  std::filesystem::create_directories(f.path("hollow/pos"));
  save_picture(f.path("one/neg/1.bmp"), 20, 1);
  f.dataset(f.path("letters"), 20, 20);
  std::filesystem::rename(f.path("letters/neg"), f.path("letters/a"));
  std::filesystem::rename(f.path("letters/pos"), f.path("letters/b"));
  struct Row {
    std::string folder, train, eval;  // what is said
  };
  const std::vector<Row> rows{
      {"absent", "no such folder; check the path", "no such folder; check the path"},
      {"empty", "holds no class folders; expected are", "holds no class folders; expected are"},
      {"hollow", "holds no pictures (PNG, JPEG, BMP, TIFF); add",
       "none of its class folders holds pictures (PNG, JPEG, BMP, TIFF)"},
      {"one", "only the class 'neg'", ""},  // a class may be absent from what is evaluated
      {"data/neg/0.bmp", "not a folder; expected are", "not a folder; expected are"},
  };
  for (const Row& row : rows) {
    const std::string folder = f.path(row.folder);
    f.refused(f.train_on(folder, {"--crop", "16"}), 3, {folder, row.train});
    const Ended checked = check_refused({{"check", folder}, 3, {folder}}, f.folder.path());
    CHECK(has(checked.out + checked.err, row.train));  // a report goes to stdout
    if (!row.eval.empty()) f.refused({"eval", f.model, folder}, 3, {folder, row.eval});
  }
  f.refused({"eval", f.model, f.path("letters")}, 3,
            {f.path("letters"), "'a' is not one of the model's classes; rename or remove"});
  f.refused({"predict", f.model, f.path("empty")}, 3,
            {f.path("empty"), "holds no pictures", "check the path"});
  f.refused({"predict", f.model, f.path("absent.png")}, 3,
            {f.path("absent.png"), "no such file", "check the path"});
}

TEST_CASE("a picture that is none: train, eval, predict and check name it") {
  const Files f;
  const std::string whole = read_file(f.data + "/neg/0.bmp", 1 << 20);
  const std::string wide = read_file(golden("../fuzz/corpus/image/wide.png"), 1 << 20);
  const std::string png = read_file(golden("images/colour.png"), 1 << 20);
  const std::string tiff = read_file(golden("images/tiff/rgb.tif"), 1 << 20);
  struct Row {
    std::string name, content, said;
  };
  const std::vector<Row> rows{
      {"cut.bmp", whole.substr(0, 500), "cut short"},
      {"cut.png", png.substr(0, png.size() / 2), "remove it"},
      {"empty.png", "", "the file is empty; replace or remove it"},
      {"text.png", "hello\n", "not a picture in a format that is read"},
      {"model.jpg", read_file(f.model, 1 << 20), "not a picture in a format that is read"},
      {"cut.tif", tiff.substr(0, tiff.size() / 2), "cut short"},
      {"page.tif", std::string("II*\0\x8\0\0\0\xff\xff", 10), "its first page can't be read"},
      {"wide.png", wide, "u16"},
  };
  for (const Row& row : rows) {
    const std::string picture = f.data + "/pos/" + row.name;
    CAPTURE(row.name);
    write_file(picture, row.content);
    f.refused(f.train({"--crop", "16"}), 3, {picture, row.said});
    f.refused(f.train({"--crop", "16", "--cache", f.data}), 3, {picture, row.said});
    f.refused({"eval", f.model, f.data}, 3, {picture, row.said});
    f.refused({"predict", f.model, picture}, 3, {picture, row.said});
    const Ended e = check_refused({{"check", f.data}, 3, {f.data, "check again"}}, f.data);
    CHECK(has(e.out, row.name == "wide.png" ? "of 16 bits and of float32" : picture));
    std::filesystem::remove(picture);
  }
  f.refused({"predict", f.model, f.path("model.safetensors")}, 3, {f.model, "not a picture"});
}

TEST_CASE("a picture smaller than the crop, or not square before a resize, needs --pad") {
  const Files f;
  f.dataset(f.path("small"), 12, 12);
  f.dataset(f.path("oblong"), 20, 24);
  const std::string small = f.path("small/neg/0.bmp"), oblong = f.path("oblong/neg/0.bmp");
  f.refused(f.train_on(f.path("small"), {"--crop", "16"}), 3,
            {small, "12 x 12 pixels, smaller than the crop of 16", "--pad"});
  f.refused(f.train_on(f.path("oblong"), {"--size", "16"}), 3,
            {oblong, "24 x 20 pixels, not square", "resizing it to 16", "--pad"});
  f.refused({"eval", f.model, f.path("small")}, 3, {small, "use larger pictures", "--pad"});
  f.refused({"predict", f.model, small}, 3, {small, "use larger pictures", "--pad"});
  // At its own size an oblong picture goes that the crop fits into; and with --pad all of them.
  for (const Words& good : {f.train_on(f.path("oblong"), {"--crop", "16"}),
                            f.train_on(f.path("small"), {"--crop", "16", "--pad"}),
                            f.train_on(f.path("oblong"), {"--size", "16", "--pad"}),
                            f.train({"--size", "12", "--crop", "16", "--pad"})}) {
    const Ended e = fulmar_program(good);
    CAPTURE(e.err);
    CHECK(e.code == 0);
    check_clean(e);
    std::filesystem::remove_all(f.run);
  }
}

TEST_CASE("a model file that is damaged, or none: every subcommand names it") {
  const Files f;
  const std::string good = read_file(f.model, 1 << 20), bad = f.path("bad.safetensors");
  const auto flipped = [&](size_t at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    return bytes;
  };
  const float one = 1;
  const StoredTensor tensor{"weight", StoredType::f32, {1}, &one};
  write_safetensors(f.path("other"), std::span(&tensor, 1), {});
  struct Row {
    std::string content, said;
  };
  const std::vector<Row> rows{
      {"", "it is empty"},
      {good.substr(0, 5), "it has only 5 bytes"},
      {good.substr(0, 200), "it is cut short"},
      {good.substr(0, good.size() - 1), "copy it again"},
      {flipped(3), "copy it again"},
      {flipped(200), "its header does not fit its checksum"},
      {flipped(good.size() - 5), "its tensors do not fit their checksum"},
      {"hello, this is a text", "not a safetensors file"},
      {read_file(f.data + "/neg/0.bmp", 1 << 20), "not a safetensors file"},
      {read_file(f.path("other"), 1 << 20), "not a model written by fulmar"},
  };
  const auto refused_by_all = [&](const std::string& path, const std::string& said) {
    f.refused({"info", path}, 3, {path, said});
    f.refused({"eval", path, f.data}, 3, {path, said});
    f.refused({"predict", path, f.data, "--csv", f.path("table.csv")}, 3, {path, said});
    f.refused(f.train({"--crop", "16", "--init", path}), 3, {path, said});
  };
  for (const Row& row : rows) {
    write_file(bad, row.content);
    refused_by_all(bad, row.said);
  }
  refused_by_all(f.path("absent"), "check the path");
  refused_by_all(f.data, "it is a folder");
}

TEST_CASE("--init with a model of other widths or channels is refused, of other classes not") {
  const Files f;
  const Words init{"--crop", "16", "--init", f.model};
  const Words said{f.model, "its weights don't fit", "--widths and --channels", "fulmar info"};
  f.refused(Words{"train", f.data, "--out", f.run, "--widths", "8,8"} + init, 3, said);
  f.refused(f.train(init + Words{"--channels", "1"}), 3, said);
  std::filesystem::copy(f.data + "/pos", f.data + "/third");
  const Ended e = fulmar_program(f.train(init));
  CHECK(e.code == 0);
  CHECK(has(e.err, "the last layer starts anew"));
}

TEST_CASE("more memory than there is: exit 4 and what was planned, before anything is written") {
  const Files f;
  const Words huge{"--crop", "8000", "--pad", "--batch", "65536"};
  f.refused(f.train(huge), 4, {"training with batches of 65536 pictures takes about", "--batch"});
  f.refused({"train", f.data, "--out", f.run, "--crop", "16", "--widths", "65536,65536"}, 4,
            {"this network's weights takes about", "--widths"});
  f.refused({"info", "--new", "polar-low", "--widths", "16384,16384,16384", "--classes", "65536"},
            4, {"this network's weights takes about", "--widths"});
}

TEST_CASE("a picture of more memory than there is: predict goes on, eval ends with exit 4") {
  const Files f;
  // The header of a PNG of a million pixels a side.
  std::vector<uint8_t> header{'I', 'H', 'D', 'R', 0, 15, 66, 64, 0, 15, 66, 64, 8, 2, 0, 0, 0};
  const uint32_t crc = crc32(header);
  for (int shift = 24; shift >= 0; shift -= 8) header.push_back(static_cast<uint8_t>(crc >> shift));
  const std::string picture = f.data + "/pos/million.png";
  write_file(picture, std::string("\x89PNG\r\n\x1a\n\0\0\0\x0d", 12) +
                          std::string(header.begin(), header.end()) + std::string(64, '\0'));
  // Bilinear resizing reads a picture whole.
  const std::string model = f.path("bilinear.safetensors");
  Preprocess preprocess = Preprocess::of_pictures(20, 16, 3);
  preprocess.resize = Interpolation::bilinear;
  save_model(model, {"neg", "pos"}, preprocess);
  const Words limit{"--max-pixels", "2000000000000"};
  f.refused(Words{"predict", model, picture} + limit, 3,
            {picture, "it takes 6.00 TB of memory, and", "are free; cut the picture into parts"});
  f.refused(Words{"eval", model, f.data} + limit, 4,
            {"evaluating with batches of 1 pictures takes about", "--batch"});
}

TEST_CASE("a table that can't be written: exit 3 and nothing in its place") {
  const Files f;
  const Words predict{"predict", f.model, f.data, "--csv"};
  f.refused(predict + Words{f.path("absent/t.csv")}, 3,
            {f.path("absent/t.csv"), "create its folder first"});
  f.refused(predict + Words{f.data}, 3, {f.data, "a folder is there"});
  f.refused(predict + Words{f.model + "/t.csv"}, 3, {f.model, "a part of the path is a file"});
}

TEST_CASE("the 14 files of PngSuite that must be rejected are: exit 3 and an error each") {
  const auto corrupt = test_data("png-corpus/pngsuite-tiny-dnn/test/testimage/pngsuite/corrupt");
  if (!corrupt) {
    MESSAGE("skipped: there is no png-corpus");
    return;
  }
  const Files f;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(*corrupt))
    if (entry.path().extension() == ".png") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() == 14);
  const Ended e = check_refused(
      {Words{"predict", f.model, "--json"} + files, 3, {"14 of 14 pictures could not be used"}},
      f.folder.path());
  std::istringstream lines(e.out);
  size_t count = 0;
  for (std::string line; std::getline(lines, line); count++) {
    const Json json = Json::parse(line);
    REQUIRE(count < files.size());
    CHECK(json["path"] == files[count]);
    REQUIRE(json.contains("error"));
    const std::string error = json["error"];
    CAPTURE(error);
    CHECK(has(error, files[count]));
    CHECK_FALSE(json.contains("class"));
    // It is the picture that is wrong, not its size or type.
    CHECK_FALSE(has(error, "crop"));
    CHECK_FALSE(has(error, "u16"));
    const Ended alone = fulmar_program({"predict", f.model, files[count]});
    CHECK(alone.code == 3);
    CHECK(has(alone.err, files[count]));
    check_clean(alone);
  }
  CHECK(count == 14);
}
