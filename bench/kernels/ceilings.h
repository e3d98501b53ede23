#pragma once

#include "kernels/thread_pool.h"

namespace fulmar::bench {

// What this machine reaches with a pool's threads, to judge kernels of the same run by: one to two
// milliseconds of float32 fused multiply-adds (two operations each) out of registers.
double fma_gflops(ThreadPool& pool);

}  // namespace fulmar::bench
