#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/op_check.h"

namespace fulmar::test {
namespace {

Context& context() {
  static Context shared;
  return shared;
}

// The float32 devices that this build can run on.
const std::vector<std::string> fast_devices{};
const std::vector<std::string> all_devices{"reference"};

bool has_gradient(const Case& c) {
  return std::any_of(c.operands.begin(), c.operands.end(),
                     [](const Operand& o) { return o.differentiable; });
}

}  // namespace

TEST_CASE("ops: every float32 device agrees with the reference, forward and gradients") {
  for (const std::string& device : fast_devices)
    for (const Case& c : op_cases()) {
      const Complaints complaints = check_parity(c, context(), context().device(device));
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
}

TEST_CASE("ops: gradients are the slopes that finite differences find") {
  for (const Case& c : op_cases()) {
    if (c.parity_only) continue;
    const Complaints complaints = check_gradients(c, context(), context().device("reference"));
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

TEST_CASE("ops: gradients of gradients are right, or refused by name") {
  for (const Case& c : op_cases()) {
    if (c.parity_only || !has_gradient(c)) continue;
    for (size_t i = 0; i < c.operands.size(); i++) {
      if (!c.operands[i].differentiable) continue;
      const Case second = gradient_case(c, i);
      CAPTURE(second.name());
      const bool once = std::find(c.once_only.begin(), c.once_only.end(), c.operands[i].name) !=
                        c.once_only.end();
      if (!once) {
        const Complaints complaints =
            check_gradients(second, context(), context().device("reference"));
        CHECK_MESSAGE(complaints.empty(), text(complaints));
      } else {
        CHECK_THROWS_WITH_AS(record(second, true), doctest::Contains("no gradient rule"), Error);
      }
    }
  }
}

TEST_CASE("ops: no kernel writes outside its outputs or depends on what lies there") {
  for (const std::string& device : all_devices)
    for (const Case& c : op_cases()) {
      const Complaints complaints = check_guards(c, context(), context().device(device));
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
}

TEST_CASE("ops: results have the same bits with any number of threads") {
  Context::Options one_thread, three_threads;
  one_thread.threads = 1, three_threads.threads = 3;
  Context one(one_thread), three(three_threads);
  for (const std::string& device : all_devices)
    for (const Case& c : op_cases()) {
      const Recording recording = record(c, true);
      const std::vector<Result> a = run(recording, one, one.device(device));
      const std::vector<Result> b = run(recording, three, three.device(device));
      for (size_t i = 0; i < a.size(); i++) {
        INFO(device, ": ", c.name(), ": ", a[i].name);
        CHECK(a[i].values == b[i].values);
      }
    }
}

}  // namespace fulmar::test
