#pragma once

#include <cstdint>

#include "kernels/api.h"

namespace fulmar::model {

// Learning rates as functions of the optimiser step, counted from 0. Past the last step the last
// rate stays. Error(usage) without steps, or for a number out of its range.

// Smith & Topin's one-cycle policy, as PyTorch's OneCycleLR with cosine annealing and two phases.
// The rate rises from max_rate / start_divisor to max_rate in warmup_share x steps - 1 steps. Then
// it falls to max_rate / (start_divisor x end_divisor) at the last step. Momentum stays constant
// (PyTorch's cycle_momentum=False).
struct FULMAR_API OneCycle {
  double max_rate = 1e-3;
  int64_t steps = 0;
  double warmup_share = 0.3;  // 0..1
  double start_divisor = 25;
  double end_divisor = 1e4;

  double rate(int64_t step) const;
};

// Linear from max_rate / warmup_steps at step 0 to max_rate, then half a cosine (Loshchilov &
// Hutter 2017, without restarts). The cosine would reach end_rate one step after the last.
struct FULMAR_API WarmupCosine {
  double max_rate = 1e-3;
  int64_t steps = 0;
  int64_t warmup_steps = 0;  // 0..steps
  double end_rate = 0;

  double rate(int64_t step) const;
};

// Half a cosine from max_rate towards end_rate, begun anew each `period` steps, each period
// `factor` times as long as the one before (Loshchilov & Hutter 2017, as PyTorch's
// CosineAnnealingWarmRestarts stepped by batch). It has no last step.
struct FULMAR_API CosineRestarts {
  double max_rate = 1e-3;
  int64_t period = 0;  // steps of the first
  int64_t factor = 1;
  double end_rate = 0;

  double rate(int64_t step) const;
};

}  // namespace fulmar::model
