#include <doctest/doctest.h>

#include "tests/node_check.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/gpu.h"
#include "tests/support/teacher.h"

// Training steps of the polar-low network on a GPU, crop 64, batch 2, at states that float64 steps
// lead to, against float64, which meets PyTorch's goldens.
namespace fulmar::test {
namespace {

using Json = nlohmann::json;

// How far a step may be from that in float64: its loss; the gradient of the worst tensor, and all
// gradients as one vector, relative, by norm. The goldens' seed keeps the first state away from
// ReLU's kink and from ties of pooling; nothing keeps the others.
struct Bounds {
  Precision precision;
  double loss;
  double first_worst, first_all;
  double worst, all;
};
// fp32: at the first state the goldens' own margins hold. Behind it an input of ReLU may lie within
// float32's error of zero, and its gradient is then another's. Float32 sums on the CPU, over 100
// states each with published and with narrow widths: the loss differs by up to 9e-6, all gradients
// by up to 3e-4, but for one state, the third with narrow widths, where such a flip makes 0.036 and
// 0.107 of a tensor. Four times that flip is allowed, for one elsewhere. tf32 makes many of them.
// This catches what is wrong in the large, the op table's rows what is wrong at all.
const Bounds bounds[] = {{Precision::fp32, 2e-5, 1e-4, 1e-4, 0.43, 0.15},
                         {Precision::tf32, 0.03, INFINITY, 0.5, INFINITY, 0.5}};
// bf16 against the reference's arithmetic with the same roundings, as on the emulator
// (tests/simt_train_test.cpp): what roundings to the other side make of a step.
constexpr double bf16_loss_bound = 0.03, bf16_gradient_bound = 0.75;

}  // namespace

TEST_CASE("cuda training: at five float64 states, loss and gradients are those of float64") {
  if (!has_gpu()) return;
  for (const Bounds& bound : bounds) {
    OpenGpu gpu(bound.precision);
    for (const std::string widths : {"published", "narrow"}) {
      CAPTURE(widths);
      const Golden golden("polar_low_torch_64_" + widths);
      const Json seeds = golden.metadata("step_seeds");
      Context context;
      Device& exact = context.device("reference");
      Teacher teacher(context, exact, golden);
      Trainee expected(context, exact, golden), ours(context, gpu.device, golden);
      Differences worst;
      for (int64_t step = 0; step < 5; step++) {
        CAPTURE(step);
        for (Trainee* trainee : {&expected, &ours}) {
          copy_state(teacher.model, trainee->model);
          trainee->run(golden, seeds[step]);
        }
        const Differences d = differences(golden, ours, expected);
        CAPTURE(d.worst_name);
        CHECK(d.loss <= bound.loss);
        CHECK(d.worst <= (step == 0 ? bound.first_worst : bound.worst));
        CHECK(d.all <= (step == 0 ? bound.first_all : bound.all));
        worst.add(d);
        teacher.step(golden, seeds[step]);
      }
      MESSAGE(name_of(bound.precision), ", ", widths, " widths: worst loss differs by ", worst.loss,
              ", worst tensor's gradient by ", worst.worst, " (", worst.worst_name,
              "), all gradients by ", worst.all);
    }
  }
}

TEST_CASE("cuda training: in bf16 nodes and whole steps are those of the emulation") {
  if (!has_gpu()) return;
  OpenGpu gpu(Precision::bf16);
  for (const std::string widths : {"published", "narrow"}) {
    CAPTURE(widths);
    const Golden golden("polar_low_torch_64_" + widths);
    const Json seeds = golden.metadata("step_seeds");
    Context context;
    Device emulation(emulated_bf16(), context.device("reference").stream());
    Teacher teacher(context, context.device("reference"), golden);
    Teacher emulated(context, emulation, golden);  // forward, backward, AdamW
    Trainee expected(context, emulation, golden), ours(context, gpu.device, golden);
    NodeDifferences total;
    Differences worst;
    for (int64_t step = 0; step < 5; step++) {
      CAPTURE(step);
      copy_state(teacher.model, emulated.model);
      emulated.set(golden, seeds[step]);
      const NodeDifferences found = compare_nodes(
          *emulated.session, emulation, gpu.device, std::array{emulated.recorded.loss},
          [](const Node& node) { return bf16_tolerance(node, 4 * default_tolerance); }, widths);
      CHECK_MESSAGE(found.complaints.empty(), text(found.complaints));
      total.elements += found.elements;
      total.flipped += found.flipped;
      for (Trainee* trainee : {&expected, &ours}) {
        copy_state(teacher.model, trainee->model);
        trainee->run(golden, seeds[step]);
      }
      const Differences d = differences(golden, ours, expected);
      CHECK(d.loss <= bf16_loss_bound);
      CHECK(d.all <= bf16_gradient_bound);
      worst.add(d);
      teacher.step(golden, seeds[step]);
    }
    MESSAGE(widths, " widths: ", total.flipped, " of ", total.elements,
            " bf16 results are rounded otherwise; worst loss differs by ", worst.loss,
            ", all gradients by ", worst.all);
  }
}

TEST_CASE("cuda training: ten steps give the same bits again, captured or kernel by kernel") {
  if (!has_gpu()) return;
  const Golden golden("polar_low_torch_64_narrow");
  const Json seeds = golden.metadata("step_seeds");
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    std::string choices;
    std::vector<double> first;
    for (const bool capture : {true, true, false}) {
      CAPTURE(capture);
      OpenGpu gpu(precision, choices);
      Context context;
      SessionOptions options;
      options.capture = capture;
      Teacher trained(context, gpu.device, golden, options);  // forward, backward, AdamW
      for (int64_t step = 0; step < 10; step++) trained.step(golden, seeds[step % 5]);
      CHECK(trained.session->replays() == (capture ? 9 : 0));
      std::vector<double> values = trained.session->read(trained.recorded.loss);
      for (const Model::Parameter& p : trained.model.parameters())
        for (const double value : trained.model.read(p.name)) values.push_back(value);
      if (first.empty()) {
        first = values;
        choices = gpu.choices();
      }
      CHECK(values == first);
    }
  }
}

}  // namespace fulmar::test
