#pragma once

#include "engine/fuse/cotangent.h"
#include "engine/fuse/load.h"
#include "engine/op.h"
#include "engine/ops/conv.h"

namespace fulmar::ops {

// A dense convolution that may normalise what it reads, and the sums of what it gives.
// LoadOperand x, w, bias?, shift? -> y, and with shift sums [3,C]
struct FULMAR_API FusedConv final : Op {
  FusedConv(const Convolution& settings, const LoadOperand& load, bool has_sums, bool has_gradient,
            bool adds_gradients)
      : how(settings),
        x(load),
        sums(has_sums),
        differentiates(has_gradient),
        adds(adds_gradients) {}
  std::string_view name() const override { return "convolution"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;
  std::vector<Val> compose(Tape& tape, std::span<const Val> operands) const override;

  const Convolution how;
  const LoadOperand x;
  const bool sums;
  const bool differentiates;  // as Separable's
  const bool adds;            // the gradient by x to what others gave: convolution_input_grad

 private:
  Val weight_grad(const Vjp& v) const;
};

// Its gradient by x. dy, w, LoadOperand x (where it is normalised), so far? -> dx with what others
// gave so far; of a normalised x what lies before relu, and its grad sums [2,C]
struct FULMAR_API FusedConvInputGrad final : Op {
  FusedConvInputGrad(const Convolution& settings, const LoadOperand& load, const Shape& shape)
      : how(settings), x(load), x_shape(shape) {}
  std::string_view name() const override { return "convolution_input_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;

  const Convolution how;
  const LoadOperand x;
  const Shape x_shape;
};

// Its gradient by w. LoadOperand x, CotangentOperand dy -> dw
struct FULMAR_API FusedConvWeightGrad final : Op {
  FusedConvWeightGrad(const Convolution& settings, const LoadOperand& load,
                      const CotangentOperand& cotangent, const Shape& shape)
      : how(settings), x(load), dy(cotangent), w_shape(shape) {}
  std::string_view name() const override { return "convolution_weight_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;

  const Convolution how;
  const LoadOperand x;
  const CotangentOperand dy;
  const Shape w_shape;
};

}  // namespace fulmar::ops
