#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/network.h"
#include "engine/tape.h"
#include "kernels/api.h"

namespace fulmar::model::explain {

// How many pixels of the value `input` a pixel of each node's first output depends on, along the
// longer of its sides (Araujo et al. 2019, "Computing receptive fields of convolutional neural
// networks"): by node, in [1, ...); 0: on all of them, or on none.
std::vector<int64_t> receptive_fields(const Tape& tape, Val input);

// The widest of a network's outputs, of its first input; 0: one depends on all pixels.
// Error(usage): the input doesn't say how many channels it has.
FULMAR_API int64_t widest_field(const Network& network);

// The effective receptive field (Luo et al. 2016): how far the gradient itself reaches, of a map
// [height,width] of its size by pixel.
// The side of the smallest square around (row, column) that holds `share` of the map's sum; where
// the map ends within it, what lies in the map counts. 0: the map is 0 throughout.
FULMAR_API int64_t side_of_share(std::span<const float> map, int64_t height, int64_t width,
                                 int64_t row, int64_t column, double share);
// The side of a square of as many pixels as have more than 1 - 0.9545 of the largest value: the
// paper's measure.
FULMAR_API double effective_side(std::span<const float> map);

}  // namespace fulmar::model::explain
