#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "data/label_raster.h"
#include "data/patch_loader.h"
#include "data/raster_folder.h"
#include "engine/context.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "tests/support/array.h"
#include "tests/support/deep_png.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"
#include "tests/support/raster.h"
#include "tests/support/temp_folder.h"

// Labels by pixel: which files belong together, what their numbers mean, and patches of both.

using namespace fulmar;
using namespace fulmar::data;
using namespace fulmar::test;

namespace {

using Labels = std::vector<uint8_t>;

void write_labels(const std::string& path, int64_t height, int64_t width, DType type,
                  const std::function<double(int64_t, int64_t)>& value,
                  std::optional<double> nodata = {}) {
  Image image;
  static_cast<ImageHeader&>(image) = {height, width, 1, type};
  image.data.resize(static_cast<size_t>(image.bytes()));
  for (int64_t i = 0; i < height * width; i++) {
    const double v = value(i / width, i % width);
    if (type == DType::u8) image.data[static_cast<size_t>(i)] = static_cast<uint8_t>(v);
    if (type == DType::u16)
      reinterpret_cast<uint16_t*>(image.data.data())[i] = static_cast<uint16_t>(v);
    if (type == DType::f32) reinterpret_cast<float*>(image.data.data())[i] = static_cast<float>(v);
  }
  write_geotiff(path, image, {}, nodata);
}

std::string refused(const std::string& path, const LabelValues& values) {
  return error_of(ErrorKind::file, [&] { read_labels(path, values); });
}

// A picture whose band 0 is its row and band 1 its column, with labels that follow from both.
constexpr int64_t scene_height = 40, scene_width = 53;
uint8_t label_at(int64_t row, int64_t column) {
  return column < 9 ? 255 : static_cast<uint8_t>((row / 3 + column / 4) % 3);
}

struct Scenes {
  TempFolder folder;
  ThreadPool pool{2};
  std::shared_ptr<const Pictures> pictures;
  std::shared_ptr<const LabelStore> labels;

  explicit Scenes(int count = 2, bool in_memory = true) {
    std::vector<std::string> paths;
    LabelLayer layer{"ice", LabelValues::counted(3), {}};
    for (int i = 0; i < count; i++) {
      paths.push_back(folder.path("s" + std::to_string(i) + ".tif"));
      layer.files.push_back(folder.path("s" + std::to_string(i) + "_label.tif"));
      write_raster(paths.back(), scene_height, scene_width, 2,
                   [](int64_t row, int64_t column, int64_t band) {
                     return static_cast<double>(band == 0 ? row : column);
                   });
      write_labels(layer.files.back(), scene_height, scene_width, DType::u8,
                   [](int64_t row, int64_t column) { return label_at(row, column); });
    }
    PictureOptions options;
    options.bands = 2;
    options.memory_bytes = in_memory ? uint64_t{1} << 30 : 0;
    options.once = !in_memory;
    pictures = open_pictures(paths, options, pool);
    std::vector<ImageHeader> headers;
    for (int64_t i = 0; i < pictures->count(); i++) headers.push_back(pictures->header(i));
    labels = std::make_shared<LabelStore>(std::vector{layer}, headers, ImageLimits{},
                                          in_memory ? uint64_t{1} << 30 : 0);
  }

  static Preprocess record(int64_t crop) {
    Preprocess p;
    p.type = DType::f32;
    p.crop = crop;
    p.bands = 2;
    p.scale = {1, 1};
    p.offset = {0, 0};
    p.fill = {-100, -100};
    return p;
  }
};

// What the network sees of a batch: pictures, labels, weights.
struct Seen {
  std::vector<double> pictures, labels;
  std::vector<float> weights;
};

std::vector<Seen> seen_of(PatchLoader& loader, const Preprocess& record, int64_t epoch = 0) {
  Context context;
  Device& device = context.device("cpu");
  auto tape = std::make_shared<Tape>();
  std::vector<Val> inputs;
  for (const TensorSpec& spec : loader.tensors())
    inputs.push_back(ops::input(
        *tape, spec.name,
        {spec.shape, spec.name == "weight" ? Role::statistic : Role::source, spec.type}));
  const Val x = ops::warp(*tape, inputs[0], inputs[1], record.crop, record.crop,
                          record.warp_options(), loader.tensors()[1].cuts);
  const Val y = ops::warp_labels(*tape, inputs[2], inputs[3], record.crop, record.crop, unlabelled);
  Session session(context, device, tape, std::array{x, y}, nullptr);
  std::vector<Seen> all;
  loader.start(epoch, 0);
  while (const Batch* batch = loader.next()) {
    for (size_t i = 0; i < 4; i++)
      session.set_bytes(inputs[i], batch->tensors[i].data, batch->tensors[i].bytes());
    session.run();
    const auto* weights = static_cast<const float*>(batch->tensors.back().data);
    all.push_back({session.read(x),
                   session.read(y),
                   {weights, weights + batch->tensors.back().shape.elements()}});
  }
  return all;
}

}  // namespace

