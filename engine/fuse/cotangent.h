#pragma once

#include <span>
#include <vector>

#include "engine/tape.h"
#include "kernels/fused.h"

// The cotangent of a convolution's output among the operands of its fused gradient: itself, or what
// is left to do.
namespace fulmar::ops {

struct CotangentOperand {
  static constexpr size_t count = 8;  // dy, argmax, z, gamma, mean, var, sums, grad sums
  bool pooled = false, normalised = false;
  double epsilon = 0;

  Cotangent view(std::span<const View> operands) const;
};

struct DeferredCotangent {
  CotangentOperand how;
  std::vector<Val> values;
};

// dy, of y. Takes what batch_norm_grad and, with `pools`, max_pool_grad still have to do over from
// them: they aren't run where nobody else reads what they give.
DeferredCotangent deferred(const Tape& tape, Val y, Val dy, bool pools);

}  // namespace fulmar::ops
