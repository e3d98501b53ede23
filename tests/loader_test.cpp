#include "data/loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "engine/picture/geometry.h"
#include "kernels/error.h"
#include "tests/support/bitmap.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::data;

namespace {

// Pictures of several sizes: red is the picture's number, green its row, blue its column.
class Fixture {
 public:
  explicit Fixture(int count) {
    for (int i = 0; i < count; i++) {
      paths.push_back(folder.path("p" + std::to_string(i) + ".bmp"));
      test::write_bitmap(paths.back(), 8 + i % 3, 9 + i % 2, [&](int row, int column) {
        return static_cast<uint32_t>(i << 16 | row << 8 | column);
      });
      labels.push_back(i % 3 == 0);
    }
  }
  std::shared_ptr<const Pictures> open(bool once = false) const {
    ThreadPool pool(1);
    PictureOptions options;
    options.once = once;
    return open_pictures(paths, options, pool);
  }

  test::TempFolder folder;
  std::vector<std::string> paths;
  std::vector<int32_t> labels;
};

// All that a batch holds, as bytes; of each slot only the picture itself.
std::string bytes_of(const Loader& loader, const Batch& batch) {
  std::string bytes;
  const auto& specs = loader.tensors();
  const auto* samples = batch.tensors[1].as<const WarpSample>();
  const View& images = batch.tensors[0];
  for (int64_t n = 0; n < specs[0].shape[0]; n++)
    for (int64_t row = 0; row < samples[n].source_height; row++)
      bytes.append(images.at<const char>(n, row, 0),
                   static_cast<size_t>(samples[n].source_width * specs[0].shape[3]));
  for (size_t i = 1; i < specs.size(); i++)
    bytes.append(batch.tensors[i].as<const char>(), batch.tensors[i].bytes());
  for (int64_t sample : batch.samples) bytes += "," + std::to_string(sample);
  return bytes;
}

std::vector<std::string> epoch(Loader& loader, int64_t number, int64_t first = 0) {
  std::vector<std::string> all;
  loader.start(number, first);
  while (const Batch* batch = loader.next()) all.push_back(bytes_of(loader, *batch));
  return all;
}

LoaderOptions options(int64_t batch, int threads) {
  LoaderOptions o;
  o.batch = batch;
  o.threads = threads;
  return o;
}

}  // namespace

TEST_CASE("a batch holds pictures, how to read them, labels and weights") {
  const Fixture f(7);
  const Preprocess p = Preprocess::of_pictures(0, 8, 3);
  Loader loader(f.open(), f.labels, sequential_sampler(7, 4), p, options(4, 1));
  const auto& specs = loader.tensors();
  REQUIRE(specs.size() == 4);
  CHECK(specs[0].name == "image");
  CHECK(specs[0].shape == Shape{4, 10, 10, 3});
  CHECK(specs[0].type == DType::u8);
  CHECK(specs[1].name == "image/samples");
  CHECK(specs[1].shape == Shape{4, static_cast<int64_t>(sizeof(WarpSample))});
  CHECK(specs[2].name == "label");
  CHECK(specs[3].name == "weight");
  CHECK(loader.batches_per_epoch() == 2);
  CHECK(loader.batch_bytes() == 4 * 10 * 10 * 3);

  CHECK(loader.next() == nullptr);  // not started
  loader.start(0, 0);
  for (int64_t number = 0; number < 2; number++) {
    const Batch* batch = loader.next();
    REQUIRE(batch);
    const int64_t used = number == 0 ? 4 : 3;
    REQUIRE(static_cast<int64_t>(batch->samples.size()) == used);
    for (int64_t n = 0; n < 4; n++) {
      const auto& sample = batch->tensors[1].as<const WarpSample>()[n];
      const int64_t i = 4 * number + n;
      CHECK(batch->tensors[3].as<const float>()[n] == (n < used ? 1 : 0));
      if (n >= used) {
        CHECK(sample.source_height == 0);
        continue;
      }
      CHECK(batch->samples[static_cast<size_t>(n)] == i);
      CHECK(batch->tensors[2].as<const int32_t>()[n] == f.labels[static_cast<size_t>(i)]);
      CHECK(sample.source_height == 8 + i % 3);
      CHECK(sample.source_width == 9 + i % 2);
      const WarpSample expected = centre_sample(p, 8 + i % 3, 9 + i % 2);
      CHECK(sample.map.a == expected.map.a);
      const auto* pixel = batch->tensors[0].at<const uint8_t>(n, 7, 8);
      CHECK(pixel[0] == i);
      CHECK(pixel[1] == 7);
      CHECK(pixel[2] == 8);
    }
  }
  CHECK(loader.next() == nullptr);
  CHECK(loader.next() == nullptr);

  Loader unlabelled(f.open(), {}, sequential_sampler(7, 4), p, options(4, 1));
  CHECK(unlabelled.tensors().size() == 2);
}

