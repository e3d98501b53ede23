#include <array>

#include "kernels/step_state.h"
#include "tests/op_cases.h"

namespace fulmar::test {
namespace {

Operand step_state(const StepState& state) {
  return records<StepState>("step_state", ops::step_state_info().shape, DType::u8,
                            std::span(&state, 1));
}

Operand flat_state(const std::string& name, int64_t count, double low, double high) {
  return state_of(weight(name, {count}, low, high));
}

}  // namespace

void add_training_cases(std::vector<Case>& cases) {
  StepState draws;
  draws.seed = 42, draws.draw = 7;
  const auto dropout = [](double rate, uint64_t id) {
    return [=](Tape& t, std::span<const Val> x) {
      return std::vector<Val>{ops::dropout(t, x[0], rate, id)};
    };
  };
  for (const auto& [what, shape, rate] : {std::tuple{"rate 0.5", Shape{2, 1, 1, 64}, 0.5},
                                          {"rate 0.1", Shape{2, 3, 5, 7}, 0.1},
                                          {"rate 0: the identity", Shape{1, 2, 3, 5}, 0.0},
                                          {"one element", Shape{1, 1, 1, 1}, 0.3}})
    cases.push_back({"dropout",
                     what,
                     {real("x", shape), step_state(draws)},
                     dropout(rate, 3),
                     default_tolerance});
  cases.push_back({"dropout",
                   "large",
                   {real("x", {2, 65, 63, 9}), step_state(draws)},
                   dropout(0.4, 1),
                   default_tolerance,
                   {},
                   true});

  const auto accumulate = [](Tape& t, std::span<const Val> x) {
    ops::accumulate(t, x[0], x[1]);
    return std::vector<Val>{};
  };
  StepState first, second;
  first.micro_batches = second.micro_batches = 3;
  second.micro_batch = 1;
  cases.push_back(
      {"accumulate",
       "first of three",
       {constant_of(weight("g", {70})), flat_state("sum", 70, -1, 1), step_state(first)},
       accumulate,
       default_tolerance});
  cases.push_back(
      {"accumulate",
       "second of three",
       {constant_of(weight("g", {70})), flat_state("sum", 70, -1, 1), step_state(second)},
       accumulate,
       default_tolerance});

  // Two segments with a gap between them, which stays as it is.
  const int64_t count = 160;
  const std::array<Segment, 2> segments{{{0, 70, 1}, {96, 160, 0}}};
  const Operand table =
      records<Segment>("segments", {static_cast<int64_t>(sizeof(segments))}, DType::u8, segments);
  const auto add_adamw = [&](const std::string& what, const AdamW& how, int64_t step) {
    StepState state;
    state.step = step, state.learning_rate = 1e-2;
    cases.push_back({"adamw",
                     what,
                     {constant_of(weight("g", {count})), flat_state("theta", count, -1, 1),
                      flat_state("m", count, -0.1, 0.1), flat_state("v", count, 0, 0.1), table,
                      step_state(state)},
                     [how](Tape& t, std::span<const Val> x) {
                       ops::adamw(t, x[0], x[1], x[2], x[3], x[4], how);
                       return std::vector<Val>{};
                     },
                     default_tolerance});
  };
  for (const bool scaled : {true, false})
    for (const bool keras : {true, false})
      add_adamw(std::string("decay ") + (scaled ? "scaled" : "not scaled") + ", epsilon as " +
                    (keras ? "Keras" : "torch"),
                {0.9, 0.999, 1e-2, 1e-2, scaled, keras}, 3);
  add_adamw("first step", {0.9, 0.999, 1e-7, 1e-4, true, false}, 1);
  add_adamw("step 10000", {0.9, 0.999, 1e-7, 1e-4, true, true}, 10000);
}

}  // namespace fulmar::test
