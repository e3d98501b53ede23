#pragma once

#include <string>

#include "engine/op.h"
#include "engine/ops.h"

namespace fulmar::ops {

// A value that no node computes: the caller sets it, or a Model holds it under its name.
class FULMAR_API Leaf final : public Op {
 public:
  enum class Kind { input, parameter, statistic, buffer };

  Leaf(Kind kind, std::string key, const ValueInfo& info)
      : kind_(kind), key_(std::move(key)), info_(info) {}

  std::string_view name() const override;
  Attributes attributes() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo>) const override { return {info_}; }
  void run(Device&, const RunArgs&) const override {}
  bool is_leaf() const override { return true; }

  Kind kind() const { return kind_; }
  const std::string& key() const { return key_; }

  // Of parameters and statistics: a new Model reads them.
  Initializer initializer;
  bool decays = false;
  bool trainable = true;
  double initial = 0;

 private:
  Kind kind_;
  std::string key_;
  ValueInfo info_;
};

// A number for all elements.
struct FULMAR_API Constant final : Op {
  Constant(const ValueInfo& value_info, double number) : info(value_info), value(number) {}
  std::string_view name() const override { return "constant"; }
  Attributes attributes() const override { return {{"value", value}}; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo>) const override { return {info}; }
  void run(Device& device, const RunArgs& args) const override;

  const ValueInfo info;
  const double value;
};

// The leaf behind a node, or nullptr.
inline const Leaf* as_leaf(const Node& node) { return as<Leaf>(node); }

}  // namespace fulmar::ops
