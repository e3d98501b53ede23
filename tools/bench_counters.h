#pragma once

#include <functional>
#include <optional>
#include <string>

#include "bench/step/step_work.h"
#include "tools/cli.h"

namespace fulmar::tools {

// What kernels would ask of a GPU, counted on the emulator.
struct CountersOptions {
  bool on = false;
  std::string gpu = "h200";
  std::optional<int64_t> scale_to;
  std::optional<int64_t> blocks;  // of a launch that run; all where none is given
};

void add_counters(CLI::App& command, CountersOptions& options, bool scales);
// Error(usage) where --counters and --device don't go together.
void check_counters(const CountersOptions& options, const SharedOptions& shared);

// Counts one step, and prints a table by kernel, or JSON.
int count_step(const CountersOptions& options, const bench::StepOptions& step,
               const SharedOptions& shared);
// The same of rows of the op table: those kernels whose names the filter finds.
int count_ops(const CountersOptions& options, const std::string& filter, int64_t batch,
              int64_t crop, const SharedOptions& shared);

}  // namespace fulmar::tools
