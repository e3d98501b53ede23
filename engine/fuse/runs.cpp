#include "engine/fuse/runs.h"

#include "engine/fuse/windows.h"
#include "engine/ops/conv.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/pool.h"
#include "kernels/pointwise.h"

namespace fulmar {
namespace {

bool is_function(const Node& node, int functor) {
  const auto* function = as<ops::Pointwise>(node);
  return function && function->functor == functor;
}

}  // namespace

bool is_relu(const Node& node) { return is_function(node, functor_Relu); }
bool is_add(const Node& node) { return is_function(node, functor_Add); }

bool is_narrow(const Graph& graph, const Node& node) {
  constexpr int64_t most_inputs = 4, most_outputs = 32, most_extent = 16;
  const auto* conv = as<ops::Conv>(node);
  if (!conv || conv->how.depthwise || conv->how.groups != 1) return false;
  const Shape& w = graph.tape().shape(node.inputs[1]);
  return w.rank() == 4 && w[0] * w[1] > 1 && w[2] <= most_inputs && w[3] <= most_outputs &&
         (w[0] - 1) * conv->how.window.dilation[0] < most_extent &&
         (w[1] - 1) * conv->how.window.dilation[1] < most_extent;
}

std::optional<SeparableRun> separable_run(const Graph& graph, int node) {
  const Node& pointwise = graph.node(node);
  const auto* product = as<ops::Conv>(pointwise);
  if (!product || !ops::is_pointwise(product->how, graph.tape().shape(pointwise.inputs[1])) ||
      !ops::same_window(product->how.window, Window{}) || !graph.free(pointwise))
    return {};
  const Val d = pointwise.inputs[0];
  const Node& depthwise = graph.node(d);
  const auto* taps = as<ops::Conv>(depthwise);
  if (!taps || !taps->how.depthwise ||
      !ops::same_window(taps->how.window, ops::separable_window()) || !graph.inner(d) ||
      !graph.free(depthwise))
    return {};
  const Shape& k = graph.tape().shape(depthwise.inputs[1]);
  if (k[0] != ops::fused_taps[0] || k[1] != ops::fused_taps[1]) return {};
  return SeparableRun{depthwise.inputs[0],
                      depthwise.inputs[1],
                      pointwise.inputs[1],
                      pointwise.inputs[2],
                      {d.node, node}};
}

std::optional<PoolSkipRun> pool_skip_run(const Graph& graph, int node) {
  const Node& add = graph.node(node);
  if (!is_add(add) || !graph.free(add)) return {};
  for (const size_t first : {size_t{0}, size_t{1}}) {
    const Val pooled = add.inputs[first], skip = add.inputs[1 - first];
    const Node &pool = graph.node(pooled), &conv = graph.node(skip);
    const auto* window = as<ops::MaxPool>(pool);
    const auto* product = as<ops::Conv>(conv);
    if (!window || !product || pooled.output != 0 || !graph.inner(pooled) || !graph.inner(skip) ||
        !graph.free(pool) || !graph.free(conv) || !graph.readers(Val{pooled.node, 1}).empty() ||
        graph.kept(Val{pooled.node, 1}) || graph.tape().shape(pooled) != graph.tape().shape(skip))
      continue;
    const Val z = pool.inputs[0], u = conv.inputs[0];
    const Shape &of_z = graph.tape().shape(z), &of_u = graph.tape().shape(u);
    if (window->kernel != ops::fused_taps ||
        !ops::same_window(window->window, ops::pool_window(of_z)) ||
        !ops::is_skip(product->how, graph.tape().shape(conv.inputs[1])) ||
        of_u.height() != of_z.height() || of_u.width() != of_z.width())
      continue;
    return PoolSkipRun{z, u, conv.inputs[1], conv.inputs[2], {pooled.node, skip.node, node}};
  }
  return {};
}

}  // namespace fulmar