TEST_CASE("labels are the numbers that files store: palettes, few bits, 16 bits, signed, nodata") {
  const TempFolder folder;
  const auto number = [](int64_t row, int64_t column) { return (row + 2 * column) % 4; };
  Labels expected;
  for (int64_t i = 0; i < 5 * 7; i++)
    expected.push_back(static_cast<uint8_t>(number(i / 7, i % 7)));
  const LabelValues values = LabelValues::counted(4);
  for (const int bits : {2, 4, 8})
    for (const bool palette : {true, false}) {
      CAPTURE(bits);
      CAPTURE(palette);
      const std::string path = folder.path("labels.png");
      write_label_png(path, 5, 7, bits, palette, number);
      CHECK(read_labels(path, values).data == expected);
    }
  for (const DType type : {DType::u8, DType::u16, DType::f32}) {
    const std::string path = folder.path("labels.tif");
    write_labels(path, 5, 7, type, [&](int64_t r, int64_t c) { return number(r, c); });
    CHECK(read_labels(path, values).data == expected);
    CHECK(
        read_labels(path, values, {}, window(1, 2, 2, 3)).data ==
        Labels{expected[9], expected[10], expected[11], expected[16], expected[17], expected[18]});
    // The file's nodata, and numbers of no class.
    write_labels(
        path, 5, 7, type, [&](int64_t r, int64_t c) { return number(r, c); }, 3);
    Labels holes = expected;
    std::replace(holes.begin(), holes.end(), uint8_t{3}, unlabelled);
    CHECK(read_labels(path, values).data == holes);
  }
  const std::string path = folder.path("labels.tif");
  write_labels(path, 5, 7, DType::f32,
               [&](int64_t r, int64_t c) { return number(r, c) == 3 ? -1.0 : number(r, c); });
  Labels holes = expected;
  std::replace(holes.begin(), holes.end(), uint8_t{3}, unlabelled);
  CHECK(read_labels(path, values).data == holes);
  // Classes by other numbers; 255 may be one.
  write_labels(path, 1, 4, DType::u8, [](int64_t, int64_t c) {
    return std::array{10, 255, 7, 3}[static_cast<size_t>(c)];
  });
  CHECK(read_labels(path, {{3, 10}, {7}}).data == Labels{1, 255, 255, 0});
  CHECK(read_labels(path, {{3, 10, 255}, {7}}).data == Labels{1, 2, 255, 0});
  CHECK(refused(path, {{3, 10}, {}}).find("the number 7 at row 0, column 2 is no class's") !=
        std::string::npos);
  const LabelCounts counts = count_labels(path);
  CHECK(counts.pixels ==
        std::vector<std::pair<int64_t, int64_t>>{{3, 1}, {7, 1}, {10, 1}, {255, 1}});
}

