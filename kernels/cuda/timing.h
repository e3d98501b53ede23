#pragma once

#include <functional>

#include "kernels/cuda/dense.h"
#include "kernels/error.h"

namespace fulmar::cuda {

// Where the algorithms' workspaces begin.
constexpr size_t work_alignment = 256;
void* aligned_work(void* work);  // up to work_alignment bytes further

// An algorithm's failure that no other call on the device survives.
struct DeviceLost : Error {
  explicit DeviceLost(const std::string& message) : Error(ErrorKind::device, message) {}
};

// Milliseconds that an algorithm takes on the device. Rough for an algorithm that is far slower
// than the best before it; infinite where memory is too short to time it. Error(device) where the
// algorithm fails or can't be captured; DeviceLost where the device fails with it.
using Timer = std::function<float(DenseAlgorithm&)>;
// Makes the timer of a problem's algorithms.
using Timers = std::function<Timer(const DenseProblem&)>;

// Timers on a stream's GPU, warmed up, on memory of their own full of noise: two runs, then several
// captured as one graph and replayed between events, so that what the host does isn't counted.
Timers timers_on(const Stream& stream);

}  // namespace fulmar::cuda
