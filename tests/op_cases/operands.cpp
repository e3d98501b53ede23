#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/fnv1a.h"
#include "tests/op_cases.h"
#include "tests/support/array.h"

namespace fulmar::test {
namespace {

uint64_t seed_of(const std::string& name, const Shape& shape) {
  return fnv1a(name + shape.to_string());
}

double as_float(double value) { return static_cast<double>(static_cast<float>(value)); }

}  // namespace

Operand given(const std::string& name, const Shape& shape, std::vector<double> values) {
  for (double& value : values) value = as_float(value);
  return {name, {shape, Role::activation, DType::f32}, std::move(values), {}, true, false};
}

Operand real(const std::string& name, const Shape& shape, double low, double high) {
  return given(name, shape, random_reals(shape, seed_of(name, shape), low, high).values);
}

Operand weight(const std::string& name, const Shape& shape, double low, double high) {
  return in_role(Role::parameter, real(name, shape, low, high));
}

Operand off_zero(const std::string& name, const Shape& shape, double least, double most) {
  std::vector<double> values = random_reals(shape, seed_of(name, shape), -1, 1).values;
  for (double& value : values)
    value = std::copysign(least + (most - least) * std::abs(value), value);
  return given(name, shape, std::move(values));
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

Operand indices(const std::string& name, const Shape& shape, int64_t classes) {
  Operand operand{name, {shape, Role::index, DType::i32}, {}, {}, false, false};
  for (int64_t i = 0; i < shape.elements(); i++)
    operand.values.push_back(
        std::floor(uniform_value(seed_of(name, shape), i, 0, static_cast<double>(classes))));
  return operand;
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
    return cases;
  }();
  return all;
}

}  // namespace fulmar::test
