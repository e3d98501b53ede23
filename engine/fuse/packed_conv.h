#pragma once

#include "engine/op.h"
#include "engine/ops/conv.h"

namespace fulmar::ops {

// A dense convolution as inference runs it: with what is added to it, and relu.
// x, w (not read), packed, bias?, skip? -> y. It has no gradient.
struct FULMAR_API PackedConv final : Op {
  PackedConv(const Convolution& settings, bool rectifies) : how(settings), relu(rectifies) {}
  std::string_view name() const override { return "packed_convolution"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;
  std::vector<Val> compose(Tape& tape, std::span<const Val> operands) const override;
  bool reads(int i) const override { return i != 1; }

  const Convolution how;
  const bool relu;
};

// w [Kh,Kw,Ci/groups,Co] -> w in the order in which a device's packed_convolution reads it; a plan
// does it once.
struct FULMAR_API PackWeight final : Op {
  explicit PackWeight(int64_t count) : groups(count) {}
  std::string_view name() const override { return "pack_weight"; }
  Attributes attributes() const override { return {{"groups", groups}}; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;

  const int64_t groups;
};

}  // namespace fulmar::ops
