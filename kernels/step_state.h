#pragma once

#include <cstdint>

namespace fulmar {

// The numbers that change from step to step. They lie in device memory, where kernels read them: so
// a kernel's arguments stay the same, and a captured graph can be replayed.
struct StepState {
  uint64_t seed = 0;         // key of every random draw of the run
  uint64_t draw = 0;         // counter of random draws: one per micro-batch, never reused
  int64_t step = 1;          // optimiser step, counted from 1
  double learning_rate = 0;  // of this step
  int64_t micro_batch = 0;   // which of the step's micro-batches this is, counted from 0
};

// A run of parameters in the flat arenas. All arenas (parameters, gradients, moments) share it.
struct Segment {
  int64_t begin = 0, end = 0;  // elements
  int64_t decays = 0;          // 1: weight decay applies, 0: it doesn't
};

}  // namespace fulmar
