#pragma once

#include "kernels/error.h"

namespace fulmar::tools {

enum ExitCode : int {
  exit_ok = 0,
  exit_internal = 1,  // a fault of the program itself
  exit_usage = 2,     // arguments or shapes that don't fit
  exit_file = 3,      // a file that can't be read, understood or written
  exit_device = 4,    // a device that is missing or failed, or memory that ran out
  exit_diverged = 5,  // training became NaN or infinite
  exit_cancelled = 130
};

ExitCode code_of(ErrorKind kind);

}  // namespace fulmar::tools
