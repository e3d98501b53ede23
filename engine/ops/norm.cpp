#include "engine/ops/norm.h"

#include "engine/leaf.h"
#include "engine/ops.h"
#include "engine/shape_rules.h"
#include "kernels/error.h"

namespace fulmar::ops {
namespace {

ValueInfo statistic_info(int64_t channels) { return of_role(Role::statistic, Shape{channels}); }
ValueInfo sums_info(int64_t rows, int64_t channels) {
  return {Shape{rows, channels}, Role::sum, DType::f64};
}

// Adds the gradients of gamma and beta to d. v: of a BatchNormBase.
void param_grads(const Vjp& v, double epsilon, Val grad_sums, std::vector<Val>& d) {
  const Val dgamma =
      v.tape.append(std::make_shared<BatchNormParamGrad>(epsilon), {grad_sums, v.x[4]});
  d[1] = dgamma;
  d[2] = Val{dgamma.node, 1};
}

}  // namespace

std::vector<ValueInfo> ChannelSums::infer(std::span<const ValueInfo> in) const {
  require_rank4(in[0], "x");
  require_same(in[1], Shape{in[0].shape[3]}, "shift");
  return {sums_info(3, in[0].shape[3])};
}

void ChannelSums::run(Device& device, const RunArgs& args) const {
  device.backend().channel_sums(device.stream(), args.in[0], args.in[1], args.out[0]);
}

std::vector<ValueInfo> ChannelMoments::infer(std::span<const ValueInfo> in) const {
  const int64_t channels = in[0].shape.channels();
  return {statistic_info(channels), statistic_info(channels)};
}

void ChannelMoments::run(Device& device, const RunArgs& args) const {
  device.backend().moments(device.stream(), args.in[0], args.in[1], args.out[0], args.out[1]);
}

std::vector<ValueInfo> UpdateRunning::infer(std::span<const ValueInfo>) const { return {}; }
void UpdateRunning::run(Device& device, const RunArgs& args) const {
  device.backend().update_running(device.stream(), args.in[0], args.in[1], args.in[2], args.in[3],
                                  args.in[4], momentum, unbiased);
}

std::vector<ValueInfo> BatchNormGradSums::infer(std::span<const ValueInfo> in) const {
  return {sums_info(2, in[1].shape.channels())};
}

void BatchNormGradSums::run(Device& device, const RunArgs& args) const {
  device.backend().batch_norm_grad_sums(device.stream(), args.in[0], args.in[1], args.in[2],
                                        args.out[0]);
}

std::vector<ValueInfo> BatchNormParamGrad::infer(std::span<const ValueInfo> in) const {
  const Shape shape{in[0].shape.channels()};
  return {of_role(Role::parameter, shape), of_role(Role::parameter, shape)};
}

void BatchNormParamGrad::run(Device& device, const RunArgs& args) const {
  device.backend().batch_norm_param_grad(device.stream(), args.in[0], args.in[1], args.out[0],
                                         args.out[1], epsilon);
}

std::vector<ValueInfo> BatchNormGrad::infer(std::span<const ValueInfo> in) const {
  return {activation(in[1].shape)};
}

void BatchNormGrad::run(Device& device, const RunArgs& args) const {
  device.backend().batch_norm_grad(device.stream(), args.in[0], args.in[1], args.in[2], args.in[3],
                                   args.in[4], args.in[5], args.in[6], args.out[0], epsilon);
}

std::vector<ValueInfo> BatchNormBase::infer(std::span<const ValueInfo> in) const {
  require_rank4(in[0], "x");
  const char* names[] = {"x", "gamma", "beta", "mean", "var"};
  for (size_t i = 1; i < 5; i++) require_same(in[i], Shape{in[0].shape[3]}, names[i]);
  return {activation(in[0].shape)};
}

void BatchNormBase::run(Device& device, const RunArgs& args) const {
  device.backend().batch_norm(device.stream(), args.in[0], args.in[1], args.in[2], args.in[3],
                              args.in[4], args.out[0], epsilon);
}

void require_no_gradient_by_statistics(const Vjp& v, size_t mean, bool of_batch) {
  if (!of_batch)
    return require(!v.wanted[mean] && !v.wanted[mean + 1],
                   "the mean and variance given are constants");
  // A cotangent of theirs would count the way through the statistics twice.
  for (size_t statistic = mean; statistic < mean + 3; statistic++)
    require(!v.asked[statistic],
            "the batch's mean, variance and sums have no gradient of their own: that of x "
            "accounts for them; ask for it, or normalise by ops::batch_norm");
}

std::vector<Val> BatchNorm::vjp(const Vjp& v) const {
  require_no_gradient_by_statistics(v, 3, false);
  std::vector<Val> d(5);
  if (v.wanted[0]) {
    const Val zero = constant(v.tape, v.tape.shape(v.x[1]), 0, Role::statistic);
    d[0] = batch_norm(v.tape, v.dy[0], v.x[1], zero, zero, v.x[4], epsilon);
  }
  if (v.wanted[1] || v.wanted[2])
    param_grads(v, epsilon,
                v.tape.append(std::make_shared<BatchNormGradSums>(), {v.dy[0], v.x[0], v.x[3]}), d);
  return d;
}

std::vector<Val> BatchNormTrain::vjp(const Vjp& v) const {
  require_no_gradient_by_statistics(v, 3, true);
  std::vector<Val> d(6);
  const Val dy = v.dy[0], x = v.x[0], gamma = v.x[1], mean = v.x[3], var = v.x[4], sums = v.x[5];
  const Val grad_sums = v.tape.append(std::make_shared<BatchNormGradSums>(), {dy, x, mean});
  if (v.wanted[1] || v.wanted[2]) param_grads(v, epsilon, grad_sums, d);
  if (v.wanted[0])
    d[0] = v.tape.append(std::make_shared<BatchNormGrad>(epsilon),
                         {dy, x, gamma, mean, var, sums, grad_sums});
  return d;
}

Attributes UpdateRunning::attributes() const {
  return {{"momentum", momentum}, {"unbiased", unbiased}};
}
Attributes BatchNormParamGrad::attributes() const { return {{"epsilon", epsilon}}; }
Attributes BatchNormGrad::attributes() const { return {{"epsilon", epsilon}}; }
Attributes BatchNormBase::attributes() const { return {{"epsilon", epsilon}}; }

Val batch_norm(Tape& tape, Val x, Val gamma, Val beta, Val mean, Val var, double epsilon) {
  const auto real = [&](Val v) { return as_role(tape, v, Role::parameter); };
  return tape.append(
      std::make_shared<BatchNorm>(epsilon),
      {as_role(tape, x, Role::activation), real(gamma), real(beta), real(mean), real(var)});
}

Val batch_norm_train(Tape& tape, Val x, Val gamma, Val beta, const RunningStatistics& running,
                     double epsilon) {
  x = as_role(tape, x, Role::activation);
  gamma = as_role(tape, gamma, Role::parameter);
  beta = as_role(tape, beta, Role::parameter);
  const Val sums = tape.append(std::make_shared<ChannelSums>(), {x, running.mean});
  const Val mean = tape.append(std::make_shared<ChannelMoments>(), {sums, running.mean});
  const Val var{mean.node, 1};
  const Val y =
      tape.append(std::make_shared<BatchNormTrain>(epsilon), {x, gamma, beta, mean, var, sums});
  tape.append(std::make_shared<UpdateRunning>(running.momentum, running.unbiased),
              {mean, var, sums, running.mean, running.var});
  return y;
}

std::vector<RunningUpdate> running_updates(const Tape& tape) {
  std::vector<RunningUpdate> updates;
  for (int n = 0; n < tape.size(); n++) {
    const Node& node = tape.node(n);
    if (!as<UpdateRunning>(node)) continue;
    const auto key = [&](size_t input) {
      const Leaf* leaf = as_leaf(tape.node(node.inputs[input].node));
      if (!leaf) usage_error(tape.describe(n) + ": its running statistics live in no Model");
      return leaf->key();
    };
    const Shape& x = tape.shape(tape.node(node.inputs[2].node).inputs[0]);
    updates.push_back({key(3), key(4), x.elements() / x.channels()});
  }
  return updates;
}

}  // namespace fulmar::ops
