#include "engine/fuse/packed_conv.h"

#include <algorithm>

#include "engine/fuse/patterns.h"
#include "engine/fuse/runs.h"
#include "engine/ops.h"
#include "engine/ops/pointwise.h"
#include "engine/shape_rules.h"
#include "kernels/fused.h"
#include "kernels/pointwise.h"

namespace fulmar::ops {

Attributes PackedConv::attributes() const {
  Attributes attributes = Conv(how).attributes();
  attributes["relu"] = relu;
  return attributes;
}

std::vector<ValueInfo> PackedConv::infer(std::span<const ValueInfo> in) const {
  std::vector<ValueInfo> y = Conv(how).infer(std::array{in[0], in[1], in[3]});
  if (in[4].shape.rank() > 0) require_same(in[4], y[0].shape, "skip");
  return y;
}

double PackedConv::flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const {
  return Conv(how).flops(std::array{in[0], in[1], in[3]}, out);
}

size_t PackedConv::workspace_bytes(Device& device, const RunArgs& args) const {
  return device.backend().fused->packed_convolution_workspace(
      device.stream(), args.in[0], args.in[1], args.in[2], args.in[3], args.in[4], args.out[0],
      how.window, how.groups, relu);
}

void PackedConv::run(Device& device, const RunArgs& args) const {
  device.backend().fused->packed_convolution(device.stream(), args.in[0], args.in[1], args.in[2],
                                             args.in[3], args.in[4], args.out[0], how.window,
                                             how.groups, relu, args.work);
}

std::vector<Val> PackedConv::compose(Tape& tape, std::span<const Val> operands) const {
  Val y = conv2d(tape, operands[0], operands[1], operands[3], how.window, how.groups);
  if (operands[4]) y = add(tape, y, operands[4]);
  return {relu ? ops::relu(tape, y) : y};
}

std::vector<ValueInfo> PackWeight::infer(std::span<const ValueInfo> in) const {
  const Shape& w = in[0].shape;
  require(w.rank() == 4 && groups > 0 && w[3] % groups == 0,
          "w must be [Kh,Kw,Ci,Co] of " + text(groups) + " groups, it is " + text(w));
  return {of_role(Role::parameter, {groups * packed_elements(w[0] * w[1] * w[2], w[3] / groups)})};
}

void PackWeight::run(Device& device, const RunArgs& args) const {
  device.backend().fused->pack_weight(device.stream(), args.in[0], groups, args.out[0]);
}

}  // namespace fulmar::ops

namespace fulmar {
namespace {

// A convolution that a matrix product of packed weights does well: neither one of few channels,
// nor one whose groups would leave most of a packed weight empty.
bool suits(const Graph& graph, const Node& node) {
  const auto* conv = as<ops::Conv>(node);
  if (!conv || conv->how.depthwise || !graph.free(node)) return false;
  const Shape& w = graph.tape().shape(node.inputs[1]);
  if (w.rank() != 4) return false;
  const int64_t packed = packed_elements(w[0] * w[1] * w[2], w[3] / conv->how.groups);
  return !is_narrow(graph, node) &&
         (conv->how.groups == 1 || conv->how.groups * packed <= 2 * w.elements());
}

}  // namespace

std::optional<Match> fuse_packed_conv(const Graph& graph, int node) {
  const FusedKernels* kernels = graph.device().backend().fused;
  if (!kernels || !kernels->packed_convolution || !kernels->pack_weight) return {};
  Match match;
  match.at = node;
  match.nodes = {node};
  const bool relu = is_relu(graph.node(node));
  int at = node;
  // The op before, which nobody else reads.
  const auto step_back = [&](Val to) {
    at = to.node;
    match.nodes.push_back(at);
  };
  const auto inner = [&](Val v) { return graph.inner(v) && graph.free(graph.node(v)); };
  if (relu) {
    if (!graph.free(graph.node(node)) || !inner(graph.node(node).inputs[0])) return {};
    step_back(graph.node(node).inputs[0]);
  }
  Val skip;
  if (is_add(graph.node(at)) && graph.free(graph.node(at))) {
    const Shape& shape = graph.tape().shape(Val{at, 0});
    const std::vector<Val> x = graph.node(at).inputs;
    // Of two convolutions the later one: the other's result is there by then.
    const bool second = x[1].node > x[0].node;
    for (const bool take : {second, !second}) {
      const Val conv = x[take ? 1 : 0], other = x[take ? 0 : 1];
      if (!inner(conv) || !suits(graph, graph.node(conv)) || graph.tape().shape(other) != shape ||
          graph.tape().shape(conv) != shape || graph.tape().info(other).role != Role::activation)
        continue;
      skip = other;
      step_back(conv);
      break;
    }
  }
  if (!suits(graph, graph.node(at))) return {};
  const Node& conv = graph.node(at);
  std::sort(match.nodes.begin(), match.nodes.end());
  match.reads = conv.inputs;
  match.reads.push_back(skip);
  match.record = [=, reads = match.reads, how = as<ops::Conv>(conv)->how](Recorder& r) {
    const Val x = r.now(reads[0]), w = r.now(reads[1]), bias = r.now(reads[2]);
    const Val packed = r.tape().append(std::make_shared<ops::PackWeight>(how.groups), {w});
    const Val y = r.tape().append(std::make_shared<ops::PackedConv>(how, relu),
                                  {x, w, packed, bias, r.now(skip)});
    return std::vector<std::pair<Val, Val>>{{Val{node, 0}, y}};
  };
  return match;
}

}  // namespace fulmar
