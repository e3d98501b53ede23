#include "engine/fuse/pool_skip.h"

#include <array>

#include "engine/fuse/patterns.h"
#include "engine/fuse/runs.h"
#include "engine/fuse/windows.h"
#include "engine/ops.h"
#include "engine/ops/conv.h"
#include "engine/ops/norm.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/pool.h"
#include "engine/shape_rules.h"
#include "kernels/pointwise.h"

namespace fulmar::ops {
namespace {

constexpr size_t load = LoadOperand::count;
double skip_flops(const Shape& y, int64_t inputs) {
  return 2 * static_cast<double>(y.elements()) * static_cast<double>(inputs);
}

}  // namespace

Attributes PoolSkip::attributes() const { return {{"skip_normalised", u.normalised}}; }

std::vector<ValueInfo> PoolSkip::infer(std::span<const ValueInfo> in) const {
  require_rank4(in[0], "z");
  require_rank4(in[load], "u");
  const Shape &z_shape = in[0].shape, &u_shape = in[load].shape;
  const Shape y{z_shape[0], (z_shape[1] + 1) / 2, (z_shape[2] + 1) / 2, z_shape[3]};
  require_same(in[2 * load], Shape{1, 1, u_shape[3], z_shape[3]}, "w");
  return {activation(y), activation(y), {y, Role::index, DType::u8}};
}

double PoolSkip::flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const {
  return skip_flops(out[0].shape, in[load].shape.channels());
}

void PoolSkip::run(Device& device, const RunArgs& args) const {
  device.backend().fused->pool_skip(device.stream(), z.view(args.in), u.view(args.in.subspan(load)),
                                    args.in[2 * load], args.in[2 * load + 1], args.out[0],
                                    args.out[1], args.out[2]);
}

std::vector<Val> PoolSkip::compose(Tape& tape, std::span<const Val> operands) const {
  const Val a = z.compose(tape, operands);
  const Val pooled = max_pool(tape, a, fused_taps, pool_window(tape.shape(a)));
  const Val skip = conv2d(tape, u.compose(tape, operands.subspan(load)), operands[2 * load],
                          operands[2 * load + 1], skip_window());
  return {add(tape, pooled, skip), Val{}, Val{}};
}

std::vector<Val> PoolSkip::vjp(const Vjp& v) const {
  if (!differentiates) return Op::vjp(v);
  z.check_gradient(v, 0);
  u.check_gradient(v, load);
  Tape& tape = v.tape;
  std::vector<Val> d(v.x.size());
  const Val dy = v.dy[0], pooled = v.y[1], argmax = v.y[2];
  if (!dy) return d;
  const Shape z_shape = tape.shape(v.x[0]), u_shape = tape.shape(v.x[load]);
  const Val w = v.x[2 * load], bias = v.x[2 * load + 1];
  if (v.wanted[0] || v.wanted[1] || v.wanted[2]) {
    const Val sums = tape.append(std::make_shared<PoolGradSums>(), {dy, pooled, argmax, v.x[3]});
    const Val masked = tape.append(
        std::make_shared<MaxPoolGrad>(fused_taps, pool_window(z_shape), z_shape), {dy, argmax});
    const std::vector<Val> dz = cotangents(tape, z, v.x.first(load), masked, sums);
    std::copy(dz.begin(), dz.end(), d.begin());
  }
  if (v.wanted[load] || v.wanted[load + 1] || v.wanted[load + 2]) {
    const Convolution how{skip_window(), 1, false};
    Val du = tape.append(std::make_shared<ConvInputGrad>(how, u_shape), {dy, w});
    if (u.normalised) {
      const auto operands = v.x.subspan(load);
      const Val activation = u.compose(tape, operands);
      const Val masked =
          tape.append(std::make_shared<PointwiseGrad>(functor_Relu, 0, 0), {activation, du});
      const Val sums =
          tape.append(std::make_shared<BatchNormGradSums>(), {masked, operands[0], operands[3]});
      const std::vector<Val> dx = cotangents(tape, u, operands, masked, sums);
      std::copy(dx.begin(), dx.end(), d.begin() + load);
    } else {
      d[load] = du;
    }
  }
  if (v.wanted[2 * load]) {
    std::vector<Val> operands(v.x.begin() + load, v.x.begin() + 2 * load);
    operands.push_back(dy);
    d[2 * load] = tape.append(std::make_shared<SkipWeightGrad>(u), std::move(operands));
  }
  if (bias && v.wanted[2 * load + 1])
    d[2 * load + 1] = sum(tape, dy, tape.shape(bias), Role::parameter);
  return d;
}

std::vector<ValueInfo> PoolGradSums::infer(std::span<const ValueInfo> in) const {
  return {{Shape{2, in[0].shape.channels()}, Role::sum, DType::f64}};
}

void PoolGradSums::run(Device& device, const RunArgs& args) const {
  device.backend().fused->pool_grad_sums(device.stream(), args.in[0], args.in[1], args.in[2],
                                         args.in[3], args.out[0]);
}

Attributes SkipWeightGrad::attributes() const { return {{"normalised", u.normalised}}; }

std::vector<ValueInfo> SkipWeightGrad::infer(std::span<const ValueInfo> in) const {
  return {of_role(Role::parameter, {1, 1, in[0].shape.channels(), in[load].shape.channels()})};
}

double SkipWeightGrad::flops(std::span<const ValueInfo> in, std::span<const ValueInfo>) const {
  return skip_flops(in[load].shape, in[0].shape.channels());
}

size_t SkipWeightGrad::workspace_bytes(Device& device, const RunArgs& args) const {
  return device.backend().fused->skip_weight_grad_workspace(device.stream(), u.view(args.in),
                                                            args.in[load], args.out[0]);
}

void SkipWeightGrad::run(Device& device, const RunArgs& args) const {
  device.backend().fused->skip_weight_grad(device.stream(), u.view(args.in), args.in[load],
                                           args.out[0], args.work);
}

}  // namespace fulmar::ops

namespace fulmar {

std::optional<Match> fuse_pool_skip(const Graph& graph, int node) {
  const FusedKernels* kernels = graph.device().backend().fused;
  if (!kernels || !kernels->pool_skip) return {};
  const bool differentiates = kernels->pool_grad_sums && kernels->skip_weight_grad;
  const auto run = pool_skip_run(graph, node);
  if (!run) return {};
  Match match;
  match.at = node;
  match.nodes.assign(run->nodes.begin(), run->nodes.end());
  match.loads = {run->z, run->u};
  match.must_load = {run->z};
  match.reads = {run->w, run->bias};
  match.record = [=, run = *run](Recorder& r) {
    std::vector<Val> operands;
    const auto of_z = ops::LoadOperand::append(operands, r.loads(run.z), {});
    const auto how = r.loads(run.u);
    const auto of_u = ops::LoadOperand::append(operands, how, how ? Val{} : r.now(run.u));
    operands.push_back(r.now(run.w));
    operands.push_back(r.now(run.bias));
    const Val now = r.tape().append(std::make_shared<ops::PoolSkip>(of_z, of_u, differentiates),
                                    std::move(operands));
    return std::vector<std::pair<Val, Val>>{{Val{node, 0}, now}};
  };
  return match;
}

}  // namespace fulmar
