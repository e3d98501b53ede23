#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/fuse/pattern.h"
#include "engine/op.h"
#include "engine/ops/warp.h"
#include "kernels/fused.h"

// An activation among the operands of a fused op: normalised or sampled while it is loaded, or as
// it is.
namespace fulmar::ops {

// Six operands in a row: x or z, then gamma, beta, mean, var, sums, empty where x is as it is; sums
// is empty too where mean and var are not the batch's own. Or a warp's two, and four empty ones.
struct LoadOperand {
  static constexpr size_t count = 6;
  bool normalised = false;
  double epsilon = 0;
  std::shared_ptr<const Warp> warp{};  // that samples it

  // What a kernel finds.
  ValueInfo info(std::span<const ValueInfo> operands) const;
  Loaded view(std::span<const View> operands) const;
  // The operand as an activation in memory, by ordinary ops, and the same without its relu.
  Val compose(Tape& tape, std::span<const Val> operands) const;
  Val compose_norm(Tape& tape, std::span<const Val> operands) const;
  // Error(usage) of batch_norm's gradient, where this operand is the rule's from `first` on.
  void check_gradient(const Vjp& v, size_t first) const;
  // Adds the operands of a value to a list: normalised as `how` says, or the value itself.
  static LoadOperand append(std::vector<Val>& operands, const std::optional<Normalised>& how,
                            Val value);
};

// Cotangents of a normalised operand's six values, from that of the normalisation's output behind
// relu's mask, and its grad sums.
std::vector<Val> cotangents(Tape& tape, const LoadOperand& load, std::span<const Val> operands,
                            Val masked, Val grad_sums);

// The cotangent of the bias of a convolution, from that of its output y.
Val bias_cotangent(Tape& tape, Val bias, Val y, Val dy);

}  // namespace fulmar::ops
