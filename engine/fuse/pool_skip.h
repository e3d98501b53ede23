#pragma once

#include "engine/fuse/load.h"
#include "engine/op.h"

namespace fulmar::ops {

// The end of a residual block, max_pool(z) + conv2d(u): a window of 3x3 and stride 2 over a
// normalised z, and a 1x1 convolution of stride 2. LoadOperand z, LoadOperand u, w, bias? -> y;
// the z that won, before its normalisation; argmax (u8)
struct FULMAR_API PoolSkip final : Op {
  PoolSkip(const LoadOperand& pooled, const LoadOperand& skip, bool has_gradient)
      : z(pooled), u(skip), differentiates(has_gradient) {}
  std::string_view name() const override { return "pool_skip"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  void run(Device& device, const RunArgs& args) const override;
  std::vector<Val> compose(Tape& tape, std::span<const Val> operands) const override;

  const LoadOperand z, u;
  const bool differentiates;  // as Separable's
};

// dy, the z that won, argmax, mean -> batch_norm_grad_sums [2,C] of what max_pool_grad makes of dy
struct FULMAR_API PoolGradSums final : Op {
  std::string_view name() const override { return "pool_grad_sums"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;
};

// LoadOperand u, dy -> dw of a 1x1 convolution of stride 2
struct FULMAR_API SkipWeightGrad final : Op {
  explicit SkipWeightGrad(const LoadOperand& skip) : u(skip) {}
  std::string_view name() const override { return "skip_weight_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;

  const LoadOperand u;
};

}  // namespace fulmar::ops