TEST_CASE("what is no label raster is refused with the reason") {
  const TempFolder folder;
  const LabelValues values = LabelValues::counted(2);
  write_raster(folder.path("two.tif"), 4, 4, 2, [](auto...) { return 1.0; });
  CHECK(refused(folder.path("two.tif"), values).find("it has 2 bands") != std::string::npos);
  write_raster(folder.path("half.tif"), 4, 4, 1, [](auto...) { return 0.5; });
  CHECK(refused(folder.path("half.tif"), values).find("is no whole number") != std::string::npos);
  write_raster(folder.path("late.tif"), 4, 4, 1,
               [](int64_t row, int64_t column, ...) { return row == 3 && column == 2 ? 0.5 : 1; });
  CHECK(error_of(ErrorKind::file, [&] {
          read_labels(folder.path("late.tif"), values, {}, window(2, 1, 2, 3));
        }).find("0.500000 at row 3, column 2 is no whole") != std::string::npos);
  CHECK(refused(golden("images/colour.png"), values).find("it has 3 bands") != std::string::npos);
  CHECK(refused(golden("images/grey.jpg"), values).find("read from PNG and TIFF") !=
        std::string::npos);
  CHECK(error_of(ErrorKind::usage, [] {
          LabelValues({{1, 1}, {}}).check();
        }).find("the number 1") != std::string::npos);

  Scenes scenes;
  write_labels(scenes.folder.path("s1_label.tif"), scene_height, scene_width - 1, DType::u8,
               [](int64_t, int64_t) { return 1; });
  Labels to(16);
  CHECK(error_of(ErrorKind::file, [&] {
          scenes.labels->copy(0, 1, {0, 0, 4, 4}, to.data(), 4);
        }).find("it has 52 x 40 pixels, and its picture 53 x 40") != std::string::npos);
}

TEST_CASE("labels go with the pictures whose names begin alike, in folders or by patterns") {
  const TempFolder folder;
  const auto touch = [&](const std::string& name) {
    const std::string path = folder.path(name);
    make_folders(std::filesystem::path(path).parent_path().string());
    write_label_png(path, 2, 2, 8, false, [](int, int) { return 0; });
  };
  for (const char* place : {"a/S1/Spain_7", "a/S1/Spain_71", "a/S1/India_1"}) {
    touch(std::string(place) + "_S1Hand.png");
    touch("a/Labels/" + std::filesystem::path(place).filename().string() + "_LabelHand.png");
  }
  touch("a/S1/Ghana_3_S1Hand.png");
  const LabelFiles pattern = LabelFiles::parse("*_LabelHand.png");
  const Folder found = survey_rasters(folder.path("a"), pattern);
  CHECK(found.faults.empty());
  REQUIRE(found.notes.size() == 1);
  CHECK(found.notes[0].find("1 picture has no labels") != std::string::npos);
  REQUIRE(found.train.samples.size() == 3);
  CHECK(found.train.layers == std::vector<std::string>{"labels"});
  for (const Sample& sample : found.train.samples) {
    const std::string picture = std::filesystem::path(sample.path).filename().string();
    const std::string label = std::filesystem::path(sample.label_files[0]).filename().string();
    CHECK(picture.substr(0, picture.find("_S1")) == label.substr(0, label.find("_Label")));
  }
  // A second picture of the same beginning must be told from the first.
  touch("a/S2/Spain_7_S2Hand.png");
  const std::vector<std::string> faults = survey_rasters(folder.path("a"), pattern).faults;
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].find("it goes with two pictures") != std::string::npos);
  CHECK(survey_rasters(folder.path("a"), pattern, "*_S1Hand.png").faults.empty());

  for (const char* part : {"train", "val", "test"})
    for (const char* name : {"x", "y"}) {
      touch(std::string("b/") + part + "/images/" + name + ".png");
      for (const char* task : {"SIC", "SOD"})
        touch(std::string("b/") + part + "/labels/" + task + "/" + name + ".png");
    }
  CHECK(has_label_folders(folder.path("b")));
  CHECK_FALSE(has_label_folders(folder.path("a")));
  const Folder parts = survey_rasters(folder.path("b"), LabelFiles::parse("folders"));
  CHECK(parts.faults.empty());
  CHECK(parts.train.layers == std::vector<std::string>{"SIC", "SOD"});
  REQUIRE(parts.validation);
  REQUIRE(parts.test);
  CHECK(parts.train.samples.size() == 2);
  CHECK(parts.validation->samples[1].label_files[1] == folder.path("b/val/labels/SOD/y.png"));
  std::filesystem::remove(folder.path("b/train/labels/SOD/y.png"));
  const Folder lacking = survey_rasters(folder.path("b"), LabelFiles::parse("folders"));
  REQUIRE(lacking.faults.size() == 1);
  CHECK(lacking.faults[0].find("labels of 1 of 2 tasks") != std::string::npos);

  touch("c/images/x.png");
  touch("c/labels/sea ice/x.png");
  const Folder spaced = survey_rasters(folder.path("c"), LabelFiles::parse("folders"));
  REQUIRE(spaced.faults.size() == 1);
  CHECK(spaced.faults[0] == folder.path("c/labels/sea ice") +
                                ": a task is called by letters and digits, not 'sea ice'; rename "
                                "the folder");

  CHECK(error_of(ErrorKind::usage, [] { LabelFiles::parse("a.tif"); }).find("with one *") !=
        std::string::npos);
  CHECK(error_of(ErrorKind::usage, [] {
          LabelFiles::parse("*_a.tif,*_b.tif");
        }).find("two tasks are called 'labels'") != std::string::npos);
}

