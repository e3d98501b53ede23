#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/gpu/gpu.h"
#include "bench/gpu/resources.h"
#include "kernels/counted/counts.h"

namespace fulmar::bench {

// What a launch would take on a GPU by a simple model, never measured: the longest of what its
// parts take alone, and a fixed time for the launch.
struct Prediction {
  struct Part {
    std::string what;  // "memory", "L2", "issue", "fp32", ...
    double seconds;
  };
  std::vector<Part> parts;  // the longest first
  double seconds = 0;       // with the launch
  double occupancy = 0;     // resident threads of those that a processor takes

  const std::string& bound() const { return parts.front().what; }
};

Prediction predict(const Gpu& gpu, const counted::Launch& launch,
                   const std::optional<Resources>& resources);

}  // namespace fulmar::bench
