#include <doctest/doctest.h>

#include <string>

#include "kernels/cuda/emulated.h"
#include "tests/op_check.h"
#include "tests/support/count_ops.h"
#include "tests/support/slow_build.h"

// The fused CUDA kernels' own source, run on the emulator: float32 against the reference.
namespace fulmar::test {
namespace {

struct Emulated {
  Context context;
  simt::StreamOwner owner;
  Device fp32{simt_backend(), owner.stream()};
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

}  // namespace fulmar::test
