#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/op_check.h"
#include "tests/support/instruction_sets.h"

namespace fulmar::test {
namespace {

Context& context() {
  static Context shared;
  return shared;
}

bool has_op(const Tape& tape, const std::string& name) {
  for (int n = 0; n < tape.size(); n++)
    if (tape.node(n).op->name() == name) return true;
  return false;
}

}  // namespace

TEST_CASE("fuse: what fuses agrees with the reference of what it replaces, and stays in its memory") {
  for_each_instruction_set([] {
    Device& cpu = context().device("cpu");
    for (const Case& c : fused_cases()) {
      const Recording r = record_fused(c, true, cpu);
      CAPTURE(c.name());
      CHECK(has_op(*r.tape, c.op));
      Complaints complaints = check_parity(c, r, context(), cpu);
      const Complaints guards = check_guards(c, r, context(), cpu);
      complaints.insert(complaints.end(), guards.begin(), guards.end());
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
  });
}

}  // namespace fulmar::test
