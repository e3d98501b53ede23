#pragma once

#include "engine/op.h"
#include "kernels/warp.h"

namespace fulmar::ops {

// source, samples -> y. Sources are data, not values of a function: there is no gradient.
struct FULMAR_API Warp final : Op {
  Warp(int64_t rows, int64_t columns, const WarpOptions& settings, bool by_whole_pixels = false)
      : height(rows), width(columns), how(settings), cuts(by_whole_pixels) {}
  std::string_view name() const override { return "warp"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;

  const int64_t height, width;
  const WarpOptions how;
  const bool cuts;  // as the builder's
};

// source, samples -> y, labels of pixels. It has no gradient.
struct FULMAR_API WarpLabels final : Op {
  WarpLabels(int64_t rows, int64_t columns, uint8_t label)
      : height(rows), width(columns), outside(label) {}
  std::string_view name() const override { return "warp_labels"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;

  const int64_t height, width;
  const uint8_t outside;
};

}  // namespace fulmar::ops
