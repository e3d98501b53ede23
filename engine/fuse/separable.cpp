#include "engine/fuse/separable.h"

#include "engine/fuse/patterns.h"
#include "engine/fuse/runs.h"
#include "engine/fuse/windows.h"
#include "engine/ops.h"
#include "engine/ops/conv.h"
#include "engine/ops/norm.h"
#include "engine/ops/pointwise.h"
#include "engine/shape_rules.h"
#include "kernels/pointwise.h"

namespace fulmar::ops {
namespace {

constexpr size_t load = LoadOperand::count, given = CotangentOperand::count;

// 2 per multiply-add of the depthwise and of the pointwise part.
double product_flops(const Shape& x, int64_t outputs) {
  return 2 * static_cast<double>(x.elements()) * static_cast<double>(9 + outputs);
}

// What a skip gave for the same x, where that is all that others gave: its dy and w.
struct SkipGiven {
  Val dy, w;
};
std::optional<SkipGiven> skip_of(const Tape& tape, Val cotangent) {
  if (!cotangent) return {};
  const Node& node = tape.node(cotangent.node);
  const auto* grad = as<ConvInputGrad>(node);
  if (!grad || !is_skip(grad->how, tape.shape(node.inputs[1]))) return {};
  return SkipGiven{node.inputs[0], node.inputs[1]};
}

// The same behind the normalisation of x: batch_norm_grad of relu_grad of it, and gamma's and
// beta's cotangents from the same sums.
std::optional<SkipGiven> normalised_skip_of(const Vjp& v) {
  const Tape& tape = v.tape;
  if (!v.so_far[0]) return {};
  const Node& norm = tape.node(v.so_far[0].node);
  if (!as<BatchNormGrad>(norm) || norm.inputs[1] != v.x[0]) return {};
  const Val masked = norm.inputs[0], grad_sums = norm.inputs[6];
  for (const size_t parameter : {1, 2}) {
    const Val d = v.so_far[parameter];
    if (!d) {
      if (v.wanted[parameter]) return {};
      continue;
    }
    const Node& node = tape.node(d.node);
    if (!as<BatchNormParamGrad>(node) || node.inputs[0] != grad_sums) return {};
  }
  const Node& relu = tape.node(masked.node);
  const auto* mask = as<PointwiseGrad>(relu);
  if (!mask || mask->functor != functor_Relu) return {};
  return skip_of(tape, relu.inputs[1]);
}

}  // namespace

Attributes Separable::attributes() const {
  Attributes attributes{{"normalised", x.normalised}, {"sums", sums}};
  if (x.normalised) attributes["epsilon"] = x.epsilon;
  return attributes;
}

std::vector<ValueInfo> Separable::infer(std::span<const ValueInfo> in) const {
  require_rank4(in[0], "x");
  const Shape& shape = in[0].shape;
  require_same(in[load], Shape{3, 3, shape[3]}, "depthwise");
  const int64_t outputs = in[load + 1].shape.channels();
  require_same(in[load + 1], Shape{1, 1, shape[3], outputs}, "pointwise");
  std::vector<ValueInfo> out{activation({shape[0], shape[1], shape[2], outputs})};
  if (sums) out.push_back({Shape{3, outputs}, Role::sum, DType::f64});
  return out;
}

double Separable::flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const {
  return product_flops(in[0].shape, out[0].shape.channels());
}

size_t Separable::workspace_bytes(Device& device, const RunArgs& args) const {
  return device.backend().fused->separable_workspace(
      device.stream(), x.view(args.in), args.in[load], args.in[load + 1], args.in[load + 2],
      args.in[load + 3], args.out[0], sums ? args.out[1] : View{});
}

void Separable::run(Device& device, const RunArgs& args) const {
  device.backend().fused->separable(device.stream(), x.view(args.in), args.in[load],
                                    args.in[load + 1], args.in[load + 2], args.in[load + 3],
                                    args.out[0], sums ? args.out[1] : View{}, args.work);
}

std::vector<Val> Separable::compose(Tape& tape, std::span<const Val> operands) const {
  const Val d =
      depthwise_conv2d(tape, x.compose(tape, operands), operands[load], separable_window());
  std::vector<Val> y{conv2d(tape, d, operands[load + 1], operands[load + 2], {})};
  if (sums) y.push_back(tape.append(std::make_shared<ChannelSums>(), {y[0], operands[load + 3]}));
  return y;
}

std::vector<Val> Separable::vjp(const Vjp& v) const {
  if (!differentiates) return Op::vjp(v);
  x.check_gradient(v, 0);
  Tape& tape = v.tape;
  std::vector<Val> d(v.x.size());
  const Val dy = v.dy[0];
  if (!dy) return d;
  const bool of_weights = v.wanted[load] || v.wanted[load + 1];
  DeferredCotangent o = deferred(tape, v.y[0], dy, true);
  for (size_t i = 0; i < load + 2; i++) o.values.push_back(v.x[i]);
  const auto skip = x.normalised ? normalised_skip_of(v) : skip_of(tape, v.so_far[0]);
  o.values.push_back(skip ? skip->dy : Val{});
  o.values.push_back(skip ? skip->w : Val{});
  const int node =
      tape.append(std::make_shared<SeparableBack>(o.how, x, of_weights), std::move(o.values)).node;
  d[0] = Val{node, 0};
  if (skip) v.added[0] = true;
  if (x.normalised) {
    const std::vector<Val> dx = cotangents(tape, x, v.x.first(load), d[0], Val{node, 1});
    std::copy(dx.begin(), dx.end(), d.begin());
    if (skip) v.added[1] = v.added[2] = true;
  }
  if (of_weights) {
    d[load] = Val{node, x.normalised ? 2 : 1};
    d[load + 1] = Val{node, x.normalised ? 3 : 2};
  }
  if (v.x[load + 2] && v.wanted[load + 2])
    d[load + 2] = bias_cotangent(tape, v.x[load + 2], v.y[0], dy);
  return d;
}

Attributes SeparableBack::attributes() const {
  return {{"pooled", dy.pooled}, {"through_norm", dy.normalised}, {"normalised", x.normalised}};
}

std::vector<ValueInfo> SeparableBack::infer(std::span<const ValueInfo> in) const {
  const ValueInfo& of = in[given];
  std::vector<ValueInfo> out{activation(of.shape)};
  if (x.normalised) out.push_back({Shape{2, of.shape.channels()}, Role::sum, DType::f64});
  if (weights) {
    out.push_back(of_role(Role::parameter, in[given + load].shape));
    out.push_back(of_role(Role::parameter, in[given + load + 1].shape));
  }
  return out;
}

double SeparableBack::flops(std::span<const ValueInfo> in, std::span<const ValueInfo>) const {
  const Shape& x_shape = in[given].shape;
  const double product = product_flops(x_shape, in[given + load + 1].shape.channels());
  // The pointwise kernel's gradient needs the depthwise part, which is made again.
  return weights ? 2 * product + product_flops(x_shape, 0) : product;
}

namespace {

// The kernel's arguments.
struct BackArgs {
  Cotangent dy;
  Loaded x;
  SkipGrad skip;
  SeparableGrad d;

