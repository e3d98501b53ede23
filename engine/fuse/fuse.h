#pragma once

#include <span>

#include "engine/device.h"
#include "engine/rewritten.h"
#include "engine/tape.h"

namespace fulmar {

// What the fused tape is for. Inference promises that no gradient will be asked for: then the
// statistics of a batch_norm may become part of a convolution's weights. `pointwise` is for a tape
// that is whole, gradients and updates among it: runs of pointwise ops in one pass over memory.
enum class FuseFor { gradients, inference, pointwise };

// Records a tape anew, with fused ops in place of runs of ops (the patterns of engine/fuse/) where
// the device has their kernels. What `keep` and the updates of state need is there afterwards, and
// no more; a value of `keep`, named by who will read it or ask for its gradient, is written to
// memory as before. An op for which `rules` has a gradient stays as it is, so that grad by the same
// rules finds it. To be called before grad: a fused op has a gradient of its own, of which few have
// one in turn.
FULMAR_API Rewritten fuse(const Tape& tape, const Device& device, std::span<const Val> keep,
                          const GradRules& rules = {}, FuseFor use = FuseFor::gradients);

}  // namespace fulmar
