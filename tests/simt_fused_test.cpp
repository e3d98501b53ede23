#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/cuda/emulated.h"
#include "tests/op_check.h"
#include "tests/support/count_ops.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/simt_orders.h"
#include "tests/support/slow_build.h"

// The fused CUDA kernels' own source, run on the emulator: float32 against the reference.
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

// Whether the CUDA backend has this fused op.
bool has(const std::string& op) {
  const FusedKernels& kernels = *simt_backend().fused;
#define FULMAR_HAS(name, ...) \
  if (op == #name) return kernels.name != nullptr;
  FULMAR_FUSED_KERNELS(FULMAR_HAS)
#undef FULMAR_HAS
  return false;
}

// A sanitizer looks at memory and threads; numbers are the same, and the reference is slow.
constexpr bool compares = !slow_build && !address_sanitizer;
constexpr size_t orders = slow_build || address_sanitizer ? 2 : 3;

// |a - b| / |b|, of the vectors.
double difference(const Result& a, const Result& b) {
  double apart = 0, norm = 0;
  for (size_t i = 0; i < a.values.size(); i++) {
    apart += (a.values[i] - b.values[i]) * (a.values[i] - b.values[i]);
    norm += b.values[i] * b.values[i];
  }
  return norm == 0 ? apart : std::sqrt(apart / norm);
}

}  // namespace

TEST_CASE("simt fused: a tape has the fused ops that the backend has, and no others") {
  for (const Case& c : fused_cases()) {
    CAPTURE(c.name());
    const Recording r = record_fused(c, true, emulated().fp32);
    CHECK((count_ops(*r.tape, c.op) > 0) == has(c.op));
  }
}

TEST_CASE("simt fused: what fuses agrees with the reference, forward and gradients") {
  for (Case c : fused_cases()) {
    if (!has(c.op)) continue;
    // Before a normalisation the composition's gradient by a bias is the rounding of 0.
    for (Operand& operand : c.operands)
      if (!has("separable_grad") && operand.name.ends_with("/bias")) operand.differentiable = false;
    const Recording r = record_fused(c, true, emulated().fp32);
    Complaints complaints;
    if (compares) complaints = check_parity(c, r, emulated().context, emulated().fp32);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

// Both round the same numbers, so that they differ where one lies near the middle between two bf16:
// in few elements, by one step.
TEST_CASE("simt fused: in bf16 a fused op rounds what the ops that it replaces round") {
  if (!compares) return;
  for (const Case& c : fused_cases()) {
    if (!has(c.op) || c.what.ends_with("twice")) continue;
    const auto found =
        run(record_fused(c, true, emulated().bf16), emulated().context, emulated().bf16);
    const auto expected = run(record(c, true), emulated().context, emulated().expected_bf16);
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); i++) {
      if (found[i].name.ends_with("/bias")) continue;  // of some: the rounding of 0
      INFO(c.name(), ": ", found[i].name);
      CHECK(difference(found[i], expected[i]) < 1e-3);
    }
  }
}

TEST_CASE("simt fused: results have the same bits in every order of threads and blocks") {
  for (const Case& c : fused_cases())
    for (Device* device : {&emulated().fp32, &emulated().bf16}) {
      if (!has(c.op)) continue;
      const Recording recording = record_fused(c, true, *device);
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

TEST_CASE("simt fused: no kernel writes outside its outputs or depends on what lies there") {
  for (const Case& c : fused_cases())
    for (Device* device : {&emulated().fp32, &emulated().bf16}) {
      if (!has(c.op)) continue;
      const Recording recording = record_fused(c, true, *device);
      const Complaints complaints = check_guards(c, recording, emulated().context, *device);
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
}

}  // namespace fulmar::test
