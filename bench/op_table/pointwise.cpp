#include <array>

#include "bench/op_table/op_table.h"

namespace fulmar::op_table {
namespace {

using Values = std::vector<double>;

Build unary(Val (*f)(Tape&, Val)) {
  return [f](Tape& t, std::span<const Val> x) { return std::vector<Val>{f(t, x[0])}; };
}
Build binary(Val (*f)(Tape&, Val, Val)) {
  return [f](Tape& t, std::span<const Val> x) { return std::vector<Val>{f(t, x[0], x[1])}; };
}

}  // namespace

namespace {

// Operands with extents of 1 that repeat, of any rank, one or both.
void add_repeated_cases(std::vector<Case>& cases) {
  const auto add = [&](const std::string& op, const std::string& what, std::vector<Operand> x,
                       Build build, bool parity_only = false) {
    cases.push_back({op, what, std::move(x), std::move(build), default_tolerance});
    cases.back().parity_only = parity_only;
  };
  const auto over = [](const Shape& small, const Shape& large) {
    return small.to_string() + " over " + large.to_string();
  };
  for (const int64_t channels : {3, 5, 8, 17, 64}) {
    const Shape x{2, 3, 5, channels};
    for (const Shape& small : {Shape{1}, Shape{channels}, Shape{2, 1, 1, channels},
                               Shape{2, 3, 5, 1}, Shape{3, 1, channels}, Shape{2, 1, 5, 1}})
      add("mul", over(small, x), {real("a", x), real("b", small)}, binary(ops::mul));
    add("add", "in different axes, " + std::to_string(channels) + " channels",
        {real("a", {2, 1, 1, channels}), real("b", {1, 3, 5, 1})}, binary(ops::add));
  }
  const Shape odd{2, 3, 5, 7};
  add("sub", "from a number", {real("a", {1}), real("b", odd)}, binary(ops::sub));
  add("sub", "from a value per pixel", {real("a", {2, 3, 5, 1}), real("b", odd)}, binary(ops::sub));
  add("sub", "a matrix", {real("a", odd), real("b", {5, 7})}, binary(ops::sub));
  add("mul", "as many elements, in different axes", {real("a", {3, 1}), real("b", {1, 3})},
      binary(ops::mul));
  add("mul", "a vector of parameters", {real("a", odd), weight("b", {7})}, binary(ops::mul));
  add("mul", "a vector of activations", {weight("a", odd), real("b", {7})}, binary(ops::mul));
  add("mul", "rank 0", {real("a", odd), real("b", {})}, binary(ops::mul));
  add("div", "by a vector of channels", {real("a", odd), off_zero("b", {7}, 0.3)},
      binary(ops::div));
  add("div", "of a vector of channels", {real("a", {7}), off_zero("b", odd, 0.3)},
      binary(ops::div));
  add("div_no_nan", "by a number per image", {real("a", odd), real("b", {2, 1, 1, 1}, 0.3, 2)},
      binary(ops::div_no_nan));
  add("gate", "a pixel's channels", {constant_of(off_zero("x", {2, 3, 5, 1})), real("a", odd)},
      binary(ops::gate));
  add("gate", "values of channels", {constant_of(off_zero("x", odd)), real("a", {7})},
      binary(ops::gate));
  // An operand that is computed, and dies here: the plan may not write over one that repeats.
  add("mul", "of computed operands", {real("a", {3, 1}), real("b", {1, 5})},
      [](Tape& t, std::span<const Val> x) {
        const Val a = ops::tanh(t, ops::square(t, x[0])), b = ops::tanh(t, x[1]);
        return std::vector<Val>{ops::mul(t, ops::mul(t, a, b), ops::square(t, a))};
      });
  // More than the CPU takes in a piece and in a chunk, and than a GPU's thread takes at a time.
  for (const Shape& x : {Shape{2, 67, 131, 9}, Shape{2, 67, 61, 16}, Shape{3, 5, 41, 600}})
    for (const Shape& small :
         {Shape{1}, Shape{x[3]}, Shape{x[0], 1, 1, x[3]}, Shape{x[0], x[1], x[2], 1},
          Shape{1, x[1], x[2], x[3]}, Shape{x[0], x[1], 1, 1}, Shape{x[1], 1, x[3]}})
      // The gradient by b is one of reduce_sum, whose rows bound the error of long sums.
      add("add", over(small, x), {real("a", x), constant_of(real("b", small))}, binary(ops::add),
          true);
  add("mul", "many elements, in different axes", {real("a", {3, 1, 1, 40}), real("b", {70, 31, 1})},
      binary(ops::mul), true);
}

}  // namespace

void add_pointwise_cases(std::vector<Case>& cases) {
  const auto add = [&](const std::string& op, const std::string& what, std::vector<Operand> x,
                       Build build, double tolerance = default_tolerance) {
    cases.push_back({op, what, std::move(x), std::move(build), tolerance});
  };
  const Shape odd{2, 3, 5, 7}, one{1, 1, 1, 1}, vector{17}, wide{1, 5, 9, 33};

  add("add", "same shape", {real("a", odd), real("b", odd)}, binary(ops::add));
  add("add", "a vector of channels", {real("a", odd), real("b", {7})}, binary(ops::add));
  add("add", "parameters of channels", {real("a", odd), weight("b", {7})}, binary(ops::add));
  add("mul", "a parameter with activations", {weight("a", odd), real("b", odd)}, binary(ops::mul));
  add("mul", "parameters", {weight("a", odd), weight("b", {7})}, binary(ops::mul));
  add("add", "both are broadcast", {real("a", {2, 1, 5, 1}), real("b", {1, 3, 1, 7})},
      binary(ops::add));
  add("add", "one element", {real("a", one), real("b", one)}, binary(ops::add));
  add("add", "an operand with itself", {real("a", odd)},
      [](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::add(t, x[0], x[0])}; });
  const auto sums = [](const char* name, const Shape& shape) {
    return in_role(Role::sum, real(name, shape));
  };
  add("add", "sums over pixels", {sums("a", {3, 7}), sums("b", {3, 7})}, binary(ops::add), 1e-15);
  cases.back().elementwise = {"output 0"};
  add("add", "sums, one of them twice", {sums("a", {17}), sums("b", {17})},
      [](Tape& t, std::span<const Val> x) {
        return std::vector<Val>{ops::add(t, ops::add(t, x[0], x[1]), x[0])};
      });
  add("sub", "same shape", {real("a", odd), real("b", odd)}, binary(ops::sub));
  add("sub", "a number per image", {real("a", {2, 1, 1, 1}), real("b", odd)}, binary(ops::sub));
  add("mul", "same shape", {real("a", wide), real("b", wide)}, binary(ops::mul));
  add("mul", "a number per pixel", {real("a", odd), real("b", {2, 3, 5, 1})}, binary(ops::mul));
  add("mul", "an operand with itself", {real("a", odd)},
      [](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::mul(t, x[0], x[0])}; });
  add("div", "same shape", {real("a", odd), off_zero("b", odd, 0.3)}, binary(ops::div));
  add("div", "by a scalar", {real("a", odd), off_zero("b", {1}, 0.3)}, binary(ops::div));
  add("div_no_nan", "positive", {real("a", odd), real("b", odd, 0.3, 2)}, binary(ops::div_no_nan));
  add("div_no_nan", "either sign", {real("a", wide), off_zero("b", wide, 0.3)},
      binary(ops::div_no_nan));
  add("div_no_nan", "by 0", {real("a", {1}), constant_of(given("b", {1}, {0}))},
      binary(ops::div_no_nan));
  add("gate", "either sign", {constant_of(off_zero("x", odd)), real("a", odd)}, binary(ops::gate));

  add("affine", "3x - 2", {real("x", odd)}, [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::affine(t, x[0], 3, -2)};
  });
  // Sums of numbers of either sign: the norm of what comes out is that of what goes in.
  add("relu", "either sign", {off_zero("x", wide)}, unary(ops::relu));
  add("relu", "one element", {off_zero("x", one)}, unary(ops::relu));
  add("relu", "all negative", {real("x", odd, -2, -1)}, unary(ops::relu));
  add("leaky_relu", "slope 0.1", {off_zero("x", wide)}, [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::leaky_relu(t, x[0], 0.1)};
  });
  add("prelu", "a slope per channel", {off_zero("x", wide), weight("a", {33})}, binary(ops::prelu));
  add("elu", "alpha 0.5", {off_zero("x", wide)},
      [](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::elu(t, x[0], 0.5)}; });
  add("elu", "tiny", {given("x", {4}, {-1e-4, -1e-6, 1e-5, 1e-3})},
      [](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::elu(t, x[0], 1)}; });
  cases.back().elementwise = {"output 0"};
  cases.back().parity_only = true;  // the kink is nearer than a difference's step
  add("selu", "either sign", {off_zero("x", wide)}, unary(ops::selu));
  // Kinks at 0 and 6.
  add("relu6", "below, within and above", {given("x", {7}, {-3, -0.25, 0.25, 3, 5.75, 6.25, 9})},
      unary(ops::relu6));
  add("relu6", "at the kinks", {given("x", {4}, {0, 6, -0.0, 1e-30})}, unary(ops::relu6));
  cases.back().parity_only = true;
  add("hard_sigmoid", "below, within and above",
      {given("x", {7}, {-9, -3.25, -2.75, 0, 2.75, 3.25, 9})},
      [](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::hard_sigmoid(t, x[0])}; });
  add("hard_sigmoid", "slope 0.2", {real("x", wide, -2, 2)}, [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::hard_sigmoid(t, x[0], 0.2)};
  });
  add("silu", "near 0", {real("x", wide, -4, 4)}, unary(ops::silu));
  add("gelu_tanh", "near 0", {real("x", wide, -3, 3)}, unary(ops::gelu_tanh));
  add("gelu", "near 0", {real("x", wide, -3, 3)}, unary(ops::gelu));
  // An error of 1.8e-7 x^2: its logarithm and erfc's argument are rounded.
  add("gelu", "in the tails", {real("x", wide, -8, 8)}, unary(ops::gelu), 1.2e-5);
  cases.back().elementwise = {"output 0"};
  add("erf", "near 0", {real("x", wide, -3, 3)}, unary(ops::erf));
  add("erf", "tiny", {given("x", {4}, {-1e-4, -1e-6, 1e-5, 1e-3})}, unary(ops::erf));
  cases.back().elementwise = {"output 0", "d x"};
  add("sigmoid", "near 0", {real("x", wide, -4, 4)}, unary(ops::sigmoid));
  add("tanh", "near 0", {real("x", wide, -3, 3)}, unary(ops::tanh));
  add("softplus", "near 0", {off_zero("x", wide, 0.1, 4)}, unary(ops::softplus));
  // Far from 0, where a naive formula overflows or loses all digits.
  const Values far{-80, -30, -15, 15, 30, 80};
  const auto add_far = [&](const std::string& op, Val (*f)(Tape&, Val),
                           std::vector<std::string> elementwise) {
    Case c{op, "far from 0", {given("x", {6}, far)}, unary(f), default_tolerance};
    c.elementwise = std::move(elementwise);
    cases.push_back(std::move(c));
  };
  // Sigmoid's and tanh's derivatives come from an output that is 1 but for rounding.
  add_far("sigmoid", ops::sigmoid, {"output 0"});
  add_far("tanh", ops::tanh, {"output 0"});
  add("tanh", "tiny", {given("x", {4}, {-1e-4, -1e-6, 1e-5, 1e-3})}, unary(ops::tanh));
  add_far("erf", ops::erf, {"output 0"});
  add_far("gelu", ops::gelu, {});  // below 0 it is less than any float
  add_far("softplus", ops::softplus, {"output 0", "d x"});
  add("exp", "near 0", {real("x", wide, -4, 4)}, unary(ops::exp));
  add("log", "positive", {real("x", wide, 0.1, 5)}, unary(ops::log));
  add("sqrt", "positive", {real("x", wide, 0.1, 5)}, unary(ops::sqrt));
  add("square", "either sign", {real("x", vector, -3, 3)}, unary(ops::square));
  add("abs", "either sign", {off_zero("x", vector)}, unary(ops::abs));

  // In place after another op, with the value used once more: the plan must not overwrite it.
  add("pointwise", "a chain", {real("x", odd)}, [](Tape& t, std::span<const Val> x) {
    const Val a = ops::tanh(t, x[0]), b = ops::square(t, a);
    return std::vector<Val>{ops::mul(t, ops::sub(t, ops::exp(t, b), a), ops::sigmoid(t, b))};
  });
  // More elements than a thread takes at a time.
  Case many{"mul",
            "many elements",
            {real("a", {2, 67, 131, 9}), real("b", {2, 67, 131, 9})},
            binary(ops::mul),
            default_tolerance};
  many.parity_only = true;
  cases.push_back(std::move(many));
  add_repeated_cases(cases);
}