TEST_CASE("patches to train on lie in their scenes, and labels lie on their pictures") {
  const Scenes scenes;
  const Preprocess record = Scenes::record(16);
  PatchOptions options;
  options.batch = 4;
  options.batches = 6;
  options.seed = 5;
  options.labelled = 0.9;
  PatchLoader loader(scenes.pictures, scenes.labels, record, options);
  std::set<double> rows;
  for (const Seen& seen : seen_of(loader, record)) {
    CHECK(seen.weights == std::vector<float>(4, 1));
    int64_t labelled = 0;
    for (size_t i = 0; i < seen.labels.size(); i++) {
      const auto row = static_cast<int64_t>(seen.pictures[2 * i]);
      const auto column = static_cast<int64_t>(seen.pictures[2 * i + 1]);
      CHECK(seen.labels[i] == label_at(row, column));
      labelled += seen.labels[i] != 255;
      rows.insert(seen.pictures[2 * i]);
    }
    CHECK(static_cast<double>(labelled) >= 0.9 * static_cast<double>(seen.labels.size()));
  }
  CHECK(rows.size() > 20);
}

TEST_CASE("turning, zooming and flipping move picture and labels alike; outside is unlabelled") {
  const Scenes scenes;
  const Preprocess record = Scenes::record(32);
  PatchOptions options;
  options.batch = 4;
  options.batches = 8;
  options.augment = Augment::published();
  PatchLoader loader(scenes.pictures, scenes.labels, record, options);
  int64_t inside = 0, outside = 0, alike = 0;
  for (const Seen& seen : seen_of(loader, record))
    for (size_t i = 0; i < seen.labels.size(); i++) {
      const double row = seen.pictures[2 * i], column = seen.pictures[2 * i + 1];
      // Half a pixel at the picture's edge the network sees a mixture with fill.
      if (row < 0 || column < 0) {
        outside++;
        if (row < -60 && column < -60) CHECK(seen.labels[i] == 255);
        continue;
      }
      inside++;
      const auto at = [](double x) { return static_cast<int64_t>(std::floor(x + 0.5)); };
      alike += seen.labels[i] == label_at(at(row), at(column));
    }
  CHECK(outside > 100);
  CHECK(inside > 1000);
  // Rounding differs where a place lies half way between two pixels.
  CHECK(static_cast<double>(alike) >= 0.99 * static_cast<double>(inside));
}

TEST_CASE("batches are the same bits for any threads, epochs differ, files equal memory") {
  const Scenes scenes, from_files(2, false);
  CHECK(scenes.labels->keeps());
  CHECK_FALSE(from_files.labels->keeps());
  const Preprocess record = Scenes::record(16);
  PatchOptions options;
  options.batch = 3;
  options.batches = 4;
  options.labelled = 0.5;
  options.augment = Augment::published();
  const auto seen = [&](const Scenes& of, int threads, int64_t epoch) {
    PatchOptions with = options;
    with.threads = threads;
    PatchLoader loader(of.pictures, of.labels, record, with);
    std::vector<double> all;
    for (const Seen& batch : seen_of(loader, record, epoch)) {
      all.insert(all.end(), batch.pictures.begin(), batch.pictures.end());
      all.insert(all.end(), batch.labels.begin(), batch.labels.end());
    }
    return all;
  };
  const std::vector<double> first = seen(scenes, 1, 0);
  CHECK(first == seen(scenes, 3, 0));
  CHECK(first == seen(from_files, 2, 0));
  CHECK(first != seen(scenes, 1, 1));
}

