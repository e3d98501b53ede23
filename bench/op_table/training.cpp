#include <algorithm>
#include <limits>

#include "bench/op_table/op_table.h"
#include "kernels/step_state.h"

namespace fulmar::op_table {
namespace {

Operand step_state(const StepState& state) {
  return records<StepState>("/step_state", ops::step_state_info().shape, DType::u8,
                            std::span(&state, 1));
}

Operand flat_state(const std::string& name, int64_t count, double low, double high) {
  return state_of(weight(name, {count}, low, high));
}

Case dropout_case(const std::string& what, const Shape& shape, double rate, uint64_t id,
                  bool large = false) {
  StepState draws;
  draws.seed = 42, draws.draw = 7;
  return {"dropout",
          what,
          {real("x", shape), step_state(draws)},
          [=](Tape& t, std::span<const Val> x) {
            return std::vector<Val>{ops::dropout(t, x[0], rate, id)};
          },
          default_tolerance,
          {},
          large};
}

Case accumulate_case(const std::string& what, int64_t count, int32_t micro_batch) {
  StepState state;
  state.micro_batch = micro_batch;
  return {"accumulate",
          what,
          {constant_of(weight("g", {count})), flat_state("sum", count, -1, 1), step_state(state)},
          [](Tape& t, std::span<const Val> x) {
            ops::accumulate(t, x[0], x[1]);
            return std::vector<Val>{};
          },
          default_tolerance};
}

Case store_case(const std::string& what, Operand x, Operand buffer) {
  buffer.updated = true;
  return {"store",
          what,
          {constant_of(std::move(x)), std::move(buffer)},
          [](Tape& t, std::span<const Val> in) {
            ops::store(t, in[0], in[1]);
            return std::vector<Val>{};
          },
          0};
}

Case count_case(const std::string& what, std::vector<Operand> operands) {
  for (Operand& operand : operands) operand = constant_of(std::move(operand));
  return {
      "count_nonfinite", what, std::move(operands),
      [](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::count_nonfinite(t, x)}; },
      0};
}

// Operands of every optimiser, around the arenas that it updates.
struct Step {
  std::string what;
  int64_t count;
  std::vector<Segment> segments;
  double weight = 8;
  int nonfinite = 0;
  int64_t step = 3;
};

std::vector<Operand> update_operands(const Step& s, std::vector<Operand> arenas) {
  StepState state;
  state.step = s.step, state.learning_rate = 1e-2;
  const double g = s.weight > 0 ? s.weight : 1;
  std::vector<Operand> all{
      constant_of(weight("g", {s.count}, -g, g)),
      constant_of(in_role(Role::statistic, given("weight", {1}, {s.weight}))),
      {"nonfinite", {{1}, Role::index, DType::i32}, {static_cast<double>(s.nonfinite)}, {}}};
  for (Operand& arena : arenas) all.push_back(std::move(arena));
  const auto bytes = static_cast<int64_t>(s.segments.size() * sizeof(Segment));
  all.push_back(
      records<Segment>("segments", {bytes}, DType::u8, std::span<const Segment>(s.segments)));
  all.push_back(step_state(state));
  return all;
}

Case adamw_case(const Step& s, const AdamW& how) {
  return {
      "adamw", s.what,
      update_operands(s, {flat_state("theta", s.count, -1, 1), flat_state("m", s.count, -0.1, 0.1),
                          flat_state("v", s.count, 0, 0.1)}),
      [how](Tape& t, std::span<const Val> x) {
        ops::adamw(t, x[0], x[1], x[2], x[3], x[4], x[5], x[6], how);
        return std::vector<Val>{};
      },
      default_tolerance};
}

Case sgd_case(const Step& s, const Sgd& how) {
  return {
      "sgd", s.what,
      update_operands(s, {flat_state("theta", s.count, -1, 1), flat_state("v", s.count, -1, 1)}),
      [how](Tape& t, std::span<const Val> x) {
        ops::sgd(t, x[0], x[1], x[2], x[3], x[4], x[5], how);
        return std::vector<Val>{};
      },
      default_tolerance};
}

Case lars_case(const Step& s, const Lars& how) {
  return {
      "lars", s.what,
      update_operands(s, {flat_state("theta", s.count, -1, 1), flat_state("v", s.count, -1, 1)}),
      [how](Tape& t, std::span<const Val> x) {
        ops::lars(t, x[0], x[1], x[2], x[3], x[4], x[5], how);
        return std::vector<Val>{};
      },
      default_tolerance};
}

}  // namespace

