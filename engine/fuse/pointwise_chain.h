#pragma once

#include <vector>

#include "engine/op.h"
#include "kernels/fused.h"

namespace fulmar::ops {

// Pointwise ops of one shape, in one pass over memory. Operands, buffers that it stores into among
// them -> what the steps of `outputs` give
struct FULMAR_API PointwiseChain final : Op {
  // A step whose value goes into an operand, which a Model or the caller holds.
  struct Stored {
    int step, operand;
  };
  PointwiseChain(std::vector<ChainStep> all, std::vector<ValueInfo> given, std::vector<Stored> into)
      : steps(std::move(all)), outputs(std::move(given)), stored(std::move(into)) {}
  std::string_view name() const override { return "pointwise_chain"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  bool updates_state() const override { return !stored.empty(); }
  void run(Device& device, const RunArgs& args) const override;
  std::vector<Val> compose(Tape& tape, std::span<const Val> operands) const override;

  const std::vector<ChainStep> steps;  // y: the output, and behind outputs what is stored
  const std::vector<ValueInfo> outputs;
  const std::vector<Stored> stored;
};

}  // namespace fulmar::ops
