#include "engine/fuse/cotangent.h"

#include "engine/fuse/windows.h"
#include "engine/ops/norm.h"
#include "engine/ops/pool.h"

namespace fulmar::ops {

Cotangent CotangentOperand::view(std::span<const View> operands) const {
  Cotangent dy{operands[0]};
  if (pooled) dy.argmax = operands[1];
  if (!normalised) return dy;
  dy.z = operands[2];
  dy.gamma = operands[3];
  dy.mean = operands[4];
  dy.var = operands[5];
  dy.sums = operands[6];
  dy.grad_sums = operands[7];
  dy.epsilon = epsilon;
  return dy;
}

DeferredCotangent deferred(const Tape& tape, Val y, Val dy, bool pools) {
  DeferredCotangent d;
  d.values.assign(CotangentOperand::count, Val{});
  d.values[0] = dy;
  const Node& node = tape.node(dy.node);
  const auto* norm = as<BatchNormGrad>(node);
  if (!norm || node.inputs[1] != y) return d;
  d.how.normalised = true;
  d.how.epsilon = norm->epsilon;
  d.values[0] = node.inputs[0];
  for (size_t i = 1; i < 7; i++) d.values[i + 1] = node.inputs[i];
  const Node& behind = tape.node(node.inputs[0].node);
  const auto* pool = as<MaxPoolGrad>(behind);
  if (!pools || !pool || pool->kernel != fused_taps ||
      !same_window(pool->window, pool_window(tape.shape(y))))
    return d;
  d.how.pooled = true;
  d.values[0] = behind.inputs[0];
  d.values[1] = behind.inputs[1];
  return d;
}

}  // namespace fulmar::ops