TEST_CASE("the same batches with any number of threads, from any batch on") {
  const Fixture f(23);
  const Preprocess p = Preprocess::of_pictures(0, 8, 3);
  const auto make = [&](int threads, int64_t ready, bool once) {
    LoaderOptions o = options(4, threads);
    o.ready = ready;
    o.seed = 11;
    o.augment = Augment::published();
    o.augment->speckle = .1;
    return std::make_unique<Loader>(f.open(once), f.labels, balanced_sampler(f.labels, 2, 4, 11), p,
                                    o);
  };
  const auto reference = make(1, 1, false);
  const auto first = epoch(*reference, 0), fourth = epoch(*reference, 3);
  CHECK(first.size() == 8);
  CHECK(first != fourth);
  for (const int threads : {1, 2, 4})
    for (const int64_t ready : {1, 3}) {
      const auto loader = make(threads, ready, threads == 2);
      CHECK(epoch(*loader, 0) == first);
      CHECK(epoch(*loader, 3, 5) == std::vector<std::string>(fourth.begin() + 5, fourth.end()));
      loader->start(0, 0);  // left in the middle
      loader->next();
      CHECK(epoch(*loader, 3) == fourth);
    }
}

TEST_CASE("from the next start on, calibrating batches keep the augmentation's gain alone") {
  const Fixture f(23);
  const Preprocess p = Preprocess::of_pictures(0, 8, 3);
  LoaderOptions o = options(4, 2);
  const auto make = [&] { return Loader(f.open(), f.labels, shuffled_sampler(23, 4, 1), p, o); };
  Loader plain = make();
  o.augment = Augment::published();
  Loader loader = make();
  const auto augmented = epoch(loader, 2);
  CHECK(augmented != epoch(plain, 2));
  loader.start(2, 0);
  loader.set_calibrating(true);
  CHECK(bytes_of(loader, *loader.next()) == augmented[0]);
  CHECK(epoch(loader, 2) == epoch(plain, 2));
  loader.set_calibrating(false);
  CHECK(epoch(loader, 2) == augmented);

  o.augment->gain = 1;
  o.augment->speckle = 0.3;
  Loader all = make();
  all.set_calibrating(true);
  all.start(2, 0);
  plain.start(2, 0);
  for (int64_t slot = 0; const Batch* batch = all.next();) {
    auto* samples = named_tensor(all.tensors(), *batch, "image/samples").as<WarpSample>();
    for (size_t i = 0; i < batch->samples.size(); i++, slot++) {
      CHECK(samples[i].gain == draw_augment(*o.augment, o.seed, 2, slot).gain);
      samples[i].gain = 1;
    }
    CHECK(bytes_of(all, *batch) == bytes_of(plain, *plain.next()));
  }
}

TEST_CASE("a batch stays as it is until the next one is asked for") {
  const Fixture f(23);
  LoaderOptions o = options(2, 3);
  o.ready = 1;
  Loader loader(f.open(), f.labels, shuffled_sampler(23, 2, 1), Preprocess::of_pictures(0, 8, 3),
                o);
  for (int64_t e = 0; e < 20; e++) {
    loader.start(e, 0);
    while (const Batch* batch = loader.next()) {
      const std::string before = bytes_of(loader, *batch);
      for (int i = 0; i < 3; i++) CHECK(bytes_of(loader, *batch) == before);
      for (size_t n = 0; n < 2; n++)
        CHECK(batch->tensors[0].at<const uint8_t>(static_cast<int64_t>(n), 0, 0)[0] ==
              batch->samples[n]);
    }
  }
}

TEST_CASE("what goes wrong in a thread is thrown where its batch is asked for") {
  const Fixture f(12);
  const auto pictures = f.open(true);
  std::filesystem::remove(f.paths[7]);
  Loader loader(pictures, f.labels, sequential_sampler(12, 3), Preprocess::of_pictures(0, 8, 3),
                options(3, 2));
  loader.start(0, 0);
  CHECK(loader.next() != nullptr);
  CHECK(loader.next() != nullptr);
  CHECK_THROWS_WITH_AS(loader.next(), doctest::Contains(f.paths[7].c_str()), Error);
  CHECK_THROWS_AS(loader.next(), Error);
  loader.start(0, 3);
  CHECK(loader.next() != nullptr);
  CHECK(loader.next() == nullptr);
}

namespace {

// Pictures of which the first to be copied waits until so many others are being copied.
class Meeting : public Pictures {
 public:
  Meeting(int count, int threads)
      : Pictures(std::vector<std::string>(static_cast<size_t>(count), "picture"),
                 std::vector<ImageHeader>(static_cast<size_t>(count), {8, 8, 3, DType::u8})),
        threads_(threads) {}

  void copy(int64_t picture, uint8_t* to, int64_t) const override {
    std::unique_lock lock(mutex_);
    to[0] = static_cast<uint8_t>(picture);
    order_.push_back(picture);
    inside_++;
    met_.notify_all();
    alone_ = alone_ || !met_.wait_for(lock, std::chrono::seconds(20), [&] {
      return inside_ >= threads_ || std::ssize(order_) > threads_;
    });
  }
  const char* source() const override { return "memory"; }
  int64_t decoded() const override { return 0; }
  int64_t dropped_alpha() const override { return 0; }

