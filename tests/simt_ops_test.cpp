#include <doctest/doctest.h>

#include "kernels/simt/backend.h"
#include "tests/op_check.h"
#include "tests/support/simt_orders.h"

// The CUDA kernels' own source, run on the emulator, against the reference.
namespace fulmar::test {
namespace {

struct Emulated {
  Context context;
  simt::StreamOwner owner;
  Device device{simt_backend(), owner.stream()};
};
Emulated& emulated() {
  static Emulated shared;
  return shared;
}

}  // namespace

TEST_CASE("simt ops: the CUDA kernels agree with the reference, forward and gradients") {
  for (const Case& c : op_cases()) {
    const Complaints complaints = check_parity(c, emulated().context, emulated().device);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

TEST_CASE(
    "simt ops: random shapes and windows agree with the reference, and stay in their memory") {
  for (uint64_t seed = 0; seed < 100; seed++) {
    const Case c = random_case(seed);
    Complaints complaints = check_parity(c, emulated().context, emulated().device);
    const Complaints guards = check_guards(c, emulated().context, emulated().device);
    complaints.insert(complaints.end(), guards.begin(), guards.end());
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

TEST_CASE("simt ops: no kernel writes outside its outputs or depends on what lies there") {
  for (const Case& c : op_cases()) {
    const Complaints complaints = check_guards(c, emulated().context, emulated().device);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

TEST_CASE("simt ops: results have the same bits in every order of threads and blocks") {
  for (const Case& c : op_cases()) {
    const Recording recording = record(c, true);
    std::vector<Result> first;
    in_every_order([&] {
      const std::vector<Result> now = run(recording, emulated().context, emulated().device);
      if (first.empty()) first = now;
      for (size_t i = 0; i < now.size(); i++) {
        INFO(c.name(), ": ", now[i].name);
        CHECK(now[i].values == first[i].values);
      }
    });
  }
}

}  // namespace fulmar::test
