#pragma once

#include <string>
#include <vector>

#include "tests/support/training.h"

namespace fulmar::test {

// How to run the program with that library for its CUDA backend.
inline HowToRun with_library(const std::string& path, const std::vector<std::string>& more = {}) {
  HowToRun how;
  how.environment = {"FULMAR_CUDA_LIBRARY=" + path};
  how.environment.insert(how.environment.end(), more.begin(), more.end());
  return how;
}
// With the one whose GPUs are the emulator (fake_cuda.cpp).
inline HowToRun with_fake(const std::vector<std::string>& more = {}) {
  return with_library(FULMAR_FAKE_CUDA, more);
}

}  // namespace fulmar::test
