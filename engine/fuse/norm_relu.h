#pragma once

#include "engine/fuse/load.h"
#include "engine/op.h"

namespace fulmar::ops {

// relu(batch_norm(z) + skip), where the skip may be left out, or be normalised too: its
// normalisation has no relu. LoadOperand z, LoadOperand skip? -> y
struct FULMAR_API NormRelu final : Op {
  NormRelu(const LoadOperand& summand, const LoadOperand& past, bool has_gradient)
      : z(summand), skip(past), differentiates(has_gradient) {}
  std::string_view name() const override { return "norm_relu"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;
  std::vector<Val> compose(Tape& tape, std::span<const Val> operands) const override;

  const LoadOperand z, skip;
  const bool differentiates;  // as Separable's
};

// Its gradient. dy, y (where there is a skip), LoadOperand z, LoadOperand skip (where that is
// normalised) -> what lies before relu; grad sums [2,C] of z, and those of a normalised skip
struct FULMAR_API NormReluBack final : Op {
  NormReluBack(const LoadOperand& summand, const LoadOperand& past) : z(summand), skip(past) {}
  std::string_view name() const override { return "norm_relu_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  bool may_overwrite(int input) const override { return input == 0; }
  void run(Device& device, const RunArgs& args) const override;

  const LoadOperand z, skip;
};

}  // namespace fulmar::ops
