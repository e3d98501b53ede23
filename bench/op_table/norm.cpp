#include <string>
#include <utility>
#include <vector>

#include "bench/op_table/op_table.h"

namespace fulmar::op_table {
namespace {

constexpr double epsilon = 1e-3;

Operand statistic(const std::string& name, int64_t channels, double low, double high) {
  return constant_of(in_role(Role::statistic, real(name, {channels}, low, high)));
}

Build train(bool unbiased) {
  return [=](Tape& t, std::span<const Val> x) {
    const ops::RunningStatistics running{x[3], x[4], 0.9, unbiased};
    return std::vector<Val>{ops::batch_norm_train(t, x[0], x[1], x[2], running, epsilon)};
  };
}

// `mean` and `var` of the first are updated.
Case train_case(const std::string& what, Operand x, Operand mean, bool unbiased, double tolerance,
                bool large = false) {
  const int64_t channels = x.info.shape[3];
  Operand var = statistic("var", channels, 0.5, 1.5);
  mean.updated = var.updated = true;
  return {"batch_norm_train",
          what,
          {std::move(x), weight("gamma", {channels}, 0.5, 1.5), weight("beta", {channels}),
           std::move(mean), std::move(var)},
          train(unbiased),
          tolerance,
          {"x", "gamma", "beta"},
          large};
}

Case eval_case(const std::string& what, const Shape& x, double tolerance, bool large = false) {
  const int64_t channels = x[3];
  const auto build = [](Tape& t, std::span<const Val> in) {
    return std::vector<Val>{ops::batch_norm(t, in[0], in[1], in[2], in[3], in[4], epsilon)};
  };
  return {"batch_norm",
          what,
          {real("x", x, -2, 3), weight("gamma", {channels}, 0.5, 1.5), weight("beta", {channels}),
           statistic("mean", channels, -1, 1), statistic("var", channels, 0.5, 1.5)},
          build,
          tolerance,
          {"gamma", "beta"},
          large};
}

}  // namespace

void add_norm_cases(std::vector<Case>& cases) {
  // gamma / sqrt(var + epsilon) and x - mean are rounded once each, and dx is a difference of three
  // terms of like size: some ten roundings for a result of order 1.
  const double tolerance = 2e-6;
  struct Size {
    const char* what;
    Shape x;
    bool large = false;
    double tolerance = 2e-6;
  };
  // Of two values that lie close together, x - mean is mostly the rounding of mean, and 1/s is up
  // to 1/sqrt(epsilon) = 32; the terms of dx cancel but for a few percent.
  const Size sizes[] = {{"odd", {2, 3, 5, 7}},
                        {"two values a channel", {2, 1, 1, 5}, false, 2e-4},
                        {"one row, 17 channels", {3, 1, 2, 17}},
                        {"8 channels", {2, 6, 5, 8}},
                        {"large, 8 channels", {2, 65, 63, 8}, true},
                        {"large, 130 channels", {2, 9, 8, 130}, true}};
  for (const Size& s : sizes) {
    cases.push_back(eval_case(s.what, s.x, s.tolerance, s.large));
    cases.push_back(train_case(s.what, real("x", s.x, -2, 3), statistic("mean", s.x[3], -1, 1),
                               true, s.tolerance, s.large));
  }
  cases.push_back(train_case("biased running variance", real("x", {2, 3, 2, 3}),
                             statistic("mean", 3, -1, 1), false, tolerance));
  // x - mean loses three digits of seven: 1000 is that much larger than the spread of x.
  Operand far = statistic("mean", 3, 999, 1001);
  cases.push_back(
      train_case("mean far from 0", real("x", {2, 5, 4, 3}, 999, 1001), far, true, 1e-3));
  // The same about a running mean that has not come near it yet. Finite differences would see what
  // sums of squares lose in double: of 10^6, a rounding is 10^-10.
  for (const Shape& shape : {Shape{2, 5, 4, 3}, Shape{2, 65, 63, 8}, Shape{3, 9, 8, 130}})
    for (const double mean : {1000.0, -1000.0}) {
      const std::vector<double> zeros(static_cast<size_t>(shape[3]), 0.0);
      Operand start = constant_of(in_role(Role::statistic, given("mean", {shape[3]}, zeros)));
      cases.push_back(train_case("mean " + std::to_string(static_cast<int>(mean)) + ", shift 0, " +
                                     std::to_string(shape[3]) + " channels",
                                 real("x", shape, mean - 1, mean + 1), std::move(start), true, 1e-3,
                                 true));
    }
  // Single values: variance 0, y = beta but for mean's rounding times 32; the gradient of x is 0
  // but for rounding, and not compared.
  Operand single = constant_of(real("x", {1, 1, 1, 4}));
  cases.push_back(
      train_case("one value a channel", single, statistic("mean", 4, -1, 1), true, 2e-5));
}

void add_norm_benchmarks(const NetworkSize& size, std::vector<Case>& cases) {
  for (const Block& block : blocks(size)) {
    const Shape x = block_shape(size, block);
    const std::string name = "block " + std::to_string(block.number);
    cases.push_back(train_case(name, real("x", x, -2, 3), statistic("mean", x[3], -1, 1), true, 0));
    if (block.number == 1) cases.push_back(eval_case(name, x, 0));
  }
}

}  // namespace fulmar::op_table