void add_pointwise_benchmarks(const NetworkSize& size, std::vector<Case>& cases) {
  const auto add = [&](const std::string& op, const std::string& what, std::vector<Operand> x,
                       Build build) {
    cases.push_back({op, what, std::move(x), std::move(build), 0});
  };
  const std::vector<Block> all = blocks(size);
  for (const Block& block : all) {
    const Shape shape = block_shape(size, block);
    const Shape pooled{size.batch, (block.side + 1) / 2, (block.side + 1) / 2, block.width};
    const std::string name = "block " + std::to_string(block.number);
    add("relu", name, {off_zero("x", shape)}, unary(ops::relu));
    add("add", name, {real("a", pooled), real("b", pooled)}, binary(ops::add));
  }
  // The others have one size, 8 MiB of floats for each image of 1024^2 pixels.
  const Shape shape = block_shape(size, all[0]);
  const std::string what = "block 1";
  add("sub", what, {real("a", shape), real("b", shape)}, binary(ops::sub));
  add("mul", what, {real("a", shape), real("b", shape)}, binary(ops::mul));
  add("div", what, {real("a", shape), off_zero("b", shape, 0.3)}, binary(ops::div));
  add("div_no_nan", what, {real("a", shape), off_zero("b", shape, 0.3)}, binary(ops::div_no_nan));
  add("gate", what, {constant_of(off_zero("x", shape)), real("a", shape)}, binary(ops::gate));
  // Operands that repeat.
  const Shape second = block_shape(size, all[1]), fourth = block_shape(size, all[3]);
  add("mul", "a vector of channels, block 1", {real("a", shape), real("b", {shape[3]})},
      binary(ops::mul));
  add("mul", "a mask of pixels, block 1",
      {real("a", shape), real("b", {shape[0], shape[1], shape[2], 1})}, binary(ops::mul));
  add("add", "a bias, block 2", {real("a", second), real("b", {second[3]})}, binary(ops::add));
  add("mul", "a gate of images, block 4",
      {real("a", fourth), real("b", {fourth[0], 1, 1, fourth[3]})}, binary(ops::mul));
  add("affine", what, {real("x", shape)}, [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::affine(t, x[0], 3, -2)};
  });
  add("leaky_relu", what, {off_zero("x", shape)}, [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::leaky_relu(t, x[0], 0.1)};
  });
  add("elu", what, {off_zero("x", shape)},
      [](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::elu(t, x[0], 1)}; });
  add("selu", what, {off_zero("x", shape)}, unary(ops::selu));
  add("relu6", what, {real("x", shape, -4, 9)}, unary(ops::relu6));
  add("hard_sigmoid", what, {real("x", shape, -4, 4)},
      [](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::hard_sigmoid(t, x[0])}; });
  add("silu", what, {real("x", shape, -4, 4)}, unary(ops::silu));
  add("gelu", what, {real("x", shape, -4, 4)}, unary(ops::gelu));
  add("erf", what, {real("x", shape, -4, 4)}, unary(ops::erf));
  add("gelu_tanh", what, {real("x", shape, -4, 4)}, unary(ops::gelu_tanh));
  add("sigmoid", what, {real("x", shape, -4, 4)}, unary(ops::sigmoid));
  add("tanh", what, {real("x", shape, -3, 3)}, unary(ops::tanh));
  add("softplus", what, {off_zero("x", shape, 0.1, 4)}, unary(ops::softplus));
  add("exp", what, {real("x", shape, -4, 4)}, unary(ops::exp));
  add("log", what, {real("x", shape, 0.1, 5)}, unary(ops::log));
  add("sqrt", what, {real("x", shape, 0.1, 5)}, unary(ops::sqrt));
  add("square", what, {real("x", shape, -3, 3)}, unary(ops::square));
  add("abs", what, {off_zero("x", shape)}, unary(ops::abs));
}

}  // namespace fulmar::op_table
