#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "tests/node_check.h"
#include "tests/op_check.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/error_of.h"
#include "tests/support/gpu.h"

// The op table on a GPU: hand-written kernels, cuDNN and cuBLASLt, against the reference.
namespace fulmar::test {
namespace {

constexpr Precision precisions[] = {Precision::fp32, Precision::tf32, Precision::bf16};

struct Gpu {
  Context context;
  OpenGpu fp32{Precision::fp32}, tf32{Precision::tf32}, bf16{Precision::bf16};
  Device emulated{emulated_bf16(), context.device("reference").stream()};

  OpenGpu& of(Precision precision) {
    return precision == Precision::fp32 ? fp32 : precision == Precision::tf32 ? tf32 : bf16;
  }
};

// Null, with a message, where there is no GPU.
Gpu* gpu() {
  if (!has_gpu()) return nullptr;
  // Not destroyed: cuDNN's engine libraries, loaded later than this is made, end before it would.
  static Gpu* const shared = new Gpu;
  return shared;
}

bool is_dense(const Case& c) { return c.op == "conv2d" || c.op == "dense"; }

// With what a precision may differ, relative, by norm.
//
// nvcc fuses multiply-adds and CUDA has its own expf and tanhf: a few times the rows' bounds, which
// are of correctly rounded kernels. The vendor's libraries add up to 7,000 products here in
// float32, where the plain kernels add in double: sqrt(7000) 2^-24 = 5e-6, and twice that is
// allowed. TF32 rounds both factors to 11 bits, 2^-12 each by norm at most: 2^-9 allows for 6 times
// what comes of it. bf16: bf16_tolerance.
double tolerance(const Case& c, Precision precision) {
  if (!is_dense(c)) return 4 * c.tolerance;
  if (precision == Precision::tf32) return 0x1p-9;
  return 1e-5;
}

constexpr uint64_t random_cases = 100;

// FULMAR_TEST_FEW_ROWS: for runs under compute-sanitizer. Without random rows, and with every
// eighth of those that go to the vendor's libraries, which it makes slow to load and choose from.
std::vector<Case> all_cases() {
  std::vector<Case> cases = op_cases();
  if (std::getenv("FULMAR_TEST_FEW_ROWS")) {
    int dense = 0;
    const auto left_out = [&](const Case& c) { return is_dense(c) && dense++ % 8 != 0; };
    cases.erase(std::remove_if(cases.begin(), cases.end(), left_out), cases.end());
    return cases;
  }
  for (uint64_t seed = 0; seed < random_cases; seed++) cases.push_back(random_case(seed));
  return cases;
}

}  // namespace

TEST_CASE("cuda ops: in fp32 and tf32 kernels agree with the reference, forward and gradients") {
  if (!gpu()) return;
  for (Case c : all_cases()) {
    const Case stated = c;
    for (const Precision precision : {Precision::fp32, Precision::tf32}) {
      c.tolerance = tolerance(stated, precision);
      const Complaints complaints = check_parity(c, gpu()->context, gpu()->of(precision).device);
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
  }
}

TEST_CASE("cuda ops: in bf16 every node rounds what the reference computes") {
  if (!gpu()) return;
  NodeDifferences total;
  for (const Case& c : all_cases()) {
    const NodeDifferences found =
        compare_nodes(c, gpu()->context, gpu()->emulated, gpu()->bf16.device,
                      [&](const Node& node) { return bf16_tolerance(node, 4 * c.tolerance); });
    CHECK_MESSAGE(found.complaints.empty(), text(found.complaints));
    total.elements += found.elements;
    total.flipped += found.flipped;
  }
  MESSAGE(total.flipped, " of ", total.elements, " bf16 results are rounded otherwise");
}

TEST_CASE("cuda ops: no kernel writes outside its outputs or depends on what lies there") {
  if (!gpu()) return;
  for (const Case& c : all_cases())
    for (const Precision precision : precisions) {
      const Complaints complaints = check_guards(c, gpu()->context, gpu()->of(precision).device);
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
}

TEST_CASE("cuda ops: with the same choices, another stream gives the same bits, twice") {
  if (!gpu()) return;
  for (const Precision precision : precisions) {
    std::vector<std::vector<Result>> first;
    OpenGpu& one = gpu()->of(precision);
    for (const Case& c : op_cases())
      first.push_back(run(record(c, true), gpu()->context, one.device));
    OpenGpu other(precision, one.choices());
    for (int again = 0; again < 2; again++) {
      size_t number = 0;
      for (const Case& c : op_cases()) {
        const std::vector<Result> now = run(record(c, true), gpu()->context, other.device);
        const std::vector<Result>& expected = first[number++];
        for (size_t i = 0; i < now.size(); i++) {
          INFO(c.name(), ": ", now[i].name);
          CHECK(same_values(now[i], expected[i]));
        }
      }
    }
    CHECK(other.choices() == one.choices());
  }
}

TEST_CASE("cuda ops: dense convolutions and products go to the vendor's libraries") {
  if (!gpu()) return;
  for (const Precision precision : precisions) {
    OpenGpu& opened = gpu()->of(precision);
    for (const Case& c : op_cases())
      if (is_dense(c)) run(record(c, true), gpu()->context, opened.device);
    const std::string choices = opened.choices();
    CHECK(has(choices, " => cublaslt workspace "));
    CHECK(has(choices, " => cudnn engine "));
    for (size_t at = choices.find(" => plain"); at != std::string::npos;
         at = choices.find(" => plain", at + 1)) {
      const size_t begin = choices.rfind('\n', at) + 1;
      MESSAGE(choices.substr(begin, choices.find('\n', at) - begin));
    }
  }
}

TEST_CASE("cuda ops: a stored choice that can't be used is an error, and so is a damaged text") {
  if (!gpu()) return;
  OpenGpu& one = gpu()->fp32;
  for (const Case& c : op_cases())
    if (is_dense(c)) run(record(c, true), gpu()->context, one.device);
  const std::string choices = one.choices();
  fulmar_cuda_library()->use_convolution_choices(one.stream(), choices);
  CHECK(one.choices() == choices);
  std::string damaged = choices;
  damaged[damaged.size() / 2] ^= 1;
  CHECK(
      has(error_of(ErrorKind::file, [&] { OpenGpu(Precision::fp32, damaged); }), "cuda choices: "));
}

}  // namespace fulmar::test
