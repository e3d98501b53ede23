#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/api.h"

// Masks from maps: where nobody has drawn them, a classifier's explanations are a first guess.
namespace fulmar::model::explain {

struct MaskOptions {
  // The pixels with the largest values, this share of all (equal ones go together); none: those
  // above the threshold that parts the values above 0 best (Otsu 1979).
  std::optional<double> share{};
  int64_t components = 1;  // the largest connected parts that stay; 0: all
  // Pixels whose value is near the threshold go with the seed, inside or outside, that they reach
  // over the smallest steps of the picture's brightness (the image foresting transform: Falcão et
  // al. 2004).
  bool refine = false;
};

// 1 inside, 0 outside: [height,width], of a map of as many pixels. `picture`: its brightness, for
// refining; else it may be empty. A map without a value above 0 gives an empty mask. Error(usage)
// where extents or settings don't fit.
FULMAR_API std::vector<uint8_t> mask_of(std::span<const float> map, int64_t height, int64_t width,
                                        const MaskOptions& options,
                                        std::span<const float> picture = {});

// Otsu's threshold of the values above 0: those above it are the upper class. 0 where there are
// none.
FULMAR_API double otsu_threshold(std::span<const float> values);

struct MaskScores {
  double iou = 0, precision = 0, recall = 0;  // NaN where there is nothing to divide by
};
// Of pixels; `truth` above 0 is inside.
FULMAR_API MaskScores compare_masks(std::span<const uint8_t> mask, std::span<const uint8_t> truth);

}  // namespace fulmar::model::explain
