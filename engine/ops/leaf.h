#pragma once

#include <string>

#include "engine/op.h"
#include "engine/ops.h"

namespace fulmar::ops {

// A value that no node computes: the caller sets it, or a Model holds it under its name.
class Leaf : public Op {
 public:
  enum class Kind { input, parameter, statistic, buffer };

  Leaf(Kind kind, std::string key, const ValueInfo& info)
      : kind_(kind), key_(std::move(key)), info_(info) {}

  std::string_view name() const override;
  std::vector<ValueInfo> infer(std::span<const ValueInfo>) const override { return {info_}; }
  void run(Device&, const RunArgs&) const override {}
  bool is_leaf() const override { return true; }

  Kind kind() const { return kind_; }
  const std::string& key() const { return key_; }

  // Of parameters and statistics: a new Model reads them.
  Initializer initializer;
  bool decays = false;
  double initial = 0;

 private:
  Kind kind_;
  std::string key_;
  ValueInfo info_;
};

// The leaf behind a node, or nullptr.
const Leaf* as_leaf(const Node& node);

}  // namespace fulmar::ops
