#pragma once

#include "engine/op.h"

namespace fulmar::ops {

// Batch normalisation in parts, so that a collective or a fused kernel can stand between them.

// x, shift -> sums [3,C]
struct FULMAR_API ChannelSums final : Op {
  std::string_view name() const override { return "channel_sums"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;
};

// sums, shift -> mean, var
struct FULMAR_API ChannelMoments final : Op {
  std::string_view name() const override { return "moments"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;
};

// mean, var, sums, running mean, running var; the last two in place
struct FULMAR_API UpdateRunning final : Op {
  UpdateRunning(double old_share, bool is_unbiased) : momentum(old_share), unbiased(is_unbiased) {}
  std::string_view name() const override { return "update_running"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  bool updates_state() const override { return true; }
  void run(Device& device, const RunArgs& args) const override;

  const double momentum;
  const bool unbiased;
};

// dy, x, mean -> sums [2,C]
struct FULMAR_API BatchNormGradSums final : Op {
  std::string_view name() const override { return "batch_norm_grad_sums"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;
};

// grad sums, var -> dgamma, dbeta
struct FULMAR_API BatchNormParamGrad final : Op {
  explicit BatchNormParamGrad(double added) : epsilon(added) {}
  std::string_view name() const override { return "batch_norm_param_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;

  const double epsilon;
};

// dy, x, gamma, mean, var, sums, grad sums -> dx through the batch's own statistics
struct FULMAR_API BatchNormGrad final : Op {
  explicit BatchNormGrad(double added) : epsilon(added) {}
  std::string_view name() const override { return "batch_norm_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  bool may_overwrite(int input) const override { return input == 0; }
  void run(Device& device, const RunArgs& args) const override;

  const double epsilon;
};

// What both forms share: x, gamma, beta, mean, var -> y.
struct FULMAR_API BatchNormBase : Op {
  explicit BatchNormBase(double added) : epsilon(added) {}
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;

  const double epsilon;
};

// Error(usage) where a gradient by a normalisation's mean, variance or sums is asked for: operands
// `mean` and behind it. Of given ones none may be on the way either.
void require_no_gradient_by_statistics(const Vjp& v, size_t mean, bool of_batch);

// With given statistics, which its gradient takes as constants.
struct FULMAR_API BatchNorm final : BatchNormBase {
  using BatchNormBase::BatchNormBase;
  std::string_view name() const override { return "batch_norm"; }
  std::vector<Val> vjp(const Vjp& v) const override;
};

// x, gamma, beta, mean, var, sums; mean and var are functions of x by way of sums, and this op's
// gradient accounts for that.
struct FULMAR_API BatchNormTrain final : BatchNormBase {
  using BatchNormBase::BatchNormBase;
  std::string_view name() const override { return "batch_norm_train"; }
  std::vector<Val> vjp(const Vjp& v) const override;
};

}  // namespace fulmar::ops
