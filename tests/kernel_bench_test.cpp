#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "bench/kernels/measure.h"
#include "kernels/cuda/emulated.h"
#include "kernels/error.h"
#include "tests/support/functors.h"
#include "tests/support/slow_build.h"

// The kernel benchmarks: that they miss no kernel, count traffic as said, and run on any device.

using namespace fulmar;
using namespace fulmar::bench;

namespace {

constexpr op_table::NetworkSize small{2, 32};

op_table::Case row_named(const std::string& name) {
  for (const op_table::Case& row : op_table::benchmark_cases({16, 1024}))
    if (row.name() == name) return row;
  FAIL("no row ", name);
  return {};
}

const Kernel& kernel_named(const Recorded& recorded, const std::string& name) {
  const auto at = std::find_if(recorded.kernels.begin(), recorded.kernels.end(),
                               [&](const Kernel& k) { return k.name == name; });
  REQUIRE(at != recorded.kernels.end());
  return *at;
}

std::set<std::string> called;

// Notes that the kernel `Member` of the CPU was called.
template <auto Member>
struct Noted;
template <class Result, class... Args, Result (*Backend::*Member)(Args...)>
struct Noted<Member> {
  static inline std::string name;
  static Result kernel(Args... args) {
    called.insert(name);
    return (cpu_backend().*Member)(args...);
  }
};

}  // namespace

TEST_CASE("kernel benchmarks: every kernel of the backend table is timed") {
  Backend backend = cpu_backend();
  std::set<std::string> all;
#define NOTED(member, ...)                          \
  Noted<& Backend::member>::name = #member;         \
  backend.member = Noted<&Backend::member>::kernel; \
  all.insert(#member);
  FULMAR_KERNELS(NOTED)
#undef NOTED
  Context context;
  Device device(backend, context.device("cpu").stream());
  std::set<std::string> timed;
  for (const op_table::Case& row : op_table::benchmark_cases(small)) {
    PreparedRow prepared(context, device, row);
    called.clear();  // what preparing calls is not timed
    for (const Kernel& kernel : prepared.kernels()) Measured(device, prepared, kernel).round();
    timed.insert(called.begin(), called.end());
  }
  for (const std::string& name : all) CHECK_MESSAGE(timed.count(name) == 1, name);
}

TEST_CASE("kernel benchmarks: every pointwise function is timed") {
  std::set<std::string, std::less<>> timed;
  for (const op_table::Case& row : op_table::benchmark_cases(small))
    for (const Kernel& kernel : record(row).kernels)
      timed.insert(kernel.name.substr(0, kernel.name.find('/')));
  for (const test::FunctorTraits& f : test::functor_traits())
    CHECK_MESSAGE(timed.count(f.name) == 1, f.name);
}

TEST_CASE("kernel benchmarks: traffic is what must be read and written, in the device's types") {
  Context context;
  Device& fp32 = context.device("cpu");
  Backend half = cpu_backend();
  half.activation = DType::bf16;
  const Device bf16(half, fp32.stream());
  const double block_1 = 16.0 * 512 * 512 * 8;  // elements

  const Recorded add = record(row_named("sub (block 1)"));
  CHECK(kernel_named(add, "sub/block 1").bytes(fp32) == 3 * 4 * block_1);
  CHECK(kernel_named(add, "sub/block 1").bytes(bf16) == 3 * 2 * block_1);

  // Of a 1x1 convolution of stride 2, a quarter of x is read; the weights are parameters.
  const Recorded skip = record(row_named("conv2d (block 1 skip)"));
  const double y = block_1 / 4, parameters = 8 * 8 + 8;
  CHECK(kernel_named(skip, "conv2d/block 1 skip").bytes(fp32) ==
        4 * (block_1 / 4 + y + parameters));
  CHECK(kernel_named(skip, "conv2d/block 1 skip").bytes(bf16) ==
        2 * (block_1 / 4 + y) + 4 * parameters);
  CHECK(kernel_named(skip, "conv2d_input_grad/block 1 skip").bytes(fp32) ==
        4 * (y + 8 * 8 + block_1));
  CHECK(kernel_named(skip, "conv2d/block 1 skip").flops == 2 * y * 8);

  // Pooling's argmax is a byte each; sums are doubles.
  const Recorded pool = record(row_named("max_pool (block 1)"));
  CHECK(kernel_named(pool, "max_pool/block 1").bytes(bf16) == 2 * block_1 + 3 * block_1 / 4);
  const Recorded norm = record(row_named("batch_norm_train (block 1)"));
  CHECK(kernel_named(norm, "channel_sums/batch_norm_train, block 1").bytes(bf16) ==
        2 * block_1 + 4 * 8 + 8 * 3 * 8);

  // Weights and moments are read and written in place.
  const Recorded update = record(row_named("adamw (as many as pixels)"));
  const double weights = 16.0 * 1024 * 1024;
  const double bytes = kernel_named(update, "adamw/as many as pixels").bytes(fp32);
  CHECK(bytes - 7 * 4 * weights >= 0);
  CHECK(bytes - 7 * 4 * weights <= 512);  // segments and step state

  // Of a source of 1536^2 pixels, a crop of 1024^2.
  const Recorded warp = record(row_named("warp (u8, crop)"));
  const double pixels = 16.0 * 1024 * 1024 * 3;
  const double warped = kernel_named(warp, "warp/u8, crop").bytes(fp32);
  CHECK(warped - 5 * pixels >= 0);
  CHECK(warped - 5 * pixels <= 16 * 1024);  // and how each is sampled
}

TEST_CASE("kernel benchmarks: all run on the emulated CUDA kernels, each name once") {
  Context context;
  const simt::StreamOwner owner;
  Device device(simt_backend(), owner.stream());
  const Ceilings ceilings = measure_ceilings(context, device);
  CHECK(ceilings.copy_gbytes > 0);
  CHECK(ceilings.gflops > 0);
  Selection selection("");
  std::set<std::string> names;
  size_t number = 0;
  for (const op_table::Case& row : op_table::benchmark_cases(small)) {
    if (test::slow_build && number++ % 8 != 0) continue;
    PreparedRow prepared(context, device, row);
    for (const Kernel& kernel : prepared.kernels()) {
      if (!selection.takes(kernel)) continue;
      CHECK_MESSAGE(names.insert(kernel.name).second, kernel.name);
      const Timing timing = measure(context, device, prepared, kernel, ceilings, 0);
      INFO(kernel.name);
      CHECK(timing.seconds > 0);
      CHECK(std::isfinite(timing.gbytes_per_second()));
      CHECK(timing.rounds >= 5);
      CHECK((timing.flops > 0) == (timing.gflops_ceiling > 0));
    }
  }
  CHECK(names.size() > (test::slow_build ? 25 : 250));
}

TEST_CASE("kernel benchmarks: a selection takes what its filter finds") {
  const Recorded recorded = record(row_named("conv2d (block 4 first)"));
  Selection some("^conv2d_(input|weight)_grad/");
  int taken = 0;
  for (const Kernel& kernel : recorded.kernels) taken += some.takes(kernel);
  CHECK(taken == 2);
  CHECK_THROWS_WITH_AS(Selection("("), doctest::Contains("'(' is no regular expression"), Error);
}
