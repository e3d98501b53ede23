#include <algorithm>
#include <set>

#include "engine/fuse/patterns.h"
#include "engine/fuse/row_run.h"
#include "engine/fuse/windows.h"
#include "engine/ops/conv.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/pool.h"
#include "kernels/pointwise.h"

namespace fulmar {
namespace {

using Kind = RowLayer::Kind;
using ops::RowRun;

bool has_kernel(const Graph& graph) {
  const FusedKernels* kernels = graph.device().backend().fused;
  return kernels && kernels->row_run && kernels->pack_row_weight &&
         graph.device().activation() == DType::f32;
}

bool is_relu(const Node& node) {
  const auto* function = as<ops::Pointwise>(node);
  return function && function->functor == functor_Relu;
}

// A dense convolution of few channels: others are faster as a product of patches.
bool is_narrow(const Graph& graph, const Node& node) {
  constexpr int64_t most_inputs = 4, most_outputs = 32, most_tap_rows = 16;
  const auto* conv = as<ops::Conv>(node);
  if (!conv || conv->how.depthwise || conv->how.groups != 1) return false;
  const Shape& w = graph.tape().shape(node.inputs[1]);
  return w[0] * w[1] > 1 && w[2] <= most_inputs && w[3] <= most_outputs &&
         (w[0] - 1) * conv->how.window.dilation[0] < most_tap_rows;
}

// The depthwise convolution before a pointwise one, as fused kernels have it.
bool is_separable(const Graph& graph, const Node& node) {
  const auto* product = as<ops::Conv>(node);
  if (!product || !ops::is_pointwise(product->how, graph.tape().shape(node.inputs[1])) ||
      !ops::same_window(product->how.window, Window{}))
    return false;
  const Val d = node.inputs[0];
  const Node& depthwise = graph.node(d);
  const auto* taps = as<ops::Conv>(depthwise);
  if (!taps || !taps->how.depthwise ||
      !ops::same_window(taps->how.window, ops::separable_window()) || !graph.inner(d) ||
      !graph.free(depthwise))
    return false;
  const Shape& k = graph.tape().shape(depthwise.inputs[1]);
  return k[0] == 3 && k[1] == 3;
}

// A run of one layer in place of the nodes; the operands, all but the packed weight, are those of
// the tape before.
Match single(int node, std::vector<int> nodes, int inputs, const RowRun::Layer& layer,
             std::vector<Val> operands) {
  Match match;
  match.at = node;
  match.nodes = std::move(nodes);
  match.reads = operands;
  match.record = [=, operands = std::move(operands)](Recorder& r) {
    std::vector<Val> now;
    for (const Val v : operands) now.push_back(r.now(v));
    if (layer.kind != Kind::conv)
      now.push_back(r.tape().append(std::make_shared<ops::PackRowWeight>(), {now.end()[-2]}));
    const Val y = r.tape().append(std::make_shared<RowRun>(inputs, std::vector{layer}), now);
    return std::vector<std::pair<Val, Val>>{{Val{node, 0}, y}};
  };
  return match;
}

}  // namespace

std::optional<Match> rows_of_conv(const Graph& graph, int node) {
  if (!has_kernel(graph)) return {};
  const Node& end = graph.node(node);
  const bool relu = is_relu(end) && graph.free(end) && graph.inner(end.inputs[0]);
  const int at = relu ? end.inputs[0].node : node;
  const Node& conv = graph.node(at);
  if (!graph.free(conv)) return {};
  std::vector<int> nodes{at};
  if (relu) nodes.push_back(node);
  const bool separable = is_separable(graph, conv);
  if (!separable && !(relu && is_narrow(graph, conv))) return {};
  RowRun::Layer layer{separable ? Kind::separable : Kind::conv, 0};
  layer.relu = relu;
  layer.window = as<ops::Conv>(conv)->how.window;
  if (!separable) return single(node, nodes, 1, layer, conv.inputs);
  const Node& depthwise = graph.node(conv.inputs[0]);
  nodes.insert(nodes.begin(), conv.inputs[0].node);
  return single(node, nodes, 1, layer,
                {depthwise.inputs[0], depthwise.inputs[1], conv.inputs[1], conv.inputs[2]});
}

std::optional<Match> rows_of_pool_skip(const Graph& graph, int node) {
  if (!has_kernel(graph)) return {};
  const Node& add = graph.node(node);
  const auto* function = as<ops::Pointwise>(add);
  if (!function || function->functor != functor_Add || !graph.free(add)) return {};
  for (const size_t first : {size_t{0}, size_t{1}}) {
    const Val pooled = add.inputs[first], skip = add.inputs[1 - first];
    const Node &pool = graph.node(pooled), &conv = graph.node(skip);
    const auto* window = as<ops::MaxPool>(pool);
    const auto* product = as<ops::Conv>(conv);
    if (!window || !product || pooled.output != 0 || !graph.inner(pooled) || !graph.inner(skip) ||
        !graph.free(pool) || !graph.free(conv) || !graph.readers(Val{pooled.node, 1}).empty())
      continue;
    const Val z = pool.inputs[0], u = conv.inputs[0];
    const Shape &of_z = graph.tape().shape(z), &of_u = graph.tape().shape(u);
    // Where no value is below 0, zeros around a picture win no maximum.
    if (!is_relu(graph.node(z)) || window->kernel != ops::fused_taps ||
        !ops::same_window(window->window, ops::pool_window(of_z)) ||
        !ops::is_skip(product->how, graph.tape().shape(conv.inputs[1])) ||
        of_u.height() != of_z.height() || of_u.width() != of_z.width())
      continue;
    return single(node, {pooled.node, skip.node, node}, 2, {Kind::pool_skip, 0, 1},
                  {z, u, conv.inputs[1], conv.inputs[2]});
  }
  return {};
}

namespace {

// Layers that are to be one run: nodes that are runs already, or a warp.
class Joined {
 public:
  Joined(const Graph& graph, int end) : graph_(graph), nodes_{end} {}

