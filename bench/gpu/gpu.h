#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fulmar::bench {

// A GPU as the model sees it: what a processor (SM) can do in a clock, and what is shared.
struct Gpu {
  std::string name, title;
  int capability;  // 90: compute capability 9.0
  double processors, clock_ghz;
  double memory_gbytes;  // a second, of the memory beyond L2: what a copy reaches
  double l2_gbytes;      // a second
  uint64_t l2_bytes, l1_bytes;
  // Instructions of single lanes in a clock of a processor.
  double fp32, fp64, whole, special, convert64;
  double matrix;  // multiply-adds of bf16 by mma.sync in a clock of a processor
  // Of a processor.
  uint64_t threads, blocks, registers, shared_bytes;
};

// "h100", "h200", "a100", "rtx-4090"
const std::vector<Gpu>& known_gpus();
std::vector<std::string> gpu_names();
// Error(usage) where it is not known.
const Gpu& gpu_named(const std::string& name);

}  // namespace fulmar::bench
