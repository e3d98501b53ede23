#include "engine/fuse/load.h"

#include "engine/leaf.h"
#include "engine/ops.h"
#include "engine/ops/norm.h"

namespace fulmar::ops {

ValueInfo LoadOperand::info(std::span<const ValueInfo> operands) const {
  return warp ? warp->infer(operands.first(2))[0] : operands[0];
}

Loaded LoadOperand::view(std::span<const View> operands) const {
  if (warp) {
    Loaded x{operands[0]};
    const Shape& source = operands[0].shape;
    x.sampled = {operands[1].as<const WarpSample>(),
                 &warp->how,
                 {source.images(), warp->height, warp->width, source.channels()}};
    return x;
  }
  if (!normalised) return {operands[0]};
  return {operands[0], operands[1], operands[2], operands[3], operands[4], epsilon};
}

Val LoadOperand::compose(Tape& tape, std::span<const Val> operands) const {
  if (warp) return tape.append(warp, {operands[0], operands[1]});
  return normalised ? relu(tape, compose_norm(tape, operands)) : operands[0];
}

Val LoadOperand::compose_norm(Tape& tape, std::span<const Val> operands) const {
  if (!normalised) return operands[0];
  const bool trains = static_cast<bool>(operands[count - 1]);
  const std::vector<Val> x(operands.begin(), operands.begin() + (trains ? count : count - 1));
  return trains ? tape.append(std::make_shared<BatchNormTrain>(epsilon), x)
                : tape.append(std::make_shared<BatchNorm>(epsilon), x);
}

void LoadOperand::check_gradient(const Vjp& v, size_t first) const {
  if (normalised)
    require_no_gradient_by_statistics(v, first + 3, static_cast<bool>(v.x[first + 5]));
}

LoadOperand LoadOperand::append(std::vector<Val>& operands, const std::optional<Normalised>& how,
                                Val value) {
  if (!how) {
    operands.push_back(value);
    operands.resize(operands.size() + count - 1);
    return {};
  }
  for (const Val v : how->operands()) operands.push_back(v);
  return {true, how->epsilon};
}

std::vector<Val> cotangents(Tape& tape, const LoadOperand& load, std::span<const Val> operands,
                            Val masked, Val grad_sums) {
  const Val z = operands[0], gamma = operands[1], mean = operands[3], var = operands[4];
  Val sums = operands[5], through = grad_sums;
  if (!sums) {  // mean and var are constants: nothing comes by way of them
    const int64_t channels = tape.shape(z).channels();
    sums = constant(tape, {3, channels}, 1, Role::sum);
    through = constant(tape, {2, channels}, 0, Role::sum);
  }
  const Val dz = tape.append(std::make_shared<BatchNormGrad>(load.epsilon),
                             {masked, z, gamma, mean, var, sums, through});
  const Val dgamma =
      tape.append(std::make_shared<BatchNormParamGrad>(load.epsilon), {grad_sums, var});
  return {dz, dgamma, Val{dgamma.node, 1}, {}, {}, {}};
}

Val bias_cotangent(Tape& tape, Val bias, Val y, Val dy) {
  // Normalisation by the batch's own mean takes a bias away, so that its gradient is 0.
  const Node& node = tape.node(dy.node);
  const bool gone = as<BatchNormGrad>(node) && node.inputs[1] == y &&
                    !as<Constant>(tape.node(node.inputs[5].node));
  const Shape shape = tape.shape(bias);
  return gone ? constant(tape, shape, 0, Role::parameter) : sum(tape, dy, shape, Role::parameter);
}

}  // namespace fulmar::ops