TEST_CASE("CutMix: a rectangle of another patch with its labels, by any threads, turned with it") {
  const Scenes scenes;
  const Preprocess record = Scenes::record(16);
  PatchOptions options;
  options.batch = 4;
  options.batches = 30;
  const auto seen = [&](double cutmix, int threads) {
    options.cutmix = cutmix;
    options.threads = threads;
    PatchLoader loader(scenes.pictures, scenes.labels, record, options);
    return seen_of(loader, record);
  };
  // Patches whose rows or columns jump.
  const auto mixed = [](const std::vector<Seen>& all) {
    int64_t count = 0;
    for (const Seen& batch : all)
      for (size_t patch = 0; patch < 4; patch++) {
        const double* at = &batch.pictures[patch * 16 * 16 * 2];
        bool jumps = false;
        for (size_t i = 1; i < 16 * 16; i++) {
          const size_t row = i / 16, column = i % 16;
          jumps |= at[2 * i] - at[0] != static_cast<double>(row) ||
                   at[2 * i + 1] - at[1] != static_cast<double>(column);
        }
        count += jumps;
      }
    return count;
  };
  CHECK(mixed(seen(0, 1)) == 0);
  const std::vector<Seen> half = seen(0.5, 1);
  CHECK(mixed(half) > 40);
  CHECK(mixed(half) < 80);
  CHECK(mixed(seen(1, 1)) > 100);  // a rectangle may lie outside, or be as small as nothing
  for (const Seen& batch : seen(1, 1))
    for (size_t i = 0; i < batch.labels.size(); i++)
      CHECK(batch.labels[i] == label_at(static_cast<int64_t>(batch.pictures[2 * i]),
                                        static_cast<int64_t>(batch.pictures[2 * i + 1])));
  const std::vector<Seen> again = seen(0.5, 3);
  for (size_t i = 0; i < half.size(); i++) {
    CHECK(half[i].pictures == again[i].pictures);
    CHECK(half[i].labels == again[i].labels);
  }
  // By one map: pixels of the turned rectangle keep their labels, but for edges.
  options.augment = Augment::published();
  int64_t inside = 0, alike = 0;
  for (const Seen& batch : seen(1, 2))
    for (size_t i = 0; i < batch.labels.size(); i++) {
      const double row = batch.pictures[2 * i], column = batch.pictures[2 * i + 1];
      if (row < 0 || column < 0) continue;
      inside++;
      alike += batch.labels[i] == label_at(std::llround(row), std::llround(column));
    }
  CHECK(static_cast<double>(alike) >= 0.9 * static_cast<double>(inside));
}

TEST_CASE("patches to evaluate on count every pixel once, with a halo around their own") {
  const Scenes scenes;
  for (const std::array<int64_t, 2>& patch :
       std::vector<std::array<int64_t, 2>>{{16, 0}, {16, 3}, {16, 7}, {40, 4}, {64, 8}, {53, 0}}) {
    const int64_t side = patch[0], halo = patch[1];
    CAPTURE(side);
    CAPTURE(halo);
    const Preprocess record = Scenes::record(side);
    PatchOptions options;
    options.batch = 5;
    options.halo = halo;
    PatchLoader loader(scenes.pictures, scenes.labels, record, options);
    std::vector<int64_t> counts(scene_height * scene_width);
    for (const Seen& seen : seen_of(loader, record))
      for (size_t i = 0; i < seen.labels.size(); i++) {
        if (seen.labels[i] == 255) continue;
        const auto slot = i / static_cast<size_t>(side * side);
        CHECK(seen.weights[slot] == 1);
        const auto row = static_cast<int64_t>(seen.pictures[2 * i]);
        const auto column = static_cast<int64_t>(seen.pictures[2 * i + 1]);
        CHECK(seen.labels[i] == label_at(row, column));
        counts[static_cast<size_t>(row * scene_width + column)]++;
      }
    bool once = true;
    for (int64_t i = 0; i < std::ssize(counts); i++)
      once &= counts[static_cast<size_t>(i)] ==
              (label_at(i / scene_width, i % scene_width) == 255 ? 0 : 2);  // two scenes
    CHECK(once);
  }
  PatchOptions options;
  options.halo = 8;
  CHECK(error_of(ErrorKind::usage, [&] {
          PatchLoader(scenes.pictures, scenes.labels, Scenes::record(16), options);
        }).find("leaves nothing") != std::string::npos);
}
