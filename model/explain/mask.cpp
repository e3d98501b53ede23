#include "model/explain/mask.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <queue>
#include <string>
#include <utility>

#include "kernels/error.h"

namespace fulmar::model::explain {
namespace {

// Calls of(place) for each of a pixel's eight neighbours.
template <class Of>
void each_neighbour(int64_t place, int64_t height, int64_t width, const Of& of) {
  const int64_t row = place / width, column = place % width;
  for (int64_t y = std::max<int64_t>(0, row - 1); y <= std::min(height - 1, row + 1); y++)
    for (int64_t x = std::max<int64_t>(0, column - 1); x <= std::min(width - 1, column + 1); x++)
      if (y != row || x != column) of(y * width + x);
}

void keep_largest(std::vector<uint8_t>& mask, int64_t height, int64_t width, int64_t count) {
  std::vector<int64_t> part(mask.size(), -1), sizes, open;
  for (int64_t start = 0; start < std::ssize(mask); start++) {
    if (!mask[static_cast<size_t>(start)] || part[static_cast<size_t>(start)] >= 0) continue;
    const int64_t number = std::ssize(sizes);
    sizes.push_back(0);
    open.assign(1, start);
    part[static_cast<size_t>(start)] = number;
    while (!open.empty()) {
      const int64_t place = open.back();
      open.pop_back();
      sizes.back()++;
      each_neighbour(place, height, width, [&](int64_t next) {
        const auto at = static_cast<size_t>(next);
        if (!mask[at] || part[at] >= 0) return;
        part[at] = number;
        open.push_back(next);
      });
    }
  }
  std::vector<int64_t> order(sizes.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = static_cast<int64_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return sizes[static_cast<size_t>(a)] > sizes[static_cast<size_t>(b)];
  });
  std::vector<bool> stays(sizes.size(), false);
  for (int64_t i = 0; i < std::min(count, std::ssize(order)); i++)
    stays[static_cast<size_t>(order[static_cast<size_t>(i)])] = true;
  for (size_t i = 0; i < mask.size(); i++)
    if (mask[i] && !stays[static_cast<size_t>(part[i])]) mask[i] = 0;
}

// Pixels surely inside or outside keep their side; the others take that of the nearest one, as far
// as steps of brightness go.
std::vector<uint8_t> refined(std::span<const float> map, int64_t height, int64_t width,
                             double threshold, std::span<const float> picture) {
  const auto largest = static_cast<double>(*std::max_element(map.begin(), map.end()));
  const auto [low, high] = std::minmax_element(picture.begin(), picture.end());
  // A step costs something where the picture is even, too: else areas would have no middle.
  const double even = 1e-3 * std::max(static_cast<double>(*high - *low), 1e-30);
  std::vector<uint8_t> mask(map.size(), 0);
  std::vector<double> cost(map.size(), std::numeric_limits<double>::infinity());
  using Step = std::pair<double, int64_t>;
  std::priority_queue<Step, std::vector<Step>, std::greater<>> open;
  for (int64_t place = 0; place < std::ssize(map); place++) {
    const auto at = static_cast<size_t>(place);
    const auto value = static_cast<double>(map[at]);
    const bool inside = value >= (threshold + largest) / 2;
    if (!inside && value > threshold / 2) continue;
    mask[at] = inside;
    cost[at] = 0;
    open.emplace(0, place);
  }
  while (!open.empty()) {
    const auto [so_far, place] = open.top();
    open.pop();
    const auto from = static_cast<size_t>(place);
    if (so_far > cost[from]) continue;
    each_neighbour(place, height, width, [&, cost_here = so_far](int64_t next) {
      const auto to = static_cast<size_t>(next);
      const double step =
          std::abs(static_cast<double>(picture[to]) - static_cast<double>(picture[from])) + even;
      if (cost_here + step >= cost[to]) return;
      cost[to] = cost_here + step;
      mask[to] = mask[from];
      open.emplace(cost[to], next);
    });
  }
  return mask;
}

}  // namespace

