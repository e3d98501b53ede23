#pragma once

#include <array>

#include "engine/op.h"
#include "kernels/backend.h"

namespace fulmar::ops {

// x -> y, argmax (u8 tap numbers)
struct FULMAR_API MaxPool final : Op {
  MaxPool(std::array<int64_t, 2> taps, const Window& windows) : kernel(taps), window(windows) {}
  std::string_view name() const override { return "max_pool"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const std::array<int64_t, 2> kernel;
  const Window window;
};

// dy, argmax -> dx
struct FULMAR_API MaxPoolGrad final : Op {
  MaxPoolGrad(std::array<int64_t, 2> taps, const Window& windows, const Shape& shape)
      : kernel(taps), window(windows), x(shape) {}
  std::string_view name() const override { return "max_pool_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;

  const std::array<int64_t, 2> kernel;
  const Window window;
  const Shape x;
};

// x -> y
struct FULMAR_API AveragePool final : Op {
  AveragePool(std::array<int64_t, 2> taps, const Window& windows) : kernel(taps), window(windows) {}
  std::string_view name() const override { return "average_pool"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const std::array<int64_t, 2> kernel;
  const Window window;
};

// dy -> dx
struct FULMAR_API AveragePoolGrad final : Op {
  AveragePoolGrad(std::array<int64_t, 2> taps, const Window& windows, const Shape& shape)
      : kernel(taps), window(windows), x(shape) {}
  std::string_view name() const override { return "average_pool_grad"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const std::array<int64_t, 2> kernel;
  const Window window;
  const Shape x;
};

// A resize, or by `adjoint` the gradient of one: each is the other's.
struct FULMAR_API ResizeOp final : Op {
  ResizeOp(const Resize& settings, const Shape& shape, bool is_adjoint)
      : how(settings), out(shape), adjoint(is_adjoint) {}
  std::string_view name() const override { return adjoint ? "resize_grad" : "resize"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const Resize how;
  const Shape out;
  const bool adjoint;
};

}  // namespace fulmar::ops
