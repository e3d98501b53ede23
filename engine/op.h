#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/attributes.h"
#include "engine/device.h"
#include "kernels/view.h"

namespace fulmar {

class Tape;
class Op;

// One output of one node of a tape.
struct Val {
  int node = -1;
  int output = 0;

  explicit operator bool() const { return node >= 0; }  // false: an operand left out
  friend bool operator==(const Val& a, const Val& b) {
    return a.node == b.node && a.output == b.output;
  }
  friend bool operator!=(const Val& a, const Val& b) { return !(a == b); }
  friend bool operator<(const Val& a, const Val& b) {
    return a.node != b.node ? a.node < b.node : a.output < b.output;
  }
};

// The purpose of a value. A plan maps roles to element types, so one tape runs in several
// precisions. A gradient has its value's role.
enum class Role {
  activation,
  parameter,
  statistic,  // per-channel means and variances, losses and their weights
  sum,        // sums over many pixels: always f64
  index,      // labels, positions of maxima: the op gives the type
  source      // data as read, records, flat arenas' tables: the op gives the type
};

struct ValueInfo {
  Shape shape;
  Role role = Role::activation;
  DType type = DType::f32;  // of roles index and source; the plan decides the others

  bool is_real() const { return role != Role::index && role != Role::source; }
  friend bool operator==(const ValueInfo& a, const ValueInfo& b) {
    return a.shape == b.shape && a.role == b.role && a.type == b.type;
  }
};

FULMAR_API const char* name_of(Role role);  // as here

// Whether values of the two roles have one element type on every device.
inline bool same_type(Role a, Role b) {
  const auto is_real = [](Role r) { return r == Role::parameter || r == Role::statistic; };
  return a == b || (is_real(a) && is_real(b));
}

// The element type that a device gives a value.
inline DType type_on(const Device& device, const ValueInfo& info) {
  if (info.role == Role::sum) return DType::f64;
  if (!info.is_real()) return info.type;
  return info.role == Role::activation ? device.activation() : device.real();
}

struct Node {
  std::shared_ptr<const Op> op;
  std::vector<Val> inputs;  // may hold empty Vals: optional operands left out
  std::vector<ValueInfo> outputs;
  std::vector<std::string> scopes;  // outermost first; the last is the layer
};

// The arguments of an op's gradient rule.
struct Vjp {
  Tape& tape;
  std::span<const Val> x;           // the node's inputs
  std::span<const Val> y;           // its outputs
  std::span<const Val> dy;          // cotangents of the outputs; empty Val: zero
  const std::vector<bool>& wanted;  // which inputs' cotangents are wanted
  const std::vector<bool>& asked;   // which inputs grad itself was asked for
  // For each input the sum of the cotangents that its later consumers gave; empty Val: none yet, or
  // an earlier operand of this node has the same value. A rule that adds it to its own cotangent
  // (a kernel may do so in one pass) says so: then grad doesn't add it again.
  std::span<const Val> so_far;
  std::vector<bool>& added;
};

struct RunArgs {
  std::span<const View> in, out;  // empty View: an optional operand left out
  void* work;                     // workspace_bytes() of scratch memory
};

// A kind of computation: immutable, free of tensors, shared between tapes.
class FULMAR_API Op {
 public:
  virtual ~Op() = default;

  virtual std::string_view name() const = 0;
  // Settings that its outputs don't show, for whoever prints or compares tapes. An op's own struct
  // has all of them.
  virtual Attributes attributes() const { return {}; }

  // Shapes and roles of the outputs. Throws Error(usage) where the inputs don't fit; the tape puts
  // the op's and the layer's name before the message.
  virtual std::vector<ValueInfo> infer(std::span<const ValueInfo> x) const = 0;

  // Appends the nodes that compute the inputs' cotangents, one for each input and of its shape and
  // role; an empty Val is a zero one. What is not wanted may be anything.
  // Default: the gradient of what compose() records; Error(usage) that says the op has no gradient
  // where it records nothing.
  virtual std::vector<Val> vjp(const Vjp& v) const;

  virtual size_t workspace_bytes(Device&, const RunArgs&) const { return 0; }
  virtual void run(Device&, const RunArgs&) const = 0;
  // Operations of one run: 2 per multiply-add of a convolution or matrix product, padding included.
  // 0 for other ops, which do a few operations per element.
  virtual double flops(std::span<const ValueInfo> /*in*/,
                       std::span<const ValueInfo> /*out*/) const {
    return 0;
  }

  // A fused op: appends the ops whose place it takes, for operands x, and gives their outputs like
  // its own; an empty Val for an output that only its gradient reads. Empty: it is none.
  virtual std::vector<Val> compose(Tape&, std::span<const Val> /*x*/) const { return {}; }

  // Whether run() reads input `i`. Of others it takes shape and type alone: it sees no memory of
  // theirs, and a plan keeps none for it.
  virtual bool reads(int /*i*/) const { return true; }
  // The caller sets the value, or a Model holds it: no step runs.
  virtual bool is_leaf() const { return false; }
  // The op writes into inputs that a Model holds. Dead-code removal keeps it, in tape order.
  virtual bool updates_state() const { return false; }
  // The plan may place output 0 over input `i` where no later step reads that input, and both have
  // as many elements and one type.
  virtual bool may_overwrite(int) const { return false; }
  // For concatenation-like ops: element offset of input `i` in output 0. The plan lets the inputs'
  // producers write there. -1: not such an op.
  virtual int64_t join_offset(int) const { return -1; }
};

// A node's op as one kind of op, or nullptr: as<ops::Conv>(node). engine/ops/ declares the kinds.
template <class T>
const T* as(const Node& node) {
  return dynamic_cast<const T*>(node.op.get());
}

}  // namespace fulmar
