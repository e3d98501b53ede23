#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/bf16.h"
#include "tests/node_check.h"
#include "tests/op_check.h"
#include "tests/support/bf16_training.h"
#include "tests/support/count_ops.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/slow_build.h"

// The CPU with bf16 activations: every kernel node by node against the reference's arithmetic with
// the same roundings; fused kernels against the float kernels on widened operands, to the bit.

namespace fulmar::test {
namespace {

constexpr uint64_t random_cases = sanitized ? 10 : 200;

struct Devices {
  Context context;
  Device& bf16 = context.device("cpu", Precision::bf16);
  Device expected{emulated_bf16(), context.device("reference").stream()};
  Device by_cpu{emulated_bf16_by_cpu(), context.device("cpu").stream()};
};
Devices& devices() {
  static Devices shared;
  return shared;
}

// The CPU's float32 error. An average is a product with 1 / taps: averages of few bf16 lie in the
// middle between two more often than others.
NodeTolerance tolerance_of(const Case& c) {
  return [&c](const Node& node) {
    const std::string_view name = node.op->name();
    return name.starts_with("average_pool") ? 1e-4 : c.tolerance;
  };
}
// The same in training steps: sums over pixels are made of float lanes. Before a normalisation a
// bias' gradient is such a sum of what cancels, the rounding of 0.
double tolerance_in_training(const Node& node) {
  const std::string_view name = node.op->name();
  return name == "sum" ? 1e4 : name == "conv2d_weight_grad" ? 1e-5 : default_tolerance;
}

// A Session of a recording with its inputs set.
std::unique_ptr<Session> session_of(const Recording& r, std::span<const Val> wanted,
                                    Device& device) {
  auto session = std::make_unique<Session>(devices().context, device, r.tape, wanted);
  const auto& leaves = session->plan().leaves;
  for (size_t i = 0; i < r.inputs.size(); i++)
    if (std::find(leaves.begin(), leaves.end(), r.inputs[i].node) != leaves.end())
      set(*session, r.inputs[i], r.operands[i]);
  return session;
}

}  // namespace

TEST_CASE("cpu bf16: every node rounds what the reference computes") {
  for_each_instruction_set([] {
    NodeDifferences total;
    const auto check = [&](const Case& c) {
      const NodeDifferences found =
          compare_nodes(c, devices().context, devices().expected, devices().bf16, tolerance_of(c));
      CHECK_MESSAGE(found.complaints.empty(), text(found.complaints));
      total.elements += found.elements;
      total.flipped += found.flipped;
    };
    for (const Case& c : op_cases()) check(c);
    for (uint64_t seed = 0; seed < random_cases; seed++) check(random_case(seed));
    CHECK(total.elements > 100000);
    MESSAGE(total.flipped, " of ", total.elements, " bf16 results are rounded otherwise");
  });
}

TEST_CASE("cpu bf16: fused kernels give the bits of float kernels on widened operands") {
  for_each_fast_instruction_set([] {
    for (const Case& c : fused_cases()) {
      const Recording r = record_fused(c, true, devices().bf16);
      CAPTURE(c.name());
      CHECK(count_ops(*r.tape, c.op) > 0);
      std::vector<Val> wanted = r.outputs;
      wanted.insert(wanted.end(), r.gradients.begin(), r.gradients.end());
      const auto session = session_of(r, wanted, devices().by_cpu);
      const NodeDifferences found = compare_nodes(
          *session, devices().by_cpu, devices().bf16, wanted, [](const Node&) { return 0.0; },
          "fused");
      CHECK_MESSAGE(found.complaints.empty(), text(found.complaints));
      CHECK(found.flipped == 0);
    }
  });
}

TEST_CASE("cpu bf16: what fuses stays in its memory") {
  for (const Case& c : fused_cases()) {
    const Recording r = record_fused(c, true, devices().bf16);
    const Complaints complaints = check_guards(c, r, devices().context, devices().bf16);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

// Between two ops bf16 is rounded, within a fused one it isn't: both are within some roundings of
// float64, of values; gradients of weights through a normalisation over few pixels may be off by
// all that is left of them.
TEST_CASE("cpu bf16: what fuses gives the values of what it replaces, but for rounding") {
  for (Case c : fused_cases()) {
    for (Operand& operand : c.operands) operand.differentiable = false;
    c.tolerance = 0x1p-6;
    const Recording r = record_fused(c, true, devices().bf16);
    for (const Recording& recording : {r, record(c, true)}) {
      const Complaints complaints = check_parity(c, recording, devices().context, devices().bf16);
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
  }
}

TEST_CASE("cpu bf16: no kernel writes outside its outputs or depends on what lies there") {
  const auto check = [](const Case& c) {
    const Complaints complaints = check_guards(c, devices().context, devices().bf16);
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  };
  for (const Case& c : op_cases()) check(c);
  for (uint64_t seed = 0; seed < random_cases; seed++) check(random_case(seed));
}

TEST_CASE("cpu bf16: the bits are the same for any number of threads") {
  std::vector<std::vector<Result>> one;
  for (const int threads : thread_counts()) {
    Context some({threads, {}});
    Device& device = some.device("cpu", Precision::bf16);
    size_t number = 0;
    const auto check = [&](const Case& c, const Recording& recording) {
      const std::vector<Result> results = run(recording, some, device);
      if (threads == 1) one.push_back(results);
      const std::vector<Result>& expected = one[number++];
      REQUIRE(results.size() == expected.size());
      for (size_t i = 0; i < results.size(); i++) {
        INFO(c.name(), ": ", results[i].name);
        CHECK(same_values(results[i], expected[i]));
      }
    };
    for (const Case& c : op_cases()) check(c, record(c, true));
    for (const Case& c : fused_cases()) check(c, record_fused(c, true, device));
  }
}

// Streaming stores of bf16 are half as long as those of float.
TEST_CASE("cpu bf16: outputs larger than the caches have the bits of float kernels, rounded") {
  if (slow_build) return;
  Context& context = devices().context;
  for (const int64_t channels : {8, 16}) {
    CAPTURE(channels);
    // 32 MiB and some rows, from which on all kernels stream, and 8 MiB and some rows, from which
    // on those stream that do much else.
    const Shape shape{1, 1032, 16384 / channels, channels}, each{channels};
    const Shape half{1, 516, 8192 / channels, channels};
    const auto run = [&](const Backend& backend) {
      Device device(backend, context.device("cpu").stream());
      std::vector<DeviceBuffer> memory;
      const auto tensor = [&](const Shape& of, DType type) {
        const View view = view_of(nullptr, of, type);
        memory.emplace_back(device, view.bytes());
        return view_of(memory.back().data(), of, type);
      };
      uint64_t seed = 0;
      const auto random = [&](const Shape& of, DType type) {
        const View view = tensor(of, type);
        uint64_t state = ++seed;
        for (int64_t i = 0; i < of.elements(); i++) {
          state = state * 6364136223846793005U + 1442695040888963407U;
          const float value = static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31F;
          if (type == DType::bf16)
            view.as<bf16>()[i] = to_bf16(value);
          else
            view.as<float>()[i] = type == DType::f32 ? value : 0;
        }
        return view;
      };
      std::vector<View> results;
      const auto result = [&](const Shape& of, DType type) {
        results.push_back(tensor(of, type));
        return results.back();
      };
      const auto param = [&](const Shape& of) { return random(of, DType::f32); };
      const View var = param(each);
      for (int64_t c = 0; c < channels; c++) var.as<float>()[c] = 0.5F + static_cast<float>(c);
      const Loaded z{random(shape, DType::bf16), param(each), param(each), param(each), var, 1e-3};
      const View depthwise = param({3, 3, channels}), w = param({1, 1, channels, channels});
      const FusedKernels& k = *backend.fused;
      Stream& stream = device.stream();
      k.pool_skip(stream, z, z, w, {}, result(half, DType::bf16), result(half, DType::bf16),
                  result(half, DType::u8));
      Loaded part = z;
      part.x = view_of(z.x.data, half, DType::bf16);
      const View y = result(half, DType::bf16), sums = result({3, channels}, DType::f64);
      const View shift = param(each);
      const DeviceBuffer work(
          device, k.separable_workspace(stream, part, depthwise, w, {}, shift, y, sums));
      k.separable(stream, part, depthwise, w, {}, shift, y, sums, work.data());
      SeparableGrad d{result(half, DType::bf16), result({2, channels}, DType::f64),
                      result(depthwise.shape, DType::f32), result(w.shape, DType::f32)};
      const DeviceBuffer more(device,
                              k.separable_grad_workspace(stream, {y}, part, depthwise, w, {}, d));
      k.separable_grad(stream, {y}, part, depthwise, w, {}, d, more.data());
      backend.batch_norm(stream, z.x, z.gamma, z.beta, z.mean, z.var, result(shape, DType::bf16),
                         z.epsilon);
      std::vector<std::vector<std::byte>> bytes;
      for (const View& view : results) {
        const auto* first = view.as<std::byte>();
        bytes.emplace_back(first, first + view.bytes());
      }
      return bytes;
    };
    const auto found = run(devices().bf16.backend()), expected = run(emulated_bf16_by_cpu());
    for (size_t i = 0; i < found.size(); i++) {
      CAPTURE(i);
      CHECK((found[i] == expected[i]));
    }
  }
}

TEST_CASE("cpu bf16: of ten training steps every node rounds what the reference computes") {
  check_nodes_of_bf16_steps(devices().bf16, slow_build ? 2 : 10, tolerance_in_training);
}

TEST_CASE("cpu bf16: ten training steps have the bits of float kernels on widened operands") {
  for (const std::string widths : {"published", "narrow"}) {
    CAPTURE(widths);
    const Golden golden("polar_low_torch_64_" + widths);
    const nlohmann::json seeds = golden.metadata("step_seeds");
    Context& context = devices().context;
    Teacher teacher(context, context.device("reference"), golden);
    Trainee ours(context, devices().bf16, golden), expected(context, devices().by_cpu, golden);
    for (int64_t step = 0; step < (slow_build ? 2 : 10); step++) {
      CAPTURE(step);
      for (Trainee* trainee : {&ours, &expected}) {
        copy_state(teacher.model, trainee->model);
        trainee->run(golden, seeds[step]);
      }
      const Differences d = differences(golden, ours, expected);
      CHECK(d.loss == 0);
      CHECK(d.worst == 0);
      teacher.step(golden, seeds[step]);
    }
  }
}

}  // namespace fulmar::test
