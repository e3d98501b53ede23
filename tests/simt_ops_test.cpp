#include <doctest/doctest.h>

#include "kernels/simt/backend.h"
#include "kernels/simt/order.h"
#include "tests/op_check.h"

// The CUDA kernels' own source, run on the emulator, against the reference.
namespace fulmar::test {
namespace {

using simt::Order;

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
    const std::vector<Result> a = run(recording, emulated().context, emulated().device);
    for (const Order& order : {Order{Order::Kind::reverse, 0}, Order{Order::Kind::seeded, 1},
                               Order{Order::Kind::seeded, 2}}) {
      const simt::UseOrder use(order);
      const std::vector<Result> b = run(recording, emulated().context, emulated().device);
      for (size_t i = 0; i < a.size(); i++) {
        INFO(c.name(), ": ", a[i].name, ", order ", static_cast<int>(order.kind), ", seed ",
             order.seed);
        CHECK(a[i].values == b[i].values);
      }
    }
  }
}

}  // namespace fulmar::test
