#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "bench/op_table/op_table.h"
#include "bench/op_table/uniform.h"
#include "kernels/fnv1a.h"

namespace fulmar::op_table {
namespace {

uint64_t seed_of(const std::string& name, const Shape& shape) {
  return fnv1a(name + shape.to_string());
}

double as_float(double value) { return static_cast<double>(static_cast<float>(value)); }

Operand drawn(const std::string& name, const Shape& shape, std::function<double(int64_t)> draw) {
  return {name, {shape, Role::activation, DType::f32}, {}, {}, true, false, std::move(draw)};
}

}  // namespace

Operand given(const std::string& name, const Shape& shape, std::vector<double> values) {
  for (double& value : values) value = as_float(value);
  return {name, {shape, Role::activation, DType::f32}, std::move(values), {}, true};
}

Operand real(const std::string& name, const Shape& shape, double low, double high) {
  return drawn(name, shape, [seed = seed_of(name, shape), low, high](int64_t i) {
    return as_float(uniform_value(seed, i, low, high));
  });
}

Operand weight(const std::string& name, const Shape& shape, double low, double high) {
  return in_role(Role::parameter, real(name, shape, low, high));
}

Operand off_zero(const std::string& name, const Shape& shape, double least, double most) {
  return drawn(name, shape, [seed = seed_of(name, shape), least, most](int64_t i) {
    const double value = uniform_value(seed, i, -1, 1);
    return as_float(std::copysign(least + (most - least) * std::abs(value), value));
  });
}

Operand indices(const std::string& name, const Shape& shape, int64_t classes, DType type) {
  Operand operand = drawn(name, shape, [seed = seed_of(name, shape), classes](int64_t i) {
    return std::floor(uniform_value(seed, i, 0, static_cast<double>(classes)));
  });
  operand.info = {shape, Role::index, type};
  return constant_of(operand);
}

Operand listed(Operand operand) {
  if (!operand.draw || !operand.values.empty() || !operand.bytes.empty()) return operand;
  for (int64_t i = 0; i < operand.info.shape.elements(); i++)
    operand.values.push_back(operand.draw(i));
  return operand;
}

Operand distinct(const std::string& name, const Shape& shape) {
  const uint64_t seed = seed_of(name, shape);
  const auto count = static_cast<size_t>(shape.elements());
  std::vector<double> values(count);
  for (size_t i = 0; i < count; i++)
    values[i] = 0.02 * (static_cast<double>(i) - static_cast<double>(count) / 2);
  for (size_t i = count; i > 1; i--) std::swap(values[i - 1], values[splitmix64(seed + i) % i]);
  return given(name, shape, std::move(values));
}

Operand in_role(Role role, Operand operand) {
  operand.info.role = role;
  return operand;
}

Operand constant_of(Operand operand) {
  operand.differentiable = false;
  return operand;
}

Operand state_of(Operand operand) {
  operand.differentiable = false;
  operand.updated = true;
  return operand;
}

namespace {

// A NaN first, +infinity last and -infinity between them, as far as there is room.
void put_not_finite(std::vector<double>& values) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (values.size() > 2) values[values.size() / 2] = -infinity;
  if (values.size() > 1) values.back() = infinity;
  values.front() = std::numeric_limits<double>::quiet_NaN();
}

// For each op's first case and each operand that it differentiates: the case with NaN and
// infinities in that operand. No kernel may hide them, or spread them beyond what they reach.
void add_not_finite_cases(std::vector<Case>& cases) {
  std::set<std::string> seen;
  const size_t count = cases.size();
  for (size_t i = 0; i < count; i++) {
    if (cases[i].parity_only || !seen.insert(cases[i].op).second) continue;
    for (size_t k = 0; k < cases[i].operands.size(); k++) {
      if (!cases[i].operands[k].differentiable) continue;
      Case c = cases[i];
      c.what += "; NaN and infinities in " + c.operands[k].name;
      put_not_finite(c.operands[k].values);
      c.parity_only = true;
      c.elementwise.clear();
      cases.push_back(std::move(c));
    }
  }
}

}  // namespace

const std::vector<Case>& op_cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> cases;
    add_pointwise_cases(cases);
    add_shape_cases(cases);
    add_conv_cases(cases);
    add_pool_cases(cases);
    add_norm_cases(cases);
    add_loss_cases(cases);
    add_training_cases(cases);
    add_warp_cases(cases);
    for (Case& c : cases)
      for (Operand& operand : c.operands) operand = listed(std::move(operand));
    add_not_finite_cases(cases);
    return cases;
  }();
  return all;
}

std::vector<Block> blocks(const NetworkSize& size) {
  std::vector<Block> all;
  int64_t side = (size.crop + 1) / 2, inputs = 8;
  int number = 1;
  for (const int64_t width : {8, 16, 32, 64, 128, 256, 512}) {
    all.push_back({number++, side, inputs, width});
    inputs = width;
    side = (side + 1) / 2;
  }
  return all;
}

Shape block_shape(const NetworkSize& size, const Block& block) {
  return {size.batch, block.side, block.side, block.width};
}

std::vector<Case> benchmark_cases(const NetworkSize& size) {
  std::vector<Case> cases;
  add_conv_benchmarks(size, cases);
  add_norm_benchmarks(size, cases);
  add_pointwise_benchmarks(size, cases);
  add_pool_benchmarks(size, cases);
  add_shape_benchmarks(size, cases);
  add_loss_benchmarks(size, cases);
  add_training_benchmarks(size, cases);
  add_warp_benchmarks(size, cases);
  return cases;
}

}  // namespace fulmar::op_table
