#pragma once

#include <string>

#include "engine/op.h"

namespace fulmar::ops {

// A function of kernels/pointwise.h, by its number there; `alpha` and `beta` are its constants.
struct FULMAR_API Pointwise final : Op {
  Pointwise(int number, double first, double second)
      : functor(number), alpha(first), beta(second) {}
  std::string_view name() const override;
  Attributes attributes() const override;
  bool may_overwrite(int) const override { return true; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const int functor;
  const double alpha, beta;
};

// Of a function of one argument: the saved input or output, dy -> dx
struct FULMAR_API PointwiseGrad final : Op {
  PointwiseGrad(int number, double first, double second);
  std::string_view name() const override { return full_name; }
  Attributes attributes() const override;
  bool may_overwrite(int) const override { return true; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const int functor;
  const double alpha, beta;
  const std::string full_name;  // "relu_grad"
};

}  // namespace fulmar::ops
