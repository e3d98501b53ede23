#include <array>

#include "bench/op_table/op_table.h"

namespace fulmar::op_table {
namespace {

Build broadcast_to(const Shape& to) {
  return [to](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::broadcast(t, x[0], to)};
  };
}

Build sum_to(const Shape& to) {
  return [to](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::sum(t, x[0], to)}; };
}

std::vector<Val> global(Tape& t, std::span<const Val> x) {
  return {ops::global_average_pool(t, x[0])};
}

std::vector<Val> concat(Tape& t, std::span<const Val> x) { return {ops::concat(t, x)}; }

Build slice(std::array<int64_t, 4> begin, const Shape& shape) {
  return [=](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::slice(t, x[0], begin, shape)};
  };
}

Build embed(std::array<int64_t, 4> begin, const Shape& shape) {
  return [=](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::embed(t, x[0], begin, shape)};
  };
}

}  // namespace

void add_shape_cases(std::vector<Case>& cases) {
  const auto add = [&](const std::string& op, const std::string& what, std::vector<Operand> x,
                       Build build, bool large = false) {
    Case added{op, what, std::move(x), std::move(build), default_tolerance};
    added.parity_only = large;
    cases.push_back(std::move(added));
  };
  const Shape odd{2, 3, 5, 7};
  for (const Shape& small : {Shape{1}, Shape{7}, Shape{2, 1, 1, 7}, Shape{2, 3, 5, 1},
                             Shape{1, 3, 1, 7}, Shape{1, 1, 5, 1}}) {
    add("broadcast", small.to_string(), {real("x", small)}, broadcast_to(odd));
    add("sum", "to " + small.to_string(), {real("x", odd)}, sum_to(small));
    // 210 numbers of either sign leave a sum smaller than the rounding errors' scale.
    if (small == Shape{1}) cases.back().tolerance = 1e-5;
  }
  add("sum", "many pixels to channels", {real("x", {2, 61, 47, 19})}, sum_to({19}), true);
  add("sum", "many pixels to a number", {real("x", {2, 61, 47, 19})}, sum_to({1}), true);
  cases.back().tolerance = 1e-5;
  add("sum", "many channels to pixels", {real("x", {1, 3, 5, 1031})}, sum_to({1, 3, 5, 1}), true);

  for (const auto& [from, to] : {std::pair{Role::activation, Role::parameter},
                                 std::pair{Role::parameter, Role::activation}}) {
    const std::string what =
        from == Role::activation ? "activations to parameters" : "parameters to activations";
    const Role role = to;
    add("as_role", what, {in_role(from, real("x", odd))}, [role](Tape& t, std::span<const Val> x) {
      return std::vector<Val>{ops::as_role(t, x[0], role)};
    });
    add("broadcast", what, {in_role(from, real("x", {7}))},
        [role, odd](Tape& t, std::span<const Val> x) {
          return std::vector<Val>{ops::broadcast(t, x[0], odd, role)};
        });
    add("sum", what, {in_role(from, real("x", odd))}, [role](Tape& t, std::span<const Val> x) {
      return std::vector<Val>{ops::sum(t, x[0], {7}, role)};
    });
  }

  add("global_average_pool", "odd", {real("x", odd)}, global);
  add("global_average_pool", "one pixel", {real("x", {3, 1, 1, 5})}, global);
  add("global_average_pool", "wide", {real("x", {2, 8, 8, 130})}, global, true);

  add("concat", "1, 5 and 3 channels",
      {real("a", {2, 3, 4, 1}), real("b", {2, 3, 4, 5}), real("c", {2, 3, 4, 3})}, concat);
  add("concat", "one operand", {real("a", odd)}, concat);
  add("concat", "an operand twice", {real("a", odd)}, [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::concat(t, std::array{x[0], x[0]})};
  });
  add("slice", "inside", {real("x", odd)}, slice({1, 1, 2, 3}, {1, 2, 2, 3}));
  add("slice", "all", {real("x", odd)}, slice({0, 0, 0, 0}, odd));
  add("reshape", "other extents", {real("x", odd)}, [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::reshape(t, x[0], {2, 1, 15, 7})};
  });
  add("reshape", "of what is still used", {real("x", odd)}, [](Tape& t, std::span<const Val> x) {
    const Val y = ops::tanh(t, x[0]), z = ops::reshape(t, y, {1, 5, 6, 7});
    return std::vector<Val>{ops::mul(t, z, ops::reshape(t, ops::square(t, y), {1, 5, 6, 7}))};
  });
  const auto transpose = [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::transpose(t, x[0])};
  };
  add("transpose", "more columns", {real("x", {5, 19})}, transpose);
  add("transpose", "a column", {weight("x", {7, 1})}, transpose);
  add("transpose", "sums over pixels", {in_role(Role::sum, real("x", {3, 4}))}, transpose);
  add("transpose", "class indices", {indices("x", {4, 6}, 200, DType::u8)}, transpose);
  add("embed", "inside", {real("x", {1, 2, 2, 3})}, embed({1, 1, 2, 3}, odd));
  add("embed", "all", {real("x", odd)}, embed({0, 0, 0, 0}, odd));

  // Gradients of both operands lie in one flat value; gaps between them must come out as 0.
  const std::array<int64_t, 2> offsets{0, 32};
  add("join", "with gaps",
      {constant_of(weight("a", {3, 5})), constant_of(weight("b", {2, 1, 3, 2}))},
      [offsets](Tape& t, std::span<const Val> x) {
        return std::vector<Val>{ops::join(t, x, offsets, 64)};
      });
  add("join", "of computed values",
      {constant_of(weight("a", {3, 5})), constant_of(weight("b", {2, 1, 3, 2}))},
      [offsets](Tape& t, std::span<const Val> x) {
        const std::array parts{ops::square(t, x[0]), ops::exp(t, x[1])};
        return std::vector<Val>{ops::join(t, parts, offsets, 64)};
      });
}

