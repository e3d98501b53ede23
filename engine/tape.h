#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/op.h"

namespace fulmar {

// A program as an append-only list of nodes. Recording runs nothing; shapes are known at once.
class FULMAR_API Tape {
 public:
  Tape() = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  static constexpr int64_t max_elements = int64_t{1} << 44;  // of one value; as f64 128 TiB

  // Appends a node and gives its first output. Error(usage) where shapes don't fit:
  // "conv2d 'separable_conv2d_5' (block 3): x [16,128,128,16] has 16 channels, w expects 32".
  Val append(std::shared_ptr<const Op> op, std::vector<Val> inputs);

  int size() const { return static_cast<int>(nodes_.size()); }
  const Node& node(int index) const { return nodes_[static_cast<size_t>(index)]; }
  const ValueInfo& info(Val value) const;
  const Shape& shape(Val value) const { return info(value).shape; }

  // Names a value as the network's authors do ("activation_14"). Names are unique.
  void name(Val value, const std::string& name);
  bool has(std::string_view name) const { return names_.count(std::string(name)) > 0; }
  Val find(std::string_view name) const;  // Error(usage) with the nearest names where there is none
  const std::map<std::string, Val>& names() const { return names_; }

  // A Scope holds the nodes recorded while it lives: scope("block 3"), then scope("conv2d_5").
  class Scope {
   public:
    Scope(Tape& tape, std::vector<std::string> path) : tape_(tape), outside_(std::move(path)) {
      std::swap(tape_.scopes_, outside_);
    }
    ~Scope() { std::swap(tape_.scopes_, outside_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Tape& tape_;
    std::vector<std::string> outside_;
  };
  [[nodiscard]] Scope scope(const std::string& name);
  // The scope of an earlier node, for nodes derived from it (its gradient).
  [[nodiscard]] Scope scope_of(int node) { return Scope(*this, this->node(node).scopes); }

  // "conv2d 'separable_conv2d_5' (block 3)", for messages about a node.
  std::string describe(int node) const;

 private:
  std::deque<Node> nodes_;  // a node keeps its address
  std::vector<std::string> scopes_;
  std::map<std::string, Val> names_;
};

// Gradient rules by the name of the op ("relu"), such as guided backpropagation's.
using GradRules = std::map<std::string, std::function<std::vector<Val>(const Vjp&)>, std::less<>>;

// Appends the nodes that compute the gradient of sum(y * dy) by each value in `wrt`: parameters,
// activations, inputs alike. An empty `dy` stands for ones. A value that y does not depend on
// gets zeros. Error(usage) names an op on the way without a gradient rule. Error(usage) too for
// a batch's mean, variance or sums in `wrt`: batch_norm_train includes their gradient in that of
// x.
// `rules` take the place of the ops' own; what they give is checked like theirs.
FULMAR_API std::vector<Val> grad(Tape& tape, Val y, std::span<const Val> wrt, Val dy = {},
                                 const GradRules& rules = {});
FULMAR_API Val grad(Tape& tape, Val y, Val wrt, Val dy = {}, const GradRules& rules = {});

}  // namespace fulmar
