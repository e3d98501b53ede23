#pragma once

#include <span>
#include <string>

#include "engine/op.h"
#include "kernels/error.h"

// What the ops' shape rules share.
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

inline ValueInfo activation(const Shape& shape) { return {shape, Role::activation, DType::f32}; }

}  // namespace fulmar::ops
