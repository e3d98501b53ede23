#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "bench/kernels/measure.h"
#include "engine/device.h"
#include "engine/plan.h"

// The least that a tape can take on this machine, and where its time goes beyond that.
namespace fulmar::bench {

// What a step of a plan moves and computes.
struct Need {
  // What its operands and outputs hold, each once; of a picture that a crop is cut out of no more
  // elements than are cut out; nothing of a value that the plan joins where it was made.
  double bytes = 0;
  double flops = 0;  // as Op::flops
};
Need need_of(const Tape& tape, const Plan& plan, size_t step, const Device& device);

// Seconds that a need takes at least: of copying as many bytes (read and written), and of
// arithmetic, the longer.
double floor_seconds(const Need& need, const CopyCurve& copies, double gflops);

// A step of a plan with its time, measured, and its floor.
struct TimedStep {
  std::string op, block;  // "conv2d_input_grad"; "block 3", "outside" where a node has no scope
  Need need;
  double seconds = 0, floor = 0;
};

// Steps of one kind, added up.
struct Stage {
  std::string name;
  double seconds = 0, floor = 0;
  int steps = 0;
};
std::vector<Stage> by_op(const std::vector<TimedStep>& steps);     // the longest first
std::vector<Stage> by_block(const std::vector<TimedStep>& steps);  // in the tape's order
// Of each op and block together, those that lie the most seconds above their floor.
std::vector<Stage> furthest_above_floor(const std::vector<TimedStep>& steps, size_t count);

// All steps that run each time; `seconds` by step, of Session::run_timed().
std::vector<TimedStep> timed_steps(const Tape& tape, const Plan& plan, const Device& device,
                                   const std::vector<double>& seconds, const CopyCurve& copies,
                                   double gflops);
double floor_seconds(const std::vector<TimedStep>& steps);  // their sum

}  // namespace fulmar::bench
