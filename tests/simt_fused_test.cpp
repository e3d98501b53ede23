#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/emulated.h"
#include "tests/node_check.h"
#include "tests/op_check.h"
#include "tests/support/count_ops.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/simt_orders.h"
#include "tests/support/slow_build.h"

// The fused CUDA kernels' own source, run on the emulator: float32 against what they replace on the
// reference; bf16 against float kernels that round where they round.
namespace fulmar::test {
namespace {

// In bf16 without the separable convolution, which rounds where the CPU's float kernel doesn't.
const Backend& without_separable() {
  static const FusedKernels kernels = [] {
    FusedKernels k = *simt_backend(Precision::bf16).fused;
    k.separable = nullptr;
    return k;
  }();
  static const Backend backend = [] {
    Backend b = simt_backend(Precision::bf16);
    b.fused = &kernels;
    return b;
  }();
  return backend;
}

struct Emulated {
  Context context;
  simt::StreamOwner owner;
  Device fp32{simt_backend(), owner.stream()};
  Device bf16{simt_backend(Precision::bf16), owner.stream()};
  Device others{without_separable(), owner.stream()};
  Device by_cpu{emulated_bf16_by_cpu(), context.device("cpu").stream()};
  Device by_reference{emulated_bf16(), context.device("reference").stream()};
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

struct FusedCase {
  Case of;
  Recording recording;
};

// Of a picture few elements become products.
int64_t elements(const Case& c) {
  int64_t n = 0;
  for (const Operand& operand : c.operands)
    n += operand.info.shape.elements() / (operand.info.role == Role::source ? 20 : 1);
  return n;
}

// The rows whose op this device fuses, up to a size that the emulator runs quickly.
std::vector<FusedCase> cases_on(const Device& device) {
  const int64_t most = slow_build ? 2000 : address_sanitizer ? 6000 : 60000;
  std::vector<FusedCase> all;
  for (Case c : fused_cases()) {
    if (!has(c.op) || elements(c) > most) continue;
    // Before a normalisation the composition's gradient by a bias is the rounding of 0.
    for (Operand& operand : c.operands)
      if (operand.name.ends_with("/bias")) operand.differentiable = false;
    Recording r = record_fused(c, true, device);
    // A device may leave a row's op alone.
    if (count_ops(*r.tape, c.op) > 0) all.push_back({std::move(c), std::move(r)});
  }
  return all;
}

std::vector<Device*> devices() { return {&emulated().fp32, &emulated().bf16}; }

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

TEST_CASE("simt fused: a tape has no fused op that the backend lacks, and rows for all others") {
  for (const Case& c : fused_cases()) {
    CAPTURE(c.name());
    if (!has(c.op)) CHECK(count_ops(*record_fused(c, true, emulated().fp32).tape, c.op) == 0);
  }
  const auto all = cases_on(emulated().fp32);
  for (const char* op : {"separable", "pool_skip", "norm_relu", "convolution"}) {
    CAPTURE(op);
    CHECK(std::count_if(all.begin(), all.end(), [&](const FusedCase& c) { return c.of.op == op; }) >
          5);
  }
}

TEST_CASE("simt fused: a convolution's tile fits into the shared memory of sm_86 and sm_89") {
  const FusedKernels& kernels = *simt_backend().fused;
  const View w = view_of(nullptr, {5, 1, 3, 64}, DType::f32);
  const View y = view_of(nullptr, {1, 64, 64, 64}, DType::f32);
  Window window;
  window.stride = {1, 2};
  CHECK(kernels.convolution_takes(w, y, window, 1, false));
  window.dilation = {6, 1};  // 106 KB for the weights' gradient
  CHECK_FALSE(kernels.convolution_takes(w, y, window, 1, false));
  CHECK_FALSE(kernels.convolution_samples(w, y, window, 1));
}

TEST_CASE("simt fused: what fuses agrees with what it replaces, forward and gradients") {
  for (const FusedCase& c : cases_on(emulated().fp32)) {
    const Complaints complaints =
        check_parity(c.of, c.recording, emulated().context, emulated().fp32);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

// Tensor cores take weights and what the depthwise part gives as bf16, as the ops in whose place
// they stand. Results differ where a number lies near the middle between two bf16: in few elements,
// by one step.
TEST_CASE("simt fused: in bf16 the separable convolution rounds what the ops that it replaces do") {
  for (const FusedCase& c : cases_on(emulated().bf16)) {
    if (c.of.op != "separable" || c.of.what.ends_with("twice")) continue;
    const auto found = run(c.recording, emulated().context, emulated().bf16);
    const auto expected = run(record(c.of, true), emulated().context, emulated().by_reference);
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); i++) {
      INFO(c.of.name(), ": ", found[i].name);
      CHECK(difference(found[i], expected[i]) < 1e-3);
    }
  }
}

TEST_CASE("simt fused: in bf16 every other node rounds what the CPU's float kernels compute") {
  NodeDifferences total;
  for (const FusedCase& c : cases_on(emulated().others)) {
    const Recording& r = c.recording;
    std::vector<Val> wanted = r.outputs;
    wanted.insert(wanted.end(), r.gradients.begin(), r.gradients.end());
    Session session(emulated().context, emulated().by_cpu, r.tape, wanted);
    const auto& leaves = session.plan().leaves;
    for (size_t i = 0; i < r.inputs.size(); i++)
      if (std::find(leaves.begin(), leaves.end(), r.inputs[i].node) != leaves.end())
        set(session, r.inputs[i], r.operands[i]);
    const NodeDifferences found = compare_nodes(
        session, emulated().by_cpu, emulated().others, wanted,
        [&](const Node&) { return c.of.tolerance; }, "simt bf16: " + c.of.name());
    CHECK_MESSAGE(found.complaints.empty(), text(found.complaints));
    total.elements += found.elements;
    total.flipped += found.flipped;
  }
  MESSAGE(total.flipped, " of ", total.elements, " bf16 results are rounded otherwise");
}

TEST_CASE("simt fused: no kernel writes outside its outputs or depends on what lies there") {
  for (Device* device : devices())
    for (const FusedCase& c : cases_on(*device)) {
      const Complaints complaints = check_guards(c.of, c.recording, emulated().context, *device);
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
}

TEST_CASE("simt fused: results have the same bits in every order of threads and blocks") {
  for (Device* device : devices())
    for (const FusedCase& c : cases_on(*device)) {
      std::vector<Result> first;
      in_every_order(
          [&] {
            const std::vector<Result> now = run(c.recording, emulated().context, *device);
            if (first.empty()) first = now;
            for (size_t i = 0; i < now.size(); i++) {
              INFO(c.of.name(), ": ", now[i].name);
              CHECK(same_values(now[i], first[i]));
            }
          },
          sanitized ? 2 : 3);
    }
}

}  // namespace fulmar::test
