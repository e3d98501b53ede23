// Methods that hide parts of the input and look at the score.
#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "kernels/random.h"
#include "model/explain/kinds.h"

namespace fulmar::model::explain {
namespace {

// Where windows begin along an axis: every `stride` pixels, and a last one at the end.
std::vector<int64_t> begins(int64_t extent, int64_t window, int64_t stride) {
  std::vector<int64_t> all;
  for (int64_t at = 0; at < extent - window; at += stride) all.push_back(at);
  all.push_back(extent - window);
  return all;
}

Explanation map_of(const Explainer& explainer, std::span<const double> values, double score) {
  Explanation e;
  e.shape = {1, explainer.shape().height(), explainer.shape().width(), 1};
  e.score = score;
  for (const double value : values) e.values.push_back(static_cast<float>(value));
  return e;
}

}  // namespace

// Zeiler & Fergus 2014: by how much the score falls where a window shows the baseline instead; each
// pixel has the mean over the windows that cover it.
std::vector<Explanation> occlusion(Explainer& explainer, std::span<const float> inputs,
                                   const Target& target, const Settings& settings) {
  const int64_t height = explainer.shape().height(), width = explainer.shape().width();
  const int64_t shorter = std::min(height, width);
  const int64_t window =
      settings.window > 0 ? settings.window : std::max<int64_t>(1, (shorter + 7) / 8);
  const int64_t stride = settings.stride > 0 ? settings.stride : std::max<int64_t>(1, window / 2);
  if (window > shorter || stride > window)
    usage_error("occlusion: a window of " + std::to_string(window) + " and a stride of " +
                std::to_string(stride) + " pixels don't cover " + std::to_string(height) + " x " +
                std::to_string(width) + " pixels: window at most " + std::to_string(shorter) +
                ", stride at most the window");
  const std::vector<float> baseline = baseline_of(explainer, settings);
  const auto rows = begins(height, window, stride), columns = begins(width, window, stride);
  const auto each_pixel = [&](int64_t number, const auto& of) {
    const int64_t top = rows[static_cast<size_t>(number / std::ssize(columns))];
    const int64_t left = columns[static_cast<size_t>(number % std::ssize(columns))];
    for (int64_t row = top; row < top + window; row++)
      for (int64_t column = left; column < left + window; column++)
        of(static_cast<size_t>(row * width + column));
  };
  const int64_t count = std::ssize(rows) * std::ssize(columns);
  return each_input(explainer, inputs, [&](std::span<const float> input) {
    const std::vector<double> scores = explainer.masked_scores(
        target, input, baseline, count, [&](int64_t number, std::span<float> mask) {
          std::fill(mask.begin(), mask.end(), 1.0F);
          each_pixel(number, [&](size_t pixel) { mask[pixel] = 0; });
        });
    const double whole = explainer.score(target, input);
    std::vector<double> sums(static_cast<size_t>(height * width), 0.0), covers = sums;
    for (int64_t number = 0; number < count; number++)
      each_pixel(number, [&](size_t pixel) {
        sums[pixel] += whole - scores[static_cast<size_t>(number)];
        covers[pixel]++;
      });
    for (size_t pixel = 0; pixel < sums.size(); pixel++) sums[pixel] /= covers[pixel];
    return map_of(explainer, sums, whole);
  });
}

// Petsiuk et al. 2018: the mean score under random masks that show a pixel. A mask is a grid of
// cells, each shown with probability `keep`, enlarged bilinearly by one cell more than fits and cut
// out at a random place.
std::vector<Explanation> rise(Explainer& explainer, std::span<const float> inputs,
                              const Target& target, const Settings& settings) {
  const int64_t height = explainer.shape().height(), width = explainer.shape().width();
  const int64_t cells = settings.cells;
  if (settings.masks < 1 || cells < 1 || cells > std::min(height, width) ||
      !(settings.keep > 0 && settings.keep < 1))
    usage_error("rise: needs masks, cells from 1 to " + std::to_string(std::min(height, width)) +
                ", and a probability between 0 and 1");
  const std::vector<float> baseline = baseline_of(explainer, settings);
  const int64_t cell_height = (height + cells - 1) / cells,
                cell_width = (width + cells - 1) / cells;
  const int64_t grown_height = (cells + 1) * cell_height, grown_width = (cells + 1) * cell_width;
  return each_input(explainer, inputs, [&](std::span<const float> input) {
    std::vector<double> sums(static_cast<size_t>(height * width), 0.0);
    std::vector<std::vector<float>> drawn;
    std::vector<double> scores;
    // In groups, so that memory doesn't grow with the masks.
    constexpr int64_t group = 64;
    for (int64_t begin = 0; begin < settings.masks; begin += group) {
      const int64_t here = std::min(group, settings.masks - begin);
      drawn.clear();
      scores = explainer.masked_scores(
          target, input, baseline, here, [&](int64_t number, std::span<float> mask) {
            const auto stream = static_cast<uint64_t>(begin + number);
            std::vector<float> grid;
            for (int64_t cell = 0; cell < cells * cells; cell++)
              grid.push_back(
                  uniform(philox(settings.seed, stream, static_cast<uint64_t>(cell)).word[0]) <
                  settings.keep);
            const RandomBits place = philox(settings.seed, stream, ~uint64_t{0});
            const auto shift = [&](int word, int64_t cell) {
              return static_cast<int64_t>(uniform(place.word[word]) * static_cast<double>(cell));
            };
            const int64_t top = shift(0, cell_height), left = shift(1, cell_width);
            const std::vector<float> grown = on_grid(grid, cells, cells, grown_height, grown_width);
            for (int64_t row = 0; row < height; row++)
              std::copy_n(grown.begin() + (top + row) * grown_width + left, width,
                          mask.begin() + row * width);
            drawn.emplace_back(mask.begin(), mask.end());
          });
      for (size_t number = 0; number < scores.size(); number++)
        for (size_t pixel = 0; pixel < sums.size(); pixel++)
          sums[pixel] += scores[number] * static_cast<double>(drawn[number][pixel]);
    }
    const double norm = settings.keep * static_cast<double>(settings.masks);
    for (double& sum : sums) sum /= norm;
    return map_of(explainer, sums, explainer.score(target, input));
  });
}

}  // namespace fulmar::model::explain
