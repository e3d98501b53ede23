#pragma once

#include <string>
#include <vector>

#include "tests/support/built.h"
#include "tests/support/error_of.h"
#include "tests/support/process.h"

namespace fulmar::test {

// Runs the fulmar that was built.
inline Ended fulmar_program(const std::vector<std::string>& arguments, const HowToRun& how = {}) {
  return run_process(built::program, arguments, how);
}

}  // namespace fulmar::test
