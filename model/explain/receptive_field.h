#pragma once

#include <cstdint>
#include <vector>

#include "engine/tape.h"

namespace fulmar::model::explain {

// How many pixels of the value `input` a pixel of each node's first output depends on, along the
// longer of its sides (Araujo et al. 2019, "Computing receptive fields of convolutional neural
// networks"): by node, in [1, ...); 0: on all of them, or on none.
std::vector<int64_t> receptive_fields(const Tape& tape, Val input);

}  // namespace fulmar::model::explain
