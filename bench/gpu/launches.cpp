#include "bench/gpu/launches.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

namespace fulmar::bench {
namespace {

using counted::Launch;

std::vector<uint64_t> numbers_of(const Launch& launch) {
  std::vector<uint64_t> numbers{launch.blocks()};
  for_each_count(launch, [&](const std::string&, uint64_t count) { numbers.push_back(count); });
  return numbers;
}

// `at(i)`: the count number i.
template <class Number>
Launch with_numbers(Launch launch, const Number& at) {
  launch.grid = {static_cast<uint32_t>(std::min<uint64_t>(at(0), UINT32_MAX)), 1, 1};
  size_t i = 1;
  for_each_count(launch, [&](const std::string&, uint64_t& count) { count = at(i++); });
  return launch;
}

using Key = std::pair<std::string, std::string>;
Key key_of(const Launch& launch) { return {launch.name, launch.symbol}; }

std::map<Key, std::vector<const Launch*>> by_kernel(const std::vector<Launch>& launches) {
  std::map<Key, std::vector<const Launch*>> all;
  for (const Launch& l : launches) all[key_of(l)].push_back(&l);
  return all;
}

uint64_t whole(double number) { return static_cast<uint64_t>(std::llround(std::max(number, 0.0))); }

}  // namespace

void add(Launch& sum, const Launch& more) {
  std::vector<uint64_t> numbers;
  for_each_count(more, [&](const std::string&, uint64_t count) { numbers.push_back(count); });
  size_t i = 0;
  for_each_count(sum, [&](const std::string&, uint64_t& count) { count += numbers[i++]; });
  sum.shared.worst = std::max(sum.shared.worst, more.shared.worst);
}

std::vector<Launch> scaled_to(double pixels, const CountedSize& small, const CountedSize& large) {
  auto few = by_kernel(small.launches);
  auto many = by_kernel(large.launches);
  std::map<Key, size_t> turns;
  std::vector<Launch> scaled;
  for (const Launch& l : large.launches) {
    const std::vector<uint64_t> high = numbers_of(l);
    const std::vector<const Launch*>& partners = few[key_of(l)];
    const size_t turn = turns[key_of(l)]++;
    std::vector<uint64_t> low(high.size(), 0);
    double from = 0;
    if (partners.size() == many[key_of(l)].size()) {
      low = numbers_of(*partners[turn]);
      from = small.pixels;
    }
    const double share = (pixels - from) / (large.pixels - from);
    scaled.push_back(with_numbers(l, [&](size_t i) {
      const auto a = static_cast<double>(low[i]), b = static_cast<double>(high[i]);
      return whole(a + (b - a) * share);
    }));
    // Each count was rounded, and lies on a line of its own: none may pass what it is a part of.
    Launch& now = scaled.back();
    now.lane_runs = std::min(now.lane_runs, now.lane_slots);
    for (counted::Traffic* traffic : {&now.loads, &now.stores})
      traffic->used_bytes = std::min(traffic->used_bytes, traffic->sectors * counted::sector_bytes);
    counted::Caches& caches = now.caches;
    caches.l1_hits = std::min(caches.l1_hits, now.loads.sectors);
    caches.l2_sectors = now.loads.sectors - caches.l1_hits + now.stores.sectors;
    caches.l2_hits = std::min(caches.l2_hits, caches.l2_sectors);
    caches.read = now.loads.unique_sectors;
    caches.written = now.stores.unique_sectors;
  }
  return scaled;
}

}  // namespace fulmar::bench