void add_training_cases(std::vector<Case>& cases) {
  for (const auto& [what, shape, rate] : {std::tuple{"rate 0.5", Shape{2, 1, 1, 64}, 0.5},
                                          {"rate 0.1", Shape{2, 3, 5, 7}, 0.1},
                                          {"rate 0: the identity", Shape{1, 2, 3, 5}, 0.0},
                                          {"one element", Shape{1, 1, 1, 1}, 0.3}})
    cases.push_back(dropout_case(what, shape, rate, 3));
  cases.push_back(dropout_case("large", {2, 65, 63, 9}, 0.4, 1, true));
  cases.push_back(accumulate_case("first of three", 70, 0));
  cases.push_back(accumulate_case("second of three", 70, 1));

  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  cases.push_back(store_case("parameters", weight("x", {70}), flat_state("buffer", 70, -1, 1)));
  cases.push_back(store_case("a count", {"x", {{1}, Role::index, DType::i32}, {5}, {}},
                             {"buffer", {{1}, Role::index, DType::i32}, {3}, {}}));
  cases.push_back(count_case("none", {weight("g", {70})}));
  cases.push_back(count_case(
      "with an earlier count",
      {given("g", {3}, {1, nan, 2}), {"before", {{1}, Role::index, DType::i32}, {5}, {}}}));
  cases.push_back(count_case("each kind, in operands of each role",
                             {given("x", {1, 1, 2, 3}, {nan, 1, -infinity, 0, 3e38, infinity}),
                              in_role(Role::parameter, given("g", {4}, {0, nan, nan, -3e38})),
                              in_role(Role::statistic, given("weight", {1}, {infinity})),
                              in_role(Role::sum, given("sums", {2, 1}, {-nan, 2}))}));
  cases.push_back(count_case(
      "many", {given("x", {66000}, std::vector<double>(66000, nan)), weight("g", {140001})}));

  // Two segments with a gap between them, which stays as it is.
  const std::vector<Segment> segments{{0, 70, 1}, {96, 160, 0}};
  for (const bool scaled : {true, false})
    for (const bool keras : {true, false})
      cases.push_back(adamw_case({std::string("decay ") + (scaled ? "scaled" : "not scaled") +
                                      ", epsilon as " + (keras ? "Keras" : "torch"),
                                  160, segments},
                                 {0.9, 0.999, 1e-2, 1e-2, scaled, keras}));
  const AdamW torch{0.9, 0.999, 1e-7, 1e-4, true, false};
  cases.push_back(adamw_case({"first step", 160, segments, 8, 0, 1}, torch));
  cases.push_back(
      adamw_case({"step 10000", 160, segments, 8, 0, 10000}, {0.9, 0.999, 1e-7, 1e-4, true, true}));
  // Of weights that are no power of two, of none, and refused.
  const std::vector<Step> steps{{"weight 11", 160, segments, 11},
                                {"weight 0", 160, segments, 0},
                                {"refused", 160, segments, 8, 2}};
  for (const Step& s : steps) cases.push_back(adamw_case(s, torch));
  for (const bool nesterov : {false, true}) {
    const Sgd how{0.9, 1e-2, nesterov};
    cases.push_back(sgd_case({nesterov ? "Nesterov's" : "momentum", 160, segments}, how));
  }
  cases.push_back(sgd_case({"plain", 160, segments}, {0, 0, false}));
  for (const Step& s : steps) cases.push_back(sgd_case(s, {0.9, 1e-2, false}));

  const Lars lars{0.9, 1e-2, 0.1, 0};
  cases.push_back(lars_case({"two segments", 160, segments}, lars));
  cases.push_back(lars_case({"epsilon", 160, segments}, {0.9, 1e-2, 0.1, 1}));
  for (const Step& s : steps) cases.push_back(lars_case(s, lars));
  cases.push_back(
      lars_case({"a long segment", 140001, {{0, 33, 1}, {64, 140001, 1}}}, {0.9, 1e-2, 10, 0}));
}

void add_training_benchmarks(const NetworkSize& size, std::vector<Case>& cases) {
  const std::vector<Block> all = blocks(size);
  cases.push_back(dropout_case("head", {size.batch, 1, 1, 2 * all.back().width}, 0.5, 3));
  cases.push_back(dropout_case("block 1", block_shape(size, all[0]), 0.5, 3));
  // 1.26 million weights; and as many as the batch has pixels.
  const int64_t pixels = size.batch * size.crop * size.crop;
  const int64_t network = std::min(int64_t{1260320}, pixels);
  for (const auto& [what, count] :
       {std::pair{"as many as the network", network}, std::pair{"as many as pixels", pixels}}) {
    const Step all{what, count, {{0, count, 1}}};
    cases.push_back(accumulate_case(what, count, 1));
    cases.push_back(adamw_case(all, {}));
    cases.push_back(sgd_case(all, {}));
    cases.push_back(lars_case(all, {}));
    cases.push_back(count_case(what, {weight("g", {count})}));
    cases.push_back(store_case(what, weight("x", {count}), flat_state("buffer", count, -1, 1)));
  }
}

}  // namespace fulmar::op_table
