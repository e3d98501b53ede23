#pragma once

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <string>

#include "kernels/backend.h"
#include "tests/support/slow_build.h"

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

// Whether the set that any processor has is among them.
enum class Fallback { yes, no };

// Runs body() with the CPU kernels of every instruction set that this machine and build have.
template <class Body>
void for_each_instruction_set(const Body& body, Fallback with = Fallback::yes) {
  const int64_t fallback = HWY_STATIC_TARGET;
  const int64_t fast = hwy::SupportedTargets() & HWY_TARGETS & ~fallback;
  const int64_t all = with == Fallback::yes || fast == 0 ? fast | fallback : fast;
  for (int64_t left = all; left != 0; left &= left - 1) {
    const InstructionSet only(left & -left);
    const std::string isa = cpu_backend().isa();
    CAPTURE(isa);
    body();
  }
}

// For tests of whole networks: not the fallback under a sanitizer, which makes it many times slower
// than others. Tests of single ops run it there.
template <class Body>
void for_each_fast_instruction_set(const Body& body) {
  for_each_instruction_set(body, sanitized ? Fallback::no : Fallback::yes);
}

}  // namespace fulmar::test
