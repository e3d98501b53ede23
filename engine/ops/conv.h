#pragma once

#include "engine/op.h"
#include "kernels/backend.h"

namespace fulmar::ops {

// Dense and depthwise convolution differ in the kernels that they call and in the shape of w.
struct Convolution {
  Window window;
  int64_t groups = 1;      // of a dense one
  bool depthwise = false;  // one filter for each channel
};

// The three products of a convolution; each is a gradient of the others.

// x, w, bias (of dense ones; may be left out) -> y
struct FULMAR_API Conv final : Op {
  explicit Conv(const Convolution& settings) : how(settings) {}
  std::string_view name() const override;
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;

  const Convolution how;
};

// dy, w -> dx
struct FULMAR_API ConvInputGrad final : Op {
  ConvInputGrad(const Convolution& settings, const Shape& shape) : how(settings), x(shape) {}
  std::string_view name() const override;
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;

  const Convolution how;
  const Shape x;
};

// x, dy -> dw
struct FULMAR_API ConvWeightGrad final : Op {
  ConvWeightGrad(const Convolution& settings, const Shape& shape) : how(settings), w(shape) {}
  std::string_view name() const override;
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;

  const Convolution how;
  const Shape w;
};

}  // namespace fulmar::ops
