#pragma once

#include <cstddef>

#include "kernels/simt/types.h"

namespace fulmar::simt {

// A launch: its name in errors, its numbers of threads, its code.
struct Work {
  const char* name;
  dim3 grid, block;
  size_t dynamic_shared;  // bytes
  void (*kernel)(const void* arguments);
  const void* arguments;
  const void* code = nullptr;  // the kernel's own function, by which it can be named
};

// Runs all blocks in this thread's order. Error(usage) where the launch passes a limit of CUDA's or
// the kernel breaks a rule: the first in that order; no further block runs.
void run(const Work& work);

}  // namespace fulmar::simt
