#include "engine/fuse/convolution.h"

#include <algorithm>

#include "engine/fuse/patterns.h"
#include "engine/ops.h"
#include "engine/ops/norm.h"
#include "engine/shape_rules.h"

namespace fulmar::ops {
namespace {

constexpr size_t load = LoadOperand::count;

// Of a primitive convolution: it has the windows, and whether x is normalised.
Attributes described(const Convolution& how, const LoadOperand& x) {
  Attributes attributes = Conv(how).attributes();
  attributes["normalised"] = x.normalised;
  if (x.warp) {
    attributes["sampled_height"] = x.warp->height;
    attributes["sampled_width"] = x.warp->width;
  }
  return attributes;
}

}  // namespace

Attributes FusedConv::attributes() const {
  Attributes attributes = described(how, x);
  attributes["sums"] = sums;
  return attributes;
}
Attributes FusedConvInputGrad::attributes() const { return described(how, x); }
Attributes FusedConvWeightGrad::attributes() const {
  Attributes attributes = described(how, x);
  attributes["through_norm"] = dy.normalised;
  return attributes;
}

std::vector<ValueInfo> FusedConv::infer(std::span<const ValueInfo> in) const {
  std::vector<ValueInfo> out = Conv(how).infer(std::array{x.info(in), in[load], in[load + 1]});
  if (sums) out.push_back({Shape{3, out[0].shape.channels()}, Role::sum, DType::f64});
  return out;
}

double FusedConv::flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const {
  return Conv(how).flops(std::array{x.info(in), in[load], in[load + 1]}, out);
}

size_t FusedConv::workspace_bytes(Device& device, const RunArgs& args) const {
  return device.backend().fused->convolution_workspace(
      device.stream(), x.view(args.in), args.in[load], args.in[load + 1], args.in[load + 2],
      args.out[0], sums ? args.out[1] : View{}, how.window, how.groups);
}

void FusedConv::run(Device& device, const RunArgs& args) const {
  device.backend().fused->convolution(
      device.stream(), x.view(args.in), args.in[load], args.in[load + 1], args.in[load + 2],
      args.out[0], sums ? args.out[1] : View{}, how.window, how.groups, args.work);
}

std::vector<Val> FusedConv::compose(Tape& tape, std::span<const Val> operands) const {
  std::vector<Val> y{conv2d(tape, x.compose(tape, operands), operands[load], operands[load + 1],
                            how.window, how.groups)};
  if (sums) y.push_back(tape.append(std::make_shared<ChannelSums>(), {y[0], operands[load + 2]}));
  return y;
}

std::vector<Val> FusedConv::vjp(const Vjp& v) const {
  if (!differentiates || (x.warp && v.wanted[0])) return Op::vjp(v);
  x.check_gradient(v, 0);
  Tape& tape = v.tape;
  std::vector<Val> d(v.x.size());
  const Val dy = v.dy[0], w = v.x[load], bias = v.x[load + 1];
  if (!dy) return d;
  const Shape x_shape = tape.shape(v.x[0]);
  if (x.normalised && (v.wanted[0] || v.wanted[1] || v.wanted[2])) {
    std::vector<Val> operands{dy, w};
    operands.insert(operands.end(), v.x.begin(), v.x.begin() + load);
    operands.emplace_back();
    const int node =
        tape.append(std::make_shared<FusedConvInputGrad>(how, x, x_shape), std::move(operands))
            .node;
    const std::vector<Val> dx = cotangents(tape, x, v.x.first(load), Val{node, 0}, Val{node, 1});
    std::copy(dx.begin(), dx.end(), d.begin());
  } else if (adds && v.wanted[0] && v.so_far[0]) {
    std::vector<Val> operands{dy, w};
    operands.resize(2 + load);
    operands.push_back(v.so_far[0]);
    d[0] = tape.append(std::make_shared<FusedConvInputGrad>(how, x, x_shape), std::move(operands));
    v.added[0] = true;
  } else if (v.wanted[0]) {
    d[0] = tape.append(std::make_shared<ConvInputGrad>(how, x_shape), {dy, w});
  }
  if (v.wanted[load]) d[load] = weight_grad(v);
  if (bias && v.wanted[load + 1]) d[load + 1] = bias_cotangent(tape, bias, v.y[0], dy);
  return d;
}

Val FusedConv::weight_grad(const Vjp& v) const {
  // Who asks for the gradient by x too reads dy from memory: made once, it serves both.
  DeferredCotangent dy{{}, {v.dy[0]}};
  dy.values.resize(CotangentOperand::count);
  if (!v.wanted[0] && !v.wanted[1] && !v.wanted[2]) dy = deferred(v.tape, v.y[0], v.dy[0], false);
  const Shape w_shape = v.tape.shape(v.x[load]);
  if (!x.normalised && !x.warp && !dy.how.normalised)
    return v.tape.append(std::make_shared<ConvWeightGrad>(how, w_shape), {v.x[0], v.dy[0]});
  std::vector<Val> operands(v.x.begin(), v.x.begin() + load);
  operands.insert(operands.end(), dy.values.begin(), dy.values.end());
  return v.tape.append(std::make_shared<FusedConvWeightGrad>(how, x, dy.how, w_shape),
                       std::move(operands));
}

std::vector<ValueInfo> FusedConvInputGrad::infer(std::span<const ValueInfo> in) const {
  std::vector<ValueInfo> out = ConvInputGrad(how, x_shape).infer(in.first(2));
  if (x.normalised) out.push_back({Shape{2, x_shape.channels()}, Role::sum, DType::f64});
  return out;
}

double FusedConvInputGrad::flops(std::span<const ValueInfo> in,
                                 std::span<const ValueInfo> out) const {
  return ConvInputGrad(how, x_shape).flops(in.first(2), out);
}

namespace {

ConvolutionInputGrad outputs_of(const FusedConvInputGrad& op, const RunArgs& args) {
  return {args.out[0], op.x.normalised ? args.out[1] : View{}};
}

}  // namespace

size_t FusedConvInputGrad::workspace_bytes(Device& device, const RunArgs& args) const {
  return device.backend().fused->convolution_input_grad_workspace(
      device.stream(), args.in[0], args.in[1], x.view(args.in.subspan(2)), args.in[2 + load],
      outputs_of(*this, args), how.window, how.groups);
}

void FusedConvInputGrad::run(Device& device, const RunArgs& args) const {
  device.backend().fused->convolution_input_grad(
      device.stream(), args.in[0], args.in[1], x.view(args.in.subspan(2)), args.in[2 + load],
      outputs_of(*this, args), how.window, how.groups, args.work);
}

namespace {

// What the unfused op takes. A cotangent that is deferred has the shape of its z.
std::array<ValueInfo, 2> plain_operands(const FusedConvWeightGrad& op,
                                        std::span<const ValueInfo> in) {
  return {op.x.info(in), in[load + (op.dy.normalised ? 2 : 0)]};
}

}  // namespace

std::vector<ValueInfo> FusedConvWeightGrad::infer(std::span<const ValueInfo> in) const {
  return ConvWeightGrad(how, w_shape).infer(plain_operands(*this, in));
}

double FusedConvWeightGrad::flops(std::span<const ValueInfo> in,
                                  std::span<const ValueInfo> out) const {
  return ConvWeightGrad(how, w_shape).flops(plain_operands(*this, in), out);
}

size_t FusedConvWeightGrad::workspace_bytes(Device& device, const RunArgs& args) const {
  return device.backend().fused->convolution_weight_grad_workspace(
      device.stream(), x.view(args.in), dy.view(args.in.subspan(load)), args.out[0], how.window,
      how.groups);
}

void FusedConvWeightGrad::run(Device& device, const RunArgs& args) const {
  device.backend().fused->convolution_weight_grad(device.stream(), x.view(args.in),
                                                  dy.view(args.in.subspan(load)), args.out[0],
                                                  how.window, how.groups, args.work);
}

}  // namespace fulmar::ops

