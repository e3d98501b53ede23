#pragma once

#include <string>
#include <vector>

#include "tests/support/process.h"

namespace fulmar::test {

// Runs the fulmar that was built.
inline Ended fulmar_program(const std::vector<std::string>& arguments, const HowToRun& how = {}) {
  return run_process(FULMAR_PROGRAM, arguments, how);
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace fulmar::test
