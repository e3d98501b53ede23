#pragma once

#include "engine/op.h"
#include "kernels/backend.h"

namespace fulmar::ops {

// x, step state -> y; linear in x, so that it is its own gradient.
struct FULMAR_API Dropout final : Op {
  Dropout(double share, uint64_t number) : rate(share), id(number) {}
  std::string_view name() const override { return "dropout"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  std::vector<Val> vjp(const Vjp& v) const override;
  void run(Device& device, const RunArgs& args) const override;

  const double rate;
  const uint64_t id;
};

// Parameters' gradients -> one flat value of `size` elements, each operand at its offset.
struct FULMAR_API Join final : Op {
  Join(std::vector<int64_t> begins, int64_t elements)
      : offsets(std::move(begins)), size(elements) {}
  std::string_view name() const override { return "join"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  int64_t join_offset(int input) const override { return offsets[static_cast<size_t>(input)]; }
  void run(Device& device, const RunArgs& args) const override;

  const std::vector<int64_t> offsets;  // elements
  const int64_t size;
};

// x, buffer (in place)
struct FULMAR_API Store final : Op {
  std::string_view name() const override { return "store"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  bool updates_state() const override { return true; }
  void run(Device& device, const RunArgs& args) const override;
};

// x... -> how many NaN and infinities they hold, index i32 [1]. It has no gradient.
struct FULMAR_API CountNonfinite final : Op {
  std::string_view name() const override { return "count_nonfinite"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  void run(Device& device, const RunArgs& args) const override;
};

// g, sum (in place), step state
struct FULMAR_API Accumulate final : Op {
  std::string_view name() const override { return "accumulate"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  bool updates_state() const override { return true; }
  void run(Device& device, const RunArgs& args) const override;
};

// g, weight, nonfinite, theta, m, v (in place), segments, step state
struct FULMAR_API AdamWOp final : Op {
  explicit AdamWOp(const AdamW& settings) : how(settings) {}
  std::string_view name() const override { return "adamw"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  bool updates_state() const override { return true; }
  void run(Device& device, const RunArgs& args) const override;

  const AdamW how;
};

// g, weight, nonfinite, theta, v (in place), segments, step state
struct FULMAR_API SgdOp final : Op {
  explicit SgdOp(const Sgd& settings) : how(settings) {}
  std::string_view name() const override { return "sgd"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  bool updates_state() const override { return true; }
  void run(Device& device, const RunArgs& args) const override;

  const Sgd how;
};

// As SgdOp.
struct FULMAR_API LarsOp final : Op {
  explicit LarsOp(const Lars& settings) : how(settings) {}
  std::string_view name() const override { return "lars"; }
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override;
  bool updates_state() const override { return true; }
  void run(Device& device, const RunArgs& args) const override;

  const Lars how;
};

}  // namespace fulmar::ops
