#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "data/band_files.h"
#include "data/dataset.h"
#include "data/pictures.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/bitmap.h"
#include "tests/support/error_of.h"
#include "tests/support/raster.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::data;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

double ramp(int64_t row, int64_t column, int64_t band) {
  return static_cast<double>(100 * band + 10 * row + column);
}

// A sample of two files, VV of `ramp` and VH of 1000 more.
void write_pair(const std::string& stem, int64_t side = 6) {
  test::write_raster(stem + "_VV.tif", side, side, 1, ramp);
  test::write_raster(stem + "_VH.tif", side, side, 1, [](int64_t row, int64_t column, int64_t) {
    return 1000 + ramp(row, column, 0);
  });
}

const BandFiles pair({"*_VV.tif", "*_VH.tif"});

void write_whole(const std::string& path, int64_t bands, std::optional<double> nodata,
                 uint8_t value = 9) {
  Image image;
  static_cast<ImageHeader&>(image) = {4, 4, bands, DType::u8};
  image.data.assign(static_cast<size_t>(image.bytes()), value);
  write_geotiff(path, image, {}, nodata);
}

}  // namespace

TEST_CASE("patterns tell which files make up a sample") {
  CHECK(BandFiles::parse("").empty());
  CHECK(BandFiles::parse("none").empty());
  const BandFiles bands = BandFiles::parse("*_VV.tif,*_VH.tif");
  CHECK(bands.to_string() == "*_VV.tif,*_VH.tif");
  CHECK(bands.match("x/a_VH.tif")->band == 1);
  CHECK(bands.match("x/a_VH.tif")->stem == "a");
  CHECK_FALSE(bands.match("x/a_HH.tif"));
  CHECK_FALSE(bands.match("x/_VV.tif"));  // * stands for something
  CHECK(bands.files_of("x/y_z/a_VH.tif") ==
        std::vector<std::string>{"x/y_z/a_VV.tif", "x/y_z/a_VH.tif"});
  CHECK(bands.files_of("a_VV.tif") == std::vector<std::string>{"a_VV.tif", "a_VH.tif"});
  CHECK(bands.name_of_sample("x/a_VH.tif") == "x/a");
  CHECK(BandFiles().files_of("x/a.tif") == std::vector<std::string>{"x/a.tif"});
  CHECK(BandFiles().name_of_sample("x/a.tif") == "x/a.tif");
  // The longest that matches.
  CHECK(BandFiles::parse("*.tif,*_VH.tif").match("a_VH.tif")->stem == "a");
  CHECK(BandFiles::parse("*.tif,*_VH.tif").match("a.tif")->stem == "a");
  for (const std::string wrong : {"*_VV.tif", "*_VV.tif,VH.tif", "*_*.tif,*.tif", "*.tif,VH/*.tif",
                                  "*.tif,*.tif", "*.tif,", "*,*.tif"}) {
    CAPTURE(wrong);
    CHECK(has(error_of(ErrorKind::usage, [&] { BandFiles::parse(wrong); }), "--bands"));
  }
}

TEST_CASE("the files of a sample are read as its bands") {
  const test::TempFolder folder;
  write_pair(folder.path("a"));
  for (const std::string file : {"a_VV.tif", "a_VH.tif"}) {
    Image image = read_sample(folder.path(file), pair);
    CHECK(image.bands == 2);
    CHECK(probe_sample(folder.path(file), pair).bands == 2);
    CHECK(image.view().at<float>(0, 3, 4)[0] == 34);
    CHECK(image.view().at<float>(0, 3, 4)[1] == 1034);
  }
  CHECK(read_sample(folder.path("a_VV.tif"), {}).bands == 1);

  const std::string vh = folder.path("a_VH.tif");
  const auto refused = [&] {
    std::string message =
        error_of(ErrorKind::file, [&] { read_sample(folder.path("a_VV.tif"), pair); });
    CHECK(error_of(ErrorKind::file, [&] { probe_sample(folder.path("a_VV.tif"), pair); }) ==
          message);
    CHECK(has(message, vh));
    return message;
  };
  test::write_raster(vh, 6, 7, 1, ramp);
  CHECK(has(refused(), "7 x 6 pixels"));
  write_whole(vh, 1, {});
  CHECK(has(refused(), "4 x 4"));
  std::filesystem::remove(vh);
  CHECK(has(refused(), "no such file"));
  write_whole(folder.path("a_VV.tif"), 1, 0);
  write_whole(vh, 1, 255);
  CHECK(has(refused(), "it has the nodata value 255"));
}

