#pragma once

#include <functional>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "bench/kernels/kernel_bench.h"

namespace fulmar::bench {

// How much a device is asked at a time.
struct Limits {
  double rotated_bytes;  // that a kernel should touch before it touches the same again
  double least_round;    // seconds of work between two looks at the clock
  int64_t copy_bytes;    // of the copy that the ceiling is measured by, at most
  int64_t product_side;  // of the matrix product that the ceiling is measured by, at most
};
Limits limits_of(const Device& device);

// What a device reaches, measured in the same run as the kernels.
struct Ceilings {
  // Per second, read and written, in rounds as kernels are timed: the fastest of ten of large
  // copies, by the backend's copy and by its pointwise kernel, which does without strides.
  double copy_gbytes = 0;
  // Of the CPU: fused multiply-adds out of registers, measured anew beside each kernel. Of others:
  // a large matrix product by the backend, at its precision.
  double gflops = 0;
};
double copy_gbytes(Device& device);
// Copies of several sizes: small ones stay in the caches.
struct CopyCurve {
  struct Point {
    double bytes, gbytes;  // moved, read and written; that many 1e9 a second
  };
  std::vector<Point> points;  // ascending by bytes

  // For so many bytes, between the two nearest sizes by the logarithm; outside as at the end.
  double gbytes(double bytes) const;
};
CopyCurve measure_copies(Device& device);
Ceilings measure_ceilings(Context& context, Device& device);
// That of arithmetic at this moment: with AVX-512 a CPU's clock falls within milliseconds.
double arithmetic_gflops(Context& context, const Device& device, const Ceilings& ceilings);

// One kernel's time and what it amounts to.
struct Timing {
  std::string name, shapes;
  double seconds = 0;  // of one run: the median over rounds
  double bytes = 0, flops = 0;
  double gflops_ceiling = 0;  // measured beside it; 0 where flops is 0
  int rounds = 0;             // times the clock was read
  double gbytes_per_second() const { return bytes / seconds * 1e-9; }
  double gflops_per_second() const { return flops / seconds * 1e-9; }
};

// Work of a device, timed by rounds that are long enough for the clock. Where the device can write
// work down, a round is a replay.
class Rounds {
 public:
  Rounds(Device& device, std::function<void()> work);

  double round();  // seconds of the work done once, the mean of a round

 private:
  void repeat();

  Device& device_;
  std::function<void()> work_;
  int repeats_ = 1;
  DeviceGraph graph_;
};

// A kernel, run by rounds that take turns over the copies of its row.
class Measured {
 public:
  Measured(Device& device, PreparedRow& row, const Kernel& kernel);
  Measured(const Measured&) = delete;
  Measured& operator=(const Measured&) = delete;

  double round();  // seconds of one run, the mean of a round

 private:
  std::vector<Session> sessions_;
  Rounds rounds_;
};

// Takes rounds for about `budget` seconds, five at least.
Timing measure(Context& context, Device& device, PreparedRow& row, const Kernel& kernel,
               const Ceilings& ceilings, double budget);

// Which kernels of the benchmark rows are timed: those whose name the filter finds. What comes
// again in a gradient, or as another row's helper (a sum) of the same shapes, comes once.
class Selection {
 public:
  explicit Selection(const std::string& filter);  // ECMAScript; Error(usage) where it is none
  bool takes(const Kernel& kernel);

 private:
  std::regex filter_;
  std::set<std::string> taken_;
};

}  // namespace fulmar::bench
