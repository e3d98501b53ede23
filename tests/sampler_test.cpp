#include "data/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "kernels/error.h"

using namespace fulmar;
using namespace fulmar::data;

namespace {

std::vector<int32_t> published_labels() {
  std::vector<int32_t> labels(1293, 0);
  labels.insert(labels.end(), 254, 1);
  return labels;
}

std::vector<int64_t> epochs(Sampler& sampler, int64_t first, int64_t last) {
  std::vector<int64_t> all;
  for (int64_t epoch = first; epoch < last; epoch++)
    for (int64_t number = 0; number < sampler.batches_per_epoch(); number++)
      for (int64_t sample : sampler.batch(epoch, number)) all.push_back(sample);
  return all;
}

}  // namespace

TEST_CASE("balanced sampling has the published number of steps") {
  const auto labels = published_labels();
  CHECK(balanced_sampler(labels, 2, 16, 0)->batches_per_epoch() == 162);  // ceil(2 * 1293 / 16)
  const std::vector<int32_t> three{0, 0, 0, 0, 0, 1, 2, 2};
  CHECK(balanced_sampler(three, 3, 4, 0)->batches_per_epoch() == 4);  // ceil(3 * 5 / 4)
}

TEST_CASE("balanced sampling tosses a fair coin for each sample") {
  const auto labels = published_labels();
  const auto sampler = balanced_sampler(labels, 2, 16, 3);
  std::map<int, int> positives;  // in a batch
  int total = 0;
  for (int64_t epoch = 0; epoch < 20; epoch++)
    for (int64_t number = 0; number < sampler->batches_per_epoch(); number++) {
      const auto batch = sampler->batch(epoch, number);
      REQUIRE(batch.size() == 16);
      int count = 0;
      for (int64_t sample : batch) count += labels[static_cast<size_t>(sample)];
      positives[count]++;
      total += count;
    }
  const double batches = 20 * 162, samples = batches * 16;
  CHECK(std::abs(total - samples / 2) < 4 * std::sqrt(samples / 4));
  // Binomial, so not 8 of 16 every time: P(8) = 0.196.
  CHECK(std::abs(positives[8] / batches - .1964) < 4 * std::sqrt(.1964 * .8036 / batches));
  CHECK(positives.size() > 8);
}

TEST_CASE("each class is exhausted in a fresh order before it repeats") {
  const std::vector<int32_t> labels{0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0};
  const auto sampler = balanced_sampler(labels, 3, 5, 9);
  std::vector<std::vector<int64_t>> streams(3);
  for (int64_t sample : epochs(*sampler, 0, 40))
    streams[static_cast<size_t>(labels[static_cast<size_t>(sample)])].push_back(sample);
  for (size_t c = 0; c < 3; c++) {
    const auto size = static_cast<size_t>(std::count(labels.begin(), labels.end(), c));
    std::set<std::vector<int64_t>> orders;
    size_t rounds = 0;
    for (size_t begin = 0; begin + size <= streams[c].size(); begin += size, rounds++) {
      const std::vector<int64_t> round(streams[c].begin() + static_cast<int64_t>(begin),
                                       streams[c].begin() + static_cast<int64_t>(begin + size));
      CHECK(std::set<int64_t>(round.begin(), round.end()).size() == size);
      orders.insert(round);
    }
    CHECK(rounds > 20);
    CHECK(orders.size() > 1);
  }
}

TEST_CASE("any batch can be asked for first: a resumed run goes on as it would have") {
  const auto labels = published_labels();
  const auto make = [&](int kind) {
    return kind == 0   ? balanced_sampler(labels, 2, 16, 4)
           : kind == 1 ? shuffled_sampler(100, 16, 4)
                       : sequential_sampler(100, 16);
  };
  for (int kind = 0; kind < 3; kind++) {
    const auto whole = make(kind);
    epochs(*whole, 0, 3);
    const auto there = whole->batch(3, 2);
    CHECK(make(kind)->batch(3, 2) == there);
    CHECK(whole->batch(0, 1) == make(kind)->batch(0, 1));  // backwards too
    CHECK(whole->batch(3, 2) == there);
  }
  CHECK(balanced_sampler(labels, 2, 16, 5)->batch(3, 2) != make(0)->batch(3, 2));
}

TEST_CASE("a shuffled epoch has every sample once, and a last batch of full size") {
  const auto sampler = shuffled_sampler(21, 4, 1);
  CHECK(sampler->batches_per_epoch() == 6);
  const auto first = epochs(*sampler, 0, 1), second = epochs(*sampler, 1, 2);
  CHECK(first.size() == 24);
  CHECK(first != second);
  CHECK(std::set<int64_t>(first.begin(), first.begin() + 21).size() == 21);
  CHECK(std::vector<int64_t>(first.begin() + 21, first.end()) ==
        std::vector<int64_t>(first.begin(), first.begin() + 3));
  CHECK(epochs(*shuffled_sampler(3, 8, 1), 0, 1).size() == 8);

  const auto dropping = shuffled_sampler(21, 4, 1, LastBatch::drop);
  CHECK(dropping->batches_per_epoch() == 5);
  CHECK(epochs(*dropping, 0, 1) == std::vector<int64_t>(first.begin(), first.begin() + 20));
  CHECK_THROWS_AS(shuffled_sampler(3, 4, 1, LastBatch::drop), Error);

  // Every place is as likely for a sample as any other.
  double place = 0;
  for (int64_t epoch = 0; epoch < 2000; epoch++) {
    const auto order = epochs(*sampler, epoch, epoch + 1);
    place += static_cast<double>(std::find(order.begin(), order.end(), 5) - order.begin());
  }
  CHECK(std::abs(place / 2000 - 10) < 4 * std::sqrt((21.0 * 21 - 1) / 12 / 2000));
}

TEST_CASE("a sequential epoch is in order and ends with what is left") {
  const auto sampler = sequential_sampler(5, 2);
  CHECK(sampler->batches_per_epoch() == 3);
  CHECK(epochs(*sampler, 7, 8) == std::vector<int64_t>{0, 1, 2, 3, 4});
  CHECK(sampler->batch(0, 2) == std::vector<int64_t>{4});
}

TEST_CASE("samplers say what is wrong") {
  const std::vector<int32_t> labels{0, 0, 2};
  CHECK_THROWS_WITH_AS(balanced_sampler(labels, 3, 2, 0), doctest::Contains("class 1"), Error);
  CHECK_THROWS_AS(balanced_sampler(labels, 2, 2, 0), Error);
  CHECK_THROWS_AS(sequential_sampler(0, 2), Error);
  CHECK_THROWS_AS(sequential_sampler(2, 0), Error);
}