TEST_CASE("a folder of split bands is a dataset of stems, and what lacks a partner is named") {
  const test::TempFolder tree;
  for (const std::string name : {"neg", "pos"}) make_folders(tree.path(name));
  write_pair(tree.path("neg/a"));
  write_pair(tree.path("neg/b"));
  write_pair(tree.path("pos/c_1"));
  write_file(tree.path("pos/labels.json"), "{}");
  test::write_raster(tree.path("pos/other.tif"), 3, 3, 1, ramp);
  const Folder found = survey_folder(tree.path(), SceneRule::prefix, pair);
  CHECK(found.faults.empty());
  REQUIRE(found.train.samples.size() == 3);
  CHECK(found.train.samples[0].name == "neg/a");
  CHECK(found.train.samples[0].path == tree.path("neg/a_VV.tif"));
  CHECK(found.train.samples[2].name == "pos/c_1");
  CHECK(found.train.samples[2].scene == "c");
  CHECK(found.train.bands.patterns() == pair.patterns());
  CHECK(found.stray ==
        std::vector<std::string>{tree.path("pos/labels.json"), tree.path("pos/other.tif")});

  std::vector<std::string> paths{tree.path("neg"), tree.path("pos/c_1_VH.tif"),
                                 tree.path("neg/a_VH.tif")};
  CHECK(list_pictures(paths, pair) == std::vector<std::string>{tree.path("neg/a_VV.tif"),
                                                               tree.path("neg/b_VV.tif"),
                                                               tree.path("pos/c_1_VV.tif")});
  paths = {tree.path("pos/other.tif")};
  CHECK(has(error_of(ErrorKind::file, [&] { list_pictures(paths, pair); }), "--bands"));

  std::filesystem::remove(tree.path("neg/b_VV.tif"));
  const Folder lacking = survey_folder(tree.path(), SceneRule::prefix, pair);
  REQUIRE(lacking.faults.size() == 1);
  CHECK(has(lacking.faults[0], tree.path("neg/b_VH.tif")));
  CHECK(has(lacking.faults[0], "b_VV.tif is not beside it"));
  CHECK(has(error_of(ErrorKind::file, [&] { scan_folder(tree.path(), SceneRule::prefix, pair); }),
            "b_VV.tif"));
}

TEST_CASE("memory, cache and files keep float bands to the bit, NaN and nodata included") {
  const test::TempFolder folder, caches;
  const auto value = [](int64_t row, int64_t column, int64_t band) {
    if (row == 2 && column == 3 && band == 0) return -9999.0;
    if (row == 4) return std::nan("");
    return -20 + 0.1 * ramp(row, column, band);
  };
  const std::vector<std::string> paths{folder.path("a_VV.tif")};
  for (const std::string name : {"a_VV.tif", "a_VH.tif"})
    test::write_raster(folder.path(name), 6, 5, 2, value, -9999);
  const Image expected = read_sample(paths[0], pair);
  REQUIRE(expected.bands == 4);
  CHECK(std::isnan(reinterpret_cast<const float*>(expected.data.data())[(2 * 5 + 3) * 4]));
  ThreadPool pool(2);
  PictureOptions options;
  options.bands = 0;
  options.band_files = pair;
  std::vector<std::string> sources;
  for (const bool once : {false, true})
    for (const std::string& cache : {std::string(), caches.path(), caches.path()}) {
      options.once = once;
      options.cache_folder = cache;
      const auto pictures = open_pictures(paths, options, pool);
      sources.emplace_back(pictures->source());
      CHECK(pictures->bands() == 4);
      CHECK(pictures->type() == DType::f32);
      std::vector<uint8_t> pixels(expected.data.size());
      pictures->copy(0, pixels.data(), 5 * 4 * 4);
      CHECK(pixels == expected.data);
    }
  CHECK(sources == std::vector<std::string>{"memory", "cache", "cache", "files", "files", "files"});
  // Another partner makes another cache, in the old one's place.
  const auto files = [&] {
    return std::distance(std::filesystem::directory_iterator(caches.path()), {});
  };
  CHECK(files() == 1);
  options.once = false;
  options.cache_folder = caches.path();
  const std::string before = open_pictures(paths, options, pool)->cache_file();
  test::write_raster(folder.path("a_VH.tif"), 6, 5, 2, ramp);
  CHECK(open_pictures(paths, options, pool)->cache_file() != before);
  CHECK(files() == 1);
}

TEST_CASE("pictures of one dataset agree on bands and nodata, and the model with them") {
  const test::TempFolder folder;
  const auto path = [&](const std::string& name) { return folder.path(name + ".tif"); };
  write_whole(path("plain"), 1, {});
  write_whole(path("zero"), 1, 0);
  write_whole(path("zero_too"), 1, 0);
  write_whole(path("most"), 1, 255);
  write_whole(path("two"), 2, {});
  write_whole(path("three"), 3, 0);
  ThreadPool pool(1);
  PictureOptions options;
  options.bands = 0;
  const auto probe = [&](const std::vector<std::string>& names) {
    std::vector<std::string> paths;
    for (const std::string& name : names) paths.push_back(path(name));
    return probe_pictures(paths, options, pool);
  };
  CHECK(probe({"zero", "zero_too"})[0].nodata == 0);
  // Black is black, so those without the tag are as those with it.
  CHECK(probe({"plain", "zero"})[0].nodata == 0);
  CHECK(probe({"plain", "three"})[1].bands == 1);
  const auto refused = [&](const std::vector<std::string>& names) {
    std::string message = error_of(ErrorKind::file, [&] { probe(names); });
    CHECK(has(message, path(names.back())));
    return message;
  };
  CHECK(has(refused({"zero", "most"}), "the nodata value 255"));
  CHECK(has(refused({"plain", "most"}), "the nodata value 255"));
  CHECK(has(refused({"plain", "two"}), "it has 2 bands, not 1"));
  options.bands = 3;
  CHECK(probe({"plain", "three"})[0].bands == 3);
  CHECK(has(refused({"two"}), "it has 2 bands, not 3"));

  Preprocess model = Preprocess::of_pictures(0, 4, 1);
  options.bands = 1;
  CHECK(kind_misfit(model, probe({"plain"})[0]).empty());
  CHECK(kind_misfit(model, probe({"zero"})[0]).empty());  // read as black, as the fill is
  CHECK(has(kind_misfit(model, probe({"most"})[0]), "nodata value 255"));
  model.nodata = 255;
  CHECK(kind_misfit(model, probe({"most"})[0]).empty());
  model.type = DType::f32;
  CHECK(has(kind_misfit(model, probe({"plain"})[0]), "u8"));
}