double otsu_threshold(std::span<const float> values) {
  constexpr int bins = 256;
  const auto largest =
      values.empty() ? 0.0 : static_cast<double>(*std::max_element(values.begin(), values.end()));
  if (!(largest > 0)) return 0;
  std::array<double, bins> counts{}, sums{};
  double total = 0, total_sum = 0;
  for (const float one : values) {
    const auto value = static_cast<double>(one);
    if (!(value > 0)) continue;
    const auto bin =
        static_cast<size_t>(std::min(bins - 1, static_cast<int>(value / largest * bins)));
    counts[bin]++;
    sums[bin] += value;
    total++;
    total_sum += value;
  }
  double best = -1, below = 0, below_sum = 0;
  int first = 0, last = 0;  // of the thresholds that part the classes equally well
  for (int bin = 0; bin + 1 < bins; bin++) {
    below += counts[static_cast<size_t>(bin)];
    below_sum += sums[static_cast<size_t>(bin)];
    if (below == 0 || below == total) continue;
    const double apart = below_sum / below - (total_sum - below_sum) / (total - below);
    const double between = below * (total - below) * apart * apart;
    if (between > best * (1 + 1e-12)) best = between, first = bin;
    if (between >= best * (1 - 1e-12)) last = bin;
  }
  if (best < 0) return 0;  // one value alone
  return largest * (static_cast<double>(first + last) / 2 + 1) / bins;
}

std::vector<uint8_t> mask_of(std::span<const float> map, int64_t height, int64_t width,
                             const MaskOptions& options, std::span<const float> picture) {
  if (height < 1 || width < 1 || std::ssize(map) != height * width)
    usage_error("a map of " + std::to_string(map.size()) + " pixels is not " +
                std::to_string(height) + " x " + std::to_string(width));
  if (options.refine && picture.size() != map.size())
    usage_error("a mask is refined on a picture of as many pixels: it has " +
                std::to_string(picture.size()) + ", the map " + std::to_string(map.size()));
  if (options.share && !(*options.share > 0 && *options.share < 1))
    usage_error("a mask's share must lie between 0 and 1");
  if (options.components < 0) usage_error("the number of a mask's parts must not be below 0");
  std::vector<uint8_t> mask(map.size(), 0);
  if (!(*std::max_element(map.begin(), map.end()) > 0)) return mask;
  double threshold = 0;
  if (options.share) {
    std::vector<float> values(map.begin(), map.end());
    const auto at = static_cast<std::ptrdiff_t>(
        std::floor((1 - *options.share) * static_cast<double>(values.size())));
    std::nth_element(values.begin(), values.begin() + at, values.end());
    threshold = std::max(0.0, static_cast<double>(values[static_cast<size_t>(at)]));
  } else {
    threshold = otsu_threshold(map);
  }
  if (options.refine) {
    mask = refined(map, height, width, threshold, picture);
  } else {
    for (size_t i = 0; i < map.size(); i++) {
      const auto value = static_cast<double>(map[i]);
      mask[i] = value > 0 && (options.share ? value >= threshold : value > threshold);
    }
  }
  if (options.components > 0) keep_largest(mask, height, width, options.components);
  return mask;
}

MaskScores compare_masks(std::span<const uint8_t> mask, std::span<const uint8_t> truth) {
  if (mask.size() != truth.size())
    usage_error("masks of " + std::to_string(mask.size()) + " and " + std::to_string(truth.size()) +
                " pixels can't be compared");
  double both = 0, found = 0, real = 0;
  for (size_t i = 0; i < mask.size(); i++) {
    both += mask[i] && truth[i];
    found += mask[i] != 0;
    real += truth[i] != 0;
  }
  const auto over = [&](double all) {
    return all > 0 ? both / all : std::numeric_limits<double>::quiet_NaN();
  };
  return {over(found + real - both), over(found), over(real)};
}

}  // namespace fulmar::model::explain
