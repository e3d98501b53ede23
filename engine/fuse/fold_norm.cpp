#include "engine/fuse/patterns.h"
#include "engine/ops.h"
#include "engine/ops/conv.h"
#include "engine/ops/norm.h"

namespace fulmar {

// gamma (conv2d(x, w, bias) - mean) / s + beta is conv2d(x, w scale, (bias - mean) scale + beta)
// with s = sqrt(var + epsilon) and scale = gamma / s. The new weights depend on the Model alone: a
// plan computes them once.
std::optional<Match> fold_norm(const Graph& graph, int node) {
  const Node& norm = graph.node(node);
  const auto* eval = as<ops::BatchNorm>(norm);
  if (!eval || !graph.free(norm)) return {};
  const Val z = norm.inputs[0];
  const Node& conv = graph.node(z);
  const auto* product = as<ops::Conv>(conv);
  if (!product || product->how.depthwise || !graph.inner(z) || !graph.free(conv)) return {};

  Match match;
  match.at = node;
  match.nodes = {z.node, node};
  match.reads = conv.inputs;
  match.reads.insert(match.reads.end(), norm.inputs.begin() + 1, norm.inputs.end());
  match.record = [=, reads = match.reads, how = product->how,
                  epsilon = eval->epsilon](Recorder& r) {
    std::vector<Val> now;
    for (const Val v : reads) now.push_back(r.now(v));
    const Val x = now[0], w = now[1], bias = now[2];
    const Val gamma = now[3], beta = now[4], mean = now[5], var = now[6];
    Tape& tape = r.tape();
    const Val deviation = ops::sqrt(tape, ops::affine(tape, var, 1, epsilon));
    const Val scale = ops::div(tape, gamma, deviation);
    const Val shift = bias ? ops::sub(tape, bias, mean) : ops::affine(tape, mean, -1, 0);
    const Val offset = ops::add(tape, ops::mul(tape, shift, scale), beta);
    const Val y = ops::conv2d(tape, x, ops::mul(tape, w, scale), offset, how.window, how.groups);
    return std::vector<std::pair<Val, Val>>{{Val{node, 0}, y}};
  };
  return match;
}

}  // namespace fulmar