  bool grow() {
    for (const int n : nodes_)
      for (const Val x : values_of(n)) {
        if (nodes_.count(x.node) > 0 || !joins(n, x)) continue;
        nodes_.insert(x.node);
        return true;
      }
    return false;
  }

  std::optional<Match> match() const {
    const int end = *nodes_.rbegin();
    if (nodes_.size() == 1) return {};
    std::vector<Val> values;  // given ones
    for (const int n : nodes_)
      for (const Val x : values_of(n))
        if (nodes_.count(x.node) == 0 && std::find(values.begin(), values.end(), x) == values.end())
          values.push_back(x);
    const auto inputs = static_cast<int>(values.size());
    std::vector<Val> operands = values;
    std::vector<RowRun::Layer> layers;
    const auto number = [&](Val v) {
      return static_cast<int>(std::find(values.begin(), values.end(), v) - values.begin());
    };
    for (const int n : nodes_) {
      const Node& node = graph_.node(n);
      const std::vector<Val> of = values_of(n);
      RowRun::Layer layer{Kind::warp, 0};
      if (const auto* run = as<RowRun>(node)) {
        layer = run->layers[0];
        if (layer.skip >= 0) layer.skip = number(of[static_cast<size_t>(layer.skip)]);
      } else {
        layer.warp = std::dynamic_pointer_cast<const ops::Warp>(node.op);
      }
      layer.x = number(of[0]);
      layers.push_back(layer);
      operands.insert(operands.end(), node.inputs.begin() + static_cast<std::ptrdiff_t>(of.size()),
                      node.inputs.end());
      values.push_back(Val{n, 0});
    }
    Match match;
    match.at = end;
    match.nodes.assign(nodes_.begin(), nodes_.end());
    match.reads = operands;
    match.record = [=](Recorder& r) {
      std::vector<Val> now;
      for (const Val v : operands) now.push_back(r.now(v));
      const Val y = r.tape().append(std::make_shared<RowRun>(inputs, layers), std::move(now));
      return std::vector<std::pair<Val, Val>>{{Val{end, 0}, y}};
    };
    return match;
  }

 private:
  // What a node reads but weights.
  std::vector<Val> values_of(int n) const {
    const Node& node = graph_.node(n);
    const auto* run = as<RowRun>(node);
    const auto count = run ? run->inputs : 1;
    return {node.inputs.begin(), node.inputs.begin() + count};
  }

  // Whether what makes x, which a layer of the run reads, becomes a layer of it.
  bool joins(int reader, Val x) const {
    // More layers would make more rows of the first ones twice, at the edges of bands.
    constexpr size_t most_layers = 5;
    const Node& node = graph_.node(x);
    const auto all_inside = [&] {
      const std::vector<int>& readers = graph_.readers(x);
      return std::all_of(readers.begin(), readers.end(),
                         [&](int r) { return nodes_.count(r) > 0; });
    };
    const auto* of = as<RowRun>(graph_.node(reader));
    if (!of || nodes_.size() >= most_layers || graph_.kept(x) || !all_inside()) return false;
    const Kind by = of->layers[0].kind;
    if (const auto* warp = as<ops::Warp>(node))
      return by == Kind::conv && !warp->how.standardize &&
             graph_.tape().info(node.inputs[0]).type != DType::f64;
    // Where rows get fewer a run ends: what lies before would be made twice as often.
    const auto* run = as<RowRun>(node);
    constexpr int64_t least_rows = 64;
    return run && run->layers.size() == 1 && by != Kind::conv &&
           run->layers[0].kind != Kind::pool_skip && graph_.tape().shape(x).height() >= least_rows;
  }

  const Graph& graph_;
  std::set<int> nodes_;
};

}  // namespace

std::optional<Match> join_rows(const Graph& graph, int node) {
  const auto* run = as<RowRun>(graph.node(node));
  if (!run || run->layers.size() != 1) return {};
  Joined joined(graph, node);
  while (joined.grow()) {
  }
  return joined.match();
}

}  // namespace fulmar
