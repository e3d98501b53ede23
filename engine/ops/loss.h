#pragma once

#include "engine/op.h"
#include "kernels/backend.h"

namespace fulmar::ops {

// x -> y, over the channels
struct FULMAR_API Softmax final : Op {
  std::string_view name() const override { return "softmax"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;
};

// x -> the place of its largest channel, index u8 or beyond 256 channels i32. It has no gradient.
struct FULMAR_API Argmax final : Op {
  std::string_view name() const override { return "argmax"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;
};

// predicted, labels -> counts f64 [K,K]. It has no gradient.
struct FULMAR_API Confusion final : Op {
  explicit Confusion(int64_t number) : classes(number) {}
  std::string_view name() const override { return "confusion"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;

  const int64_t classes;
};

// logits, labels, class_weight?, pixel_weight? -> row_loss, row_weight
struct FULMAR_API SoftmaxCrossEntropy final : Op {
  explicit SoftmaxCrossEntropy(const CrossEntropy& settings) : how(settings) {}
  std::string_view name() const override { return "softmax_cross_entropy"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const CrossEntropy how;
};

// logits, labels, class_weight?, pixel_weight?, drow_loss -> dlogits
struct FULMAR_API SoftmaxCrossEntropyGrad final : Op {
  explicit SoftmaxCrossEntropyGrad(const CrossEntropy& settings) : how(settings) {}
  std::string_view name() const override { return "softmax_cross_entropy_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;

  const CrossEntropy how;
};

}  // namespace fulmar::ops
