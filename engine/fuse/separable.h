#pragma once

#include "engine/fuse/cotangent.h"
#include "engine/fuse/load.h"
#include "engine/op.h"

namespace fulmar::ops {

// A separable convolution 3x3 of stride 1: conv2d(depthwise_conv2d(x)), and the sums of what it
// gives. LoadOperand x, depthwise, pointwise, bias?, shift? -> y, and with shift sums [3,C]
struct FULMAR_API Separable final : Op {
  Separable(const LoadOperand& load, bool has_sums, bool has_gradient)
      : x(load), sums(has_sums), differentiates(has_gradient) {}
  std::string_view name() const override { return "separable"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;
  std::vector<Val> compose(Tape& tape, std::span<const Val> operands) const override;

  const LoadOperand x;
  const bool sums;
  const bool differentiates;  // the device has its gradient's kernel; else that of the composition
};

// Its gradient. CotangentOperand, LoadOperand x, depthwise, pointwise, skip's dy?, skip's w? ->
// dx; of a normalised x what lies before relu, and its grad sums [2,C]; ddepthwise, dpointwise
// where weights are wanted
struct FULMAR_API SeparableBack final : Op {
  SeparableBack(const CotangentOperand& cotangent, const LoadOperand& load, bool of_weights)
      : dy(cotangent), x(load), weights(of_weights) {}
  std::string_view name() const override { return "separable_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;

  const CotangentOperand dy;
  const LoadOperand x;
  const bool weights;
};

}  // namespace fulmar::ops
