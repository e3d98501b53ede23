#pragma once

#include "kernels/backend.h"

namespace fulmar::test {

// What a device that stores activations as bf16 computes, but for the rounding of its own
// arithmetic: every kernel of `base` on operands converted to its type, and all that is stored
// rounded to bf16 (activations) or float (parameters, statistics). Dense convolutions see weights
// rounded to bf16. `base` is `reference` (float64 between two roundings) or `cpu` (float32, and the
// fused kernels too).
const Backend& emulated_bf16();
const Backend& emulated_bf16_by_cpu();

}  // namespace fulmar::test
