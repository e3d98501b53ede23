#include "engine/fuse/norm_relu.h"

#include <algorithm>

#include "engine/fuse/patterns.h"
#include "engine/fuse/runs.h"
#include "engine/ops.h"
#include "engine/shape_rules.h"

namespace fulmar::ops {
namespace {

constexpr size_t load = LoadOperand::count;

}  // namespace

Attributes NormRelu::attributes() const { return {{"skip_normalised", skip.normalised}}; }
Attributes NormReluBack::attributes() const { return {{"skip_normalised", skip.normalised}}; }

std::vector<ValueInfo> NormRelu::infer(std::span<const ValueInfo> in) const {
  require_rank4(in[0], "z");
  if (in[load].shape.rank() > 0) require_same(in[load], in[0].shape, "skip");
  return {activation(in[0].shape)};
}

void NormRelu::run(Device& device, const RunArgs& args) const {
  device.backend().fused->norm_relu(device.stream(), z.view(args.in),
                                    skip.view(args.in.subspan(load)), args.out[0]);
}

std::vector<Val> NormRelu::compose(Tape& tape, std::span<const Val> operands) const {
  const Val y = z.compose_norm(tape, operands);
  if (!operands[load]) return {relu(tape, y)};
  return {relu(tape, add(tape, y, skip.compose_norm(tape, operands.subspan(load))))};
}

std::vector<Val> NormRelu::vjp(const Vjp& v) const {
  if (!differentiates) return Op::vjp(v);
  z.check_gradient(v, 0);
  skip.check_gradient(v, load);
  Tape& tape = v.tape;
  std::vector<Val> d(v.x.size());
  if (!v.dy[0]) return d;
  std::vector<Val> operands{v.dy[0], v.x[load] ? v.y[0] : Val{}};
  operands.insert(operands.end(), v.x.begin(), v.x.begin() + load);
  if (skip.normalised)
    operands.insert(operands.end(), v.x.begin() + load, v.x.end());
  else
    operands.resize(operands.size() + load);
  const int node = tape.append(std::make_shared<NormReluBack>(z, skip), std::move(operands)).node;
  const Val g{node, 0};
  const std::vector<Val> dz = cotangents(tape, z, v.x.first(load), g, Val{node, 1});
  std::copy(dz.begin(), dz.end(), d.begin());
  if (skip.normalised) {
    const std::vector<Val> past = cotangents(tape, skip, v.x.subspan(load), g, Val{node, 2});
    std::copy(past.begin(), past.end(), d.begin() + load);
  } else if (v.x[load]) {
    d[load] = g;
  }
  return d;
}

std::vector<ValueInfo> NormReluBack::infer(std::span<const ValueInfo> in) const {
  const Shape& shape = in[2].shape;
  require_same(in[0], shape, "dy");
  const ValueInfo sums{Shape{2, shape.channels()}, Role::sum, DType::f64};
  std::vector<ValueInfo> out{activation(shape), sums};
  if (skip.normalised) out.push_back(sums);
  return out;
}

void NormReluBack::run(Device& device, const RunArgs& args) const {
  const auto of_z = args.in.subspan(2);
  device.backend().fused->norm_relu_grad(
      device.stream(), args.in[0], z.view(of_z), skip.view(of_z.subspan(load)), args.in[1],
      {args.out[0], args.out[1], skip.normalised ? args.out[2] : View{}});
}

}  // namespace fulmar::ops

namespace fulmar {

std::optional<Match> fuse_norm_relu(const Graph& graph, int node) {
  const FusedKernels* kernels = graph.device().backend().fused;
  if (!kernels || !kernels->norm_relu) return {};
  const Node& relu = graph.node(node);
  if (!is_relu(relu) || !graph.free(relu)) return {};
  Match match;
  match.at = node;
  match.nodes = {node};
  Val z = relu.inputs[0], skip;
  std::optional<Normalised> of_z = graph.norm(z), of_skip;
  if (!of_z) {
    const Node& add = graph.node(z);
    if (!is_add(add) || !graph.inner(z) || !graph.free(add)) return {};
    // One that repeats along an axis is no skip.
    for (const Val x : add.inputs)
      if (graph.tape().shape(x) != graph.tape().shape(z)) return {};
    match.nodes.push_back(z.node);
    const bool second = !graph.norm(add.inputs[0]);
    z = add.inputs[second];
    skip = add.inputs[!second];
    of_z = graph.norm(z);
    of_skip = graph.norm(skip);
    if (!of_z) return {};
  }
  match.nodes.push_back(z.node);
  if (of_skip) match.nodes.push_back(skip.node);
  const auto reads = [&match](const Normalised& how) {
    for (const Val v : how.operands()) match.reads.push_back(v);
  };
  reads(*of_z);
  if (of_skip)
    reads(*of_skip);
  else
    match.reads.push_back(skip);
  const bool differentiates = kernels->norm_relu_grad;
  match.record = [=](Recorder& r) {
    std::vector<Val> operands;
    const auto append = [&](const std::optional<Normalised>& how, Val value) {
      if (how) return ops::LoadOperand::append(operands, r.now(*how), {});
      return ops::LoadOperand::append(operands, {}, r.now(value));
    };
    const auto summand = append(of_z, {}), past = append(of_skip, skip);
    const Val y = r.tape().append(std::make_shared<ops::NormRelu>(summand, past, differentiates),
                                  std::move(operands));
    return std::vector<std::pair<Val, Val>>{{Val{node, 0}, y}};
  };
  return match;
}

}  // namespace fulmar