  BackArgs(const SeparableBack& op, const RunArgs& args)
      : dy(op.dy.view(args.in)), x(op.x.view(args.in.subspan(given))) {
    skip = {args.in[given + load + 2], args.in[given + load + 3]};
    d.dx = args.out[0];
    size_t next = 1;
    if (op.x.normalised) d.grad_sums = args.out[next++];
    if (!op.weights) return;
    d.ddepthwise = args.out[next];
    d.dpointwise = args.out[next + 1];
  }
};

}  // namespace

size_t SeparableBack::workspace_bytes(Device& device, const RunArgs& args) const {
  const BackArgs a(*this, args);
  return device.backend().fused->separable_grad_workspace(
      device.stream(), a.dy, a.x, args.in[given + load], args.in[given + load + 1], a.skip, a.d);
}

void SeparableBack::run(Device& device, const RunArgs& args) const {
  const BackArgs a(*this, args);
  device.backend().fused->separable_grad(device.stream(), a.dy, a.x, args.in[given + load],
                                         args.in[given + load + 1], a.skip, a.d, args.work);
}

}  // namespace fulmar::ops

namespace fulmar {

std::optional<Match> fuse_separable(const Graph& graph, int node) {
  const FusedKernels* kernels = graph.device().backend().fused;
  if (!kernels || !kernels->separable) return {};
  const auto run = separable_run(graph, node);
  if (!run) return {};
  const auto shape = [&](Val v) { return shaped(graph.tape().shape(v)); };
  if (kernels->separable_takes && !kernels->separable_takes(shape(run->x), shape({node, 0})))
    return {};
  Match match;
  match.at = node;
  match.nodes.assign(run->nodes.begin(), run->nodes.end());
  const Val x = run->x, y{node, 0};
  match.loads = {x};
  match.reads = {run->depthwise, run->pointwise, run->bias};
  const auto sums = graph.channel_sums(y);
  if (sums) {
    match.nodes.push_back(sums->sums.node);
    match.reads.push_back(sums->shift);
  }
  const bool differentiates = kernels->separable_grad;
  match.record = [=, reads = match.reads](Recorder& r) {
    std::vector<Val> operands;
    const auto how = r.loads(x);
    const auto load = ops::LoadOperand::append(operands, how, how ? Val{} : r.now(x));
    for (size_t i = 0; i < 3; i++) operands.push_back(r.now(reads[i]));
    operands.push_back(sums ? r.now(sums->shift) : Val{});
    const Val now =
        r.tape().append(std::make_shared<ops::Separable>(load, sums.has_value(), differentiates),
                        std::move(operands));
    std::vector<std::pair<Val, Val>> values{{y, now}};
    if (sums) values.emplace_back(sums->sums, Val{now.node, 1});
    return values;
  };
  return match;
}

}  // namespace fulmar
