#include <doctest/doctest.h>

#include "kernels/cuda/emulated.h"
#include "tests/node_check.h"
#include "tests/op_check.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/simt_orders.h"
#include "tests/support/slow_build.h"

// The CUDA kernels' own source, run on the emulator: float32 against the reference, bf16 node by
// node against the reference's arithmetic with the same roundings.
namespace fulmar::test {
namespace {

struct Emulated {
  Context context;
  simt::StreamOwner owner;
  Device fp32{simt_backend(), owner.stream()};
  Device bf16{simt_backend(Precision::bf16), owner.stream()};
  Device expected_bf16{emulated_bf16(), context.device("reference").stream()};
};
Emulated& emulated() {
  static Emulated shared;
  return shared;
}

constexpr uint64_t random_cases = slow_build ? 20 : 100;
// Races and stray reads show in other builds too; what an order changes shows in the fast ones.
constexpr size_t orders = slow_build ? 2 : 3;

// What is run most often: both types, or the one that is checked least elsewhere.
std::vector<Device*> devices() {
  return sanitized ? std::vector{&emulated().bf16}
                   : std::vector{&emulated().fp32, &emulated().bf16};
}

}  // namespace

TEST_CASE("simt ops: the CUDA kernels agree with the reference, forward and gradients") {
  for (const Case& c : op_cases()) {
    const Complaints complaints = check_parity(c, emulated().context, emulated().fp32);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

TEST_CASE("simt ops: in bf16 every node rounds what the reference computes") {
  NodeDifferences total;
  const auto check = [&](const Case& c) {
    const NodeDifferences found =
        compare_nodes(c, emulated().context, emulated().expected_bf16, emulated().bf16);
    CHECK_MESSAGE(found.complaints.empty(), text(found.complaints));
    total.elements += found.elements;
    total.flipped += found.flipped;
  };
  for (const Case& c : op_cases()) check(c);
  for (uint64_t seed = 0; seed < random_cases; seed++) check(random_case(seed));
  MESSAGE(total.flipped, " of ", total.elements, " bf16 results are rounded otherwise");
}

TEST_CASE("simt ops: random shapes and windows agree with the reference") {
  for (uint64_t seed = 0; seed < random_cases; seed++) {
    const Complaints complaints =
        check_parity(random_case(seed), emulated().context, emulated().fp32);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

TEST_CASE("simt ops: no kernel writes outside its outputs or depends on what lies there") {
  const auto check = [](const Case& c) {
    for (Device* device : devices()) {
      const Complaints complaints = check_guards(c, emulated().context, *device);
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
  };
  for (const Case& c : op_cases()) check(c);
  for (uint64_t seed = 0; seed < random_cases; seed++) check(random_case(seed));
}

TEST_CASE("simt ops: results have the same bits in every order of threads and blocks") {
  for (const Case& c : op_cases())
    for (Device* device : devices()) {
      const Recording recording = record(c, true);
      std::vector<Result> first;
      in_every_order(
          [&] {
            const std::vector<Result> now = run(recording, emulated().context, *device);
            if (first.empty()) first = now;
            for (size_t i = 0; i < now.size(); i++) {
              INFO(c.name(), ": ", now[i].name);
              CHECK(same_values(now[i], first[i]));
            }
          },
          orders);
    }
}

}  // namespace fulmar::test