  bool alone() const { return alone_; }
  std::vector<int64_t> order() const { return order_; }

 private:
  int threads_;
  mutable std::mutex mutex_;
  mutable std::condition_variable met_;
  mutable int inside_ = 0;
  mutable bool alone_ = false;
  mutable std::vector<int64_t> order_;
};

}  // namespace

TEST_CASE("all threads fill in the batch that is wanted first") {
  const auto pictures = std::make_shared<Meeting>(16, 4);
  Loader loader(pictures, {}, sequential_sampler(16, 4), Preprocess::of_pictures(0, 8, 3),
                options(4, 4));
  loader.start(0, 0);
  const Batch* batch = loader.next();
  REQUIRE(batch);
  CHECK_FALSE(pictures->alone());
  std::vector<int64_t> first = pictures->order();
  first.resize(4);
  std::sort(first.begin(), first.end());
  CHECK(first == std::vector<int64_t>{0, 1, 2, 3});
}

TEST_CASE("threads without a batch to fill decode ahead, and name and count what can't be") {
  Fixture f(40);
  ThreadPool pool(1);
  PictureOptions kept;
  kept.when_wanted = true;
  const auto opened = [&] {
    return std::shared_ptr<const Pictures>(open_pictures(f.paths, kept, pool));
  };
  const auto loader_of = [&](const std::shared_ptr<const Pictures>& pictures) {
    return std::make_unique<Loader>(pictures, f.labels, sequential_sampler(8, 4),
                                    Preprocess::of_pictures(0, 8, 3), options(4, 2));
  };
  // An epoch has the first 8 of the pictures only.
  const auto pictures = opened();
  const auto whole = loader_of(pictures), again = loader_of(pictures);
  CHECK(epoch(*whole, 0).size() == 2);
  CHECK(pictures->decoded() == 40);
  CHECK(epoch(*again, 1).size() == 2);
  CHECK(pictures->decoded() == 40);

  for (const std::vector<size_t>& bad : {std::vector<size_t>{30, 35}, {3, 30, 35}}) {
    const Fixture g(40);
    f.paths = g.paths;
    const auto there = opened();
    for (const size_t i : bad) std::filesystem::remove(g.paths[i]);
    const auto loader = loader_of(there);
    loader->start(0, 0);
    const auto run = [&] {
      while (loader->next()) {
      }
    };
    const std::string more = "(and " + std::to_string(bad.size() - 1) + " more";
    CHECK_THROWS_WITH_AS(run(), doctest::Contains(g.paths[bad[0]].c_str()), Error);
    CHECK_THROWS_WITH_AS(run(), doctest::Contains(more.c_str()), Error);
  }
}

TEST_CASE("of several bad pictures in a batch the first is told of") {
  const Fixture f(12);
  const auto pictures = f.open(true);
  for (const size_t bad : {4, 5, 6, 7}) std::filesystem::remove(f.paths[bad]);
  for (int i = 0; i < 20; i++) {
    Loader loader(pictures, f.labels, sequential_sampler(12, 6), Preprocess::of_pictures(0, 8, 3),
                  options(6, 4));
    loader.start(0, 0);
    CHECK_THROWS_WITH_AS(loader.next(), doctest::Contains(f.paths[4].c_str()), Error);
  }
}

TEST_CASE("a loader ends at any time") {
  const Fixture f(12);
  const auto pictures = f.open();
  for (int i = 0; i < 50; i++) {
    Loader loader(pictures, f.labels, shuffled_sampler(12, 2, 1), Preprocess::of_pictures(0, 8, 3),
                  options(2, 1 + i % 3));
    if (i % 4 > 0) loader.start(i, 0);
    if (i % 4 > 1) loader.next();
  }
}

TEST_CASE("pictures that don't fit the record are refused by name") {
  const Fixture f(4);
  const auto make = [&](const Preprocess& p) {
    Loader loader(f.open(), f.labels, sequential_sampler(4, 2), p, options(2, 1));
  };
  // The first of 8 rows.
  CHECK_THROWS_WITH_AS(make(Preprocess::of_pictures(0, 9, 3)),
                       doctest::Contains((f.paths[0] + ": the picture is 9 x 8").c_str()), Error);
  CHECK_THROWS_WITH_AS(make(Preprocess::of_pictures(16, 9, 3)), doctest::Contains("not square"),
                       Error);
  CHECK_THROWS_WITH_AS(make(Preprocess::of_pictures(0, 8, 1)), doctest::Contains("bands"), Error);
  CHECK_THROWS_WITH_AS(make(Preprocess::of_pictures(0, 8, 3, DType::u16)), doctest::Contains("u16"),
                       Error);
  Preprocess padded = Preprocess::of_pictures(0, 9, 3);
  padded.pad = true;
  make(padded);
}
