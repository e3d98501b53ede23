#pragma once

#include <span>

#include "engine/device.h"
#include "engine/rewritten.h"
#include "engine/tape.h"

namespace fulmar {

// Records a tape anew so that its plan needs less memory: values that lie idle between two readers
// while memory is shortest, such as activations that wait for their gradient, are computed a second
// time (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). Each step runs at most
// twice, on the same operands and with the same bits. Of the values that help, the one is taken
// that gives most memory for the work of computing it again, until the peak falls no further.
// What a value went to is its first run. To be called when the tape is whole, behind grad and the
// optimiser's ops.
FULMAR_API Rewritten recompute(const Tape& tape, std::span<const Val> outputs, Device& device);

}  // namespace fulmar
