#pragma once

#include "kernels/backend.h"

namespace fulmar::bench {

// What this machine reaches with a pool's threads, to judge kernels of the same run by.
// One to two milliseconds of float32 fused multiply-adds (two operations each) out of registers.
double fma_gflops(ThreadPool& pool);
// The fastest of ten copies of 128 MiB: bytes read and bytes written.
double copy_gbytes(Stream& stream);

}  // namespace fulmar::bench