void add_shape_benchmarks(const NetworkSize& size, std::vector<Case>& cases) {
  const auto add = [&](const std::string& op, const std::string& what, std::vector<Operand> x,
                       Build build, double reads = 1) {
    Case added{op, what, std::move(x), std::move(build), 0};
    added.reads = reads;
    cases.push_back(std::move(added));
  };
  const std::vector<Block> all = blocks(size);
  const Shape x = block_shape(size, all[0]);
  const std::string what = "block 1";
  add("constant", what, {},
      [x](Tape& t, std::span<const Val>) { return std::vector<Val>{ops::constant(t, x, 0.5)}; });
  add("broadcast", "channels, " + what, {real("x", {x[3]})}, broadcast_to(x));
  add("broadcast", "images, " + what, {real("x", {x[0], 1, 1, x[3]})}, broadcast_to(x));
  add("sum", "to a number, " + what, {real("x", x)}, sum_to({1}));
  const int64_t side = (all.back().side + 1) / 2;
  add("global_average_pool", "head", {real("x", {size.batch, side, side, 2 * all.back().width})},
      global);
  const Shape half{x[0], x[1], x[2], x[3] / 2};
  add("concat", "two halves, " + what, {real("a", half), real("b", half)}, concat);
  const Shape quarter{x[0], x[1] / 2, x[2] / 2, x[3]};
  add("slice", "a quarter of " + what, {real("x", x)}, slice({0, 0, 0, 0}, quarter), 0.25);
  add("transpose", "a pixel's channels, " + what, {real("x", {x[0] * x[1] * x[2], x[3]})},
      [](Tape& t, std::span<const Val> in) { return std::vector<Val>{ops::transpose(t, in[0])}; });
  const int64_t part = size.batch * size.crop * size.crop / 16;
  add("join", "two vectors", {constant_of(weight("a", {part})), constant_of(weight("b", {part}))},
      [part](Tape& t, std::span<const Val> in) {
        const std::array<int64_t, 2> offsets{0, part};
        return std::vector<Val>{ops::join(t, in, offsets, 2 * part)};
      });
}

}  // namespace fulmar::op_table
