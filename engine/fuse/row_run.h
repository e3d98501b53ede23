#pragma once

#include <array>
#include <vector>

#include "engine/op.h"
#include "engine/ops/warp.h"
#include "kernels/fused.h"

namespace fulmar::ops {

// Layers that run together, a few rows at a time: only the last one's output is written. Values
// first, `inputs` of them, then each layer's weights: warp: samples; conv: w, bias?; separable:
// depthwise, w, bias?, packed; pool_skip: w, bias?, packed. It has no gradient.
struct FULMAR_API RowRun final : Op {
  struct Layer {
    RowLayer::Kind kind;
    int x, skip = -1;  // among the run's values: those given, then what each layer gives
    bool relu = false;
    Window window{};                     // of conv
    std::shared_ptr<const Warp> warp{};  // of warp

    size_t weights() const {
      constexpr size_t of_kind[] = {1, 2, 4, 3};
      return of_kind[static_cast<size_t>(kind)];
    }
  };

  RowRun(int values, std::vector<Layer> all) : inputs(values), layers(std::move(all)) {}
  std::string_view name() const override { return "row_run"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override;
  size_t workspace_bytes(Device& device, const RunArgs& args) const override;
  void run(Device& device, const RunArgs& args) const override;
  std::vector<Val> compose(Tape& tape, std::span<const Val> operands) const override;

  const int inputs;
  const std::vector<Layer> layers;
};

// w [1,1,Ci,Co] -> w in the order in which a device's row_run reads it; a plan does it once.
struct FULMAR_API PackRowWeight final : Op {
  std::string_view name() const override { return "pack_row_weight"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;
};

}  // namespace fulmar::ops
