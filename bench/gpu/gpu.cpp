#include "bench/gpu/gpu.h"

#include <algorithm>

#include "kernels/error.h"

namespace fulmar::bench {

// Processors, clock (boost), memory and L2: NVIDIA's data sheets and architecture whitepapers (H100
// SXM5, H200 SXM, A100 SXM 80 GB, GeForce RTX 4090). Instructions a clock: CUDA C++ Programming
// Guide, "Arithmetic Instructions"; limits: there, "Technical Specifications per Compute
// Capability".
//
// Memory: a copy on an H200 was measured at 4.3 TB/s, 0.90 of its data sheet's 4.8; the same share
// is taken of the others'. Matrix units: the data sheets' dense bf16 with sums in float (989, 312,
// 165 TFLOP/s); mma.sync reaches 0.62 of it on Hopper, as microbenchmarks found (Luo et al. 2024,
// arXiv:2402.13499). L2: the A100's whitepaper says 5120 bytes a clock; 0.70 of it is taken, of
// Hopper's the same bytes; Ada's is not documented, 5 TB/s are taken. Nothing else here was
// measured.
const std::vector<Gpu>& known_gpus() {
  constexpr uint64_t kib = 1 << 10, mib = 1 << 20;
  static const std::vector<Gpu> gpus = {
      {.name = "h100",
       .title = "H100 SXM",
       .capability = 90,
       .processors = 132,
       .clock_ghz = 1.98,
       .memory_gbytes = 0.90 * 3350,
       .l2_gbytes = 0.70 * 5120 * 1.98,
       .l2_bytes = 50 * mib,
       .l1_bytes = 256 * kib,
       .fp32 = 128,
       .fp64 = 64,
       .whole = 64,
       .special = 16,
       .convert64 = 16,
       .matrix = 0.62 * 2048,
       .threads = 2048,
       .blocks = 32,
       .registers = 65536,
       .shared_bytes = 228 * kib},
      {.name = "h200",
       .title = "H200 SXM",
       .capability = 90,
       .processors = 132,
       .clock_ghz = 1.98,
       .memory_gbytes = 4300,
       .l2_gbytes = 0.70 * 5120 * 1.98,
       .l2_bytes = 60 * mib,
       .l1_bytes = 256 * kib,
       .fp32 = 128,
       .fp64 = 64,
       .whole = 64,
       .special = 16,
       .convert64 = 16,
       .matrix = 0.62 * 2048,
       .threads = 2048,
       .blocks = 32,
       .registers = 65536,
       .shared_bytes = 228 * kib},
      {.name = "a100",
       .title = "A100 SXM 80 GB",
       .capability = 80,
       .processors = 108,
       .clock_ghz = 1.41,
       .memory_gbytes = 0.90 * 2039,
       .l2_gbytes = 0.70 * 5120 * 1.41,
       .l2_bytes = 40 * mib,
       .l1_bytes = 192 * kib,
       .fp32 = 64,
       .fp64 = 32,
       .whole = 64,
       .special = 16,
       .convert64 = 16,
       .matrix = 1024,
       .threads = 2048,
       .blocks = 32,
       .registers = 65536,
       .shared_bytes = 164 * kib},
      {.name = "rtx-4090",
       .title = "GeForce RTX 4090",
       .capability = 89,
       .processors = 128,
       .clock_ghz = 2.52,
       .memory_gbytes = 0.90 * 1008,
       .l2_gbytes = 5000,
       .l2_bytes = 72 * mib,
       .l1_bytes = 128 * kib,
       .fp32 = 128,
       .fp64 = 2,
       .whole = 64,
       .special = 16,
       .convert64 = 2,
       .matrix = 256,
       .threads = 1536,
       .blocks = 24,
       .registers = 65536,
       .shared_bytes = 100 * kib},
  };
  return gpus;
}

std::vector<std::string> gpu_names() {
  std::vector<std::string> names;
  for (const Gpu& gpu : known_gpus()) names.push_back(gpu.name);
  return names;
}

const Gpu& gpu_named(const std::string& name) {
  const std::vector<Gpu>& all = known_gpus();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Gpu& gpu) { return gpu.name == name; });
  if (found == all.end()) usage_error("the GPU '" + name + "' is not known here");
  return *found;
}

}  // namespace fulmar::bench
