#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/device.h"
#include "engine/tape.h"

namespace fulmar {

// A tape that computes values again instead of keeping them, and where the values of the tape
// before it went: what it gives of them for the first time.
struct Recomputed {
  std::shared_ptr<Tape> tape;
  std::vector<std::vector<Val>> values;  // by node and output of the tape before

  // Empty: neither an output nor an update of state needs the value.
  Val now(Val before) const {
    return before ? values[static_cast<size_t>(before.node)][static_cast<size_t>(before.output)]
                  : Val{};
  }
};

// Records a tape anew so that its plan needs less memory: values that lie idle between two readers
// while memory is shortest, such as activations that wait for their gradient, are computed a second
// time (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). Each step runs at most
// twice, on the same operands and with the same bits. Of the values that help, the one is taken
// that gives most memory for the work of computing it again, until the peak falls no further.
// To be called when the tape is whole, behind grad and the optimiser's ops.
FULMAR_API Recomputed recompute(const Tape& tape, std::span<const Val> outputs, Device& device);

}  // namespace fulmar
