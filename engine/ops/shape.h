#pragma once

#include <array>

#include "engine/op.h"

namespace fulmar::ops {

// Repeats extents of 1, and rounds to another role's type.
struct FULMAR_API Broadcast final : Op {
  explicit Broadcast(const ValueInfo& info) : y(info) {}
  std::string_view name() const override { return "broadcast"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const ValueInfo y;
};

// Sums over the axes whose extent becomes 1.
struct FULMAR_API Sum final : Op {
  explicit Sum(const ValueInfo& info) : y(info) {}
  std::string_view name() const override { return "sum"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const ValueInfo y;
};

// The part of x that begins at `begin` and has `shape`.
struct FULMAR_API Slice final : Op {
  Slice(std::array<int64_t, 4> first, const Shape& extents) : begin(first), shape(extents) {}
  std::string_view name() const override { return "slice"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const std::array<int64_t, 4> begin;
  const Shape shape;
};

// x at `begin` amid zeros of `shape`.
struct FULMAR_API Embed final : Op {
  Embed(std::array<int64_t, 4> first, const Shape& extents) : begin(first), shape(extents) {}
  std::string_view name() const override { return "embed"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const std::array<int64_t, 4> begin;
  const Shape shape;
};

// The same elements in the same order.
struct FULMAR_API Reshape final : Op {
  explicit Reshape(const Shape& extents) : shape(extents) {}
  std::string_view name() const override { return "reshape"; }
  bool may_overwrite(int) const override { return true; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const Shape shape;
};

// A matrix's rows become columns.
struct FULMAR_API Transpose final : Op {
  std::string_view name() const override { return "transpose"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;
};

// Along the channels.
struct FULMAR_API Concat final : Op {
  std::string_view name() const override { return "concat"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;
};

}  // namespace fulmar::ops
