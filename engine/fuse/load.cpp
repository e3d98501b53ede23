#include "engine/fuse/load.h"

#include "engine/ops.h"
#include "engine/ops/norm.h"

namespace fulmar::ops {

Loaded LoadOperand::view(std::span<const View> operands) const {
  if (!normalised) return {operands[0]};
  return {operands[0], operands[1], operands[2], operands[3], operands[4], epsilon};
}

Val LoadOperand::compose(Tape& tape, std::span<const Val> operands) const {
  if (!normalised) return operands[0];
  const std::vector<Val> x(operands.begin(), operands.begin() + count);
  return relu(tape, tape.append(std::make_shared<BatchNormTrain>(epsilon), x));
}

LoadOperand LoadOperand::append(std::vector<Val>& operands, const std::optional<Normalised>& how,
                                Val value) {
  if (!how) {
    operands.push_back(value);
    operands.resize(operands.size() + count - 1);
    return {};
  }
  for (const Val v : {how->z, how->gamma, how->beta, how->mean, how->var, how->sums})
    operands.push_back(v);
  return {true, how->epsilon};
}

std::vector<Val> cotangents(Tape& tape, const LoadOperand& load, std::span<const Val> operands,
                            Val masked, Val grad_sums) {
  const Val z = operands[0], gamma = operands[1], mean = operands[3], var = operands[4],
            sums = operands[5];
  const Val dz = tape.append(std::make_shared<BatchNormGrad>(load.epsilon),
                             {masked, z, gamma, mean, var, sums, grad_sums});
  const Val dgamma =
      tape.append(std::make_shared<BatchNormParamGrad>(load.epsilon), {grad_sums, var});
  return {dz, dgamma, Val{dgamma.node, 1}, {}, {}, {}};
}

}  // namespace fulmar::ops