namespace fulmar {
namespace {

bool takes(const Graph& graph, const ops::Conv& conv, const Shape& w, const Shape& y,
           bool normalised) {
  const FusedKernels& kernels = *graph.device().backend().fused;
  return !kernels.convolution_takes ||
         kernels.convolution_takes(shaped(w), shaped(y), conv.how.window, conv.how.groups,
                                   normalised);
}

bool samples(const Graph& graph, const ops::Conv& conv, const Shape& w, const Shape& y) {
  const FusedKernels& kernels = *graph.device().backend().fused;
  return kernels.convolution_samples &&
         kernels.convolution_samples(shaped(w), shaped(y), conv.how.window, conv.how.groups);
}

// The warp that makes a convolution's x, where nobody else reads that, and sampling it twice, for
// the convolution and for its gradient, costs less than writing it.
std::shared_ptr<const ops::Warp> sampled_by(const Graph& graph, Val x) {
  auto warp = std::dynamic_pointer_cast<const ops::Warp>(graph.node(x).op);
  const bool fits =
      warp && warp->cuts && !warp->how.standardize && graph.inner(x) && graph.free(graph.node(x));
  return fits ? warp : nullptr;
}

}  // namespace

std::optional<Match> fuse_convolution(const Graph& graph, int node) {
  const FusedKernels* kernels = graph.device().backend().fused;
  if (!kernels || !kernels->convolution) return {};
  const bool input_grad = kernels->convolution_input_grad;
  const Node& product = graph.node(node);
  const auto* conv = as<ops::Conv>(product);
  if (!conv || conv->how.depthwise || !graph.free(product)) return {};
  const Shape& w = graph.tape().shape(product.inputs[1]);
  if (w.rank() != 4) return {};
  Match match;
  match.at = node;
  match.nodes = {node};
  const Val x = product.inputs[0], y{node, 0};
  const Shape& made = graph.tape().shape(y);
  if (!takes(graph, *conv, w, made, graph.normalised(x).has_value())) return {};
  const auto warp = samples(graph, *conv, w, made) ? sampled_by(graph, x) : nullptr;
  const std::vector<Val> picture = warp ? graph.node(x).inputs : std::vector<Val>{};
  if (warp) {
    match.nodes.push_back(x.node);
    match.reads = picture;
  } else if (graph.normalised(x)) {
    match.loads = {x};
  } else {
    match.reads = {x};
  }
  const auto sums = graph.channel_sums(y);
  if (match.loads.empty() && !warp && !sums) return {};
  match.reads.push_back(product.inputs[1]);
  match.reads.push_back(product.inputs[2]);
  if (sums) {
    match.nodes.push_back(sums->sums.node);
    match.reads.push_back(sums->shift);
  }
  const bool differentiates =
      kernels->convolution_weight_grad && (input_grad || match.loads.empty());
  match.record = [=, how = conv->how, weight = product.inputs[1], bias = product.inputs[2],
                  loads = !match.loads.empty()](Recorder& r) {
    std::vector<Val> operands;
    const auto norm = loads ? r.loads(x) : std::nullopt;
    auto load =
        ops::LoadOperand::append(operands, norm, norm ? Val{} : r.now(warp ? picture[0] : x));
    if (warp) {
      load.warp = warp;
      operands[1] = r.now(picture[1]);
    }
    operands.push_back(r.now(weight));
    operands.push_back(r.now(bias));
    operands.push_back(sums ? r.now(sums->shift) : Val{});
    const Val now = r.tape().append(
        std::make_shared<ops::FusedConv>(how, load, sums.has_value(), differentiates, input_grad),
        std::move(operands));
    std::vector<std::pair<Val, Val>> values{{y, now}};
    if (sums) values.emplace_back(sums->sums, Val{now.node, 1});
    return values;
  };
  return match;
}

}  // namespace fulmar
