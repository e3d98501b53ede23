#pragma once

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <string>

#include "kernels/backend.h"

namespace fulmar::test {

// The CPU's kernels restricted to one of Highway's targets, while this lives.
class InstructionSet {
 public:
  explicit InstructionSet(int64_t target) { choose(target); }
  ~InstructionSet() { choose(0); }
  InstructionSet(const InstructionSet&) = delete;
  InstructionSet& operator=(const InstructionSet&) = delete;

 private:
  static void choose(int64_t target) {  // 0: all that the processor has
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target ? target : hwy::SupportedTargets());
  }
};

// Runs body() with the CPU kernels of every instruction set that this machine and build have.
template <class Body>
void for_each_instruction_set(const Body& body) {
  const int64_t fallback = HWY_STATIC_TARGET;
  const int64_t all = (hwy::SupportedTargets() & HWY_TARGETS) | fallback;
  for (int64_t left = all; left != 0; left &= left - 1) {
    const InstructionSet only(left & -left);
    const std::string isa = cpu_backend().isa();
    CAPTURE(isa);
    body();
  }
}

}  // namespace fulmar::test
