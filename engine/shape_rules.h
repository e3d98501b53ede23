#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/op.h"
#include "engine/ops.h"
#include "kernels/error.h"

// Helpers of the ops' shape rules.
namespace fulmar::ops {

inline std::string text(int64_t n) { return std::to_string(n); }
inline std::string text(const Shape& shape) { return shape.to_string(); }

inline void require(bool condition, const std::string& message) {
  if (!condition) usage_error(message);
}

inline void require_rank4(const ValueInfo& x, const char* what) {
  require(x.is_real() && x.shape.rank() == 4,
          std::string(what) + " must be a float tensor [N,H,W,C], it is " + text(x.shape));
}

inline void require_same(const ValueInfo& x, const Shape& shape, const char* what) {
  require(x.shape == shape,
          std::string(what) + " is " + text(x.shape) + ", " + text(shape) + " expected");
}

inline ValueInfo of_role(Role role, const Shape& shape) { return {shape, role, DType::f32}; }
inline ValueInfo activation(const Shape& shape) { return of_role(Role::activation, shape); }

// Asks for an operand of this role. Another role is a mistake of the builder, not of its caller.
inline void require_role(const ValueInfo& x, Role role, const char* what) {
  require(same_type(x.role, role), std::string(what) +
                                       " has a role whose type the kernel doesn't " +
                                       "take: use the builder in engine/ops.h");
}

// x, all converted to activations where one of them is an activation.
inline std::vector<Val> in_one_role(Tape& tape, std::span<const Val> x) {
  std::vector<Val> same(x.begin(), x.end());
  for (const Val v : x)
    if (tape.info(v).role == Role::activation)
      for (Val& other : same) other = as_role(tape, other, Role::activation);
  return same;
}

}  // namespace fulmar::ops
