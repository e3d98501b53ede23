#include <algorithm>
#include <set>

#include "engine/fuse/patterns.h"
#include "engine/fuse/row_run.h"
#include "engine/fuse/runs.h"
#include "engine/ops/conv.h"

namespace fulmar {
namespace {

using Kind = RowLayer::Kind;
using ops::RowRun;

bool has_kernel(const Graph& graph) {
  const FusedKernels* kernels = graph.device().backend().fused;
  return kernels && kernels->row_run && kernels->pack_row_weight;
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
  if (const auto run = separable_run(graph, at)) {
    nodes.insert(nodes.begin(), run->nodes.front());
    RowRun::Layer layer{Kind::separable, 0};
    layer.relu = relu;
    return single(node, nodes, 1, layer, {run->x, run->depthwise, run->pointwise, run->bias});
  }
  if (!relu || !is_narrow(graph, conv)) return {};
  RowRun::Layer layer{Kind::conv, 0};
  layer.relu = true;
  layer.window = as<ops::Conv>(conv)->how.window;
  return single(node, nodes, 1, layer, conv.inputs);
}

std::optional<Match> rows_of_pool_skip(const Graph& graph, int node) {
  if (!has_kernel(graph)) return {};
  const auto run = pool_skip_run(graph, node);
  // Where no value is below 0, zeros around a picture win no maximum.
  if (!run || !is_relu(graph.node(run->z))) return {};
  return single(node, {run->nodes.begin(), run->nodes.end()}, 2, {Kind::pool_skip, 0, 1},
                {run->z, run->u, run->w, run->bias});
}

namespace {

// Layers that are to be one run: nodes that are runs already, or a warp.
class Joined {
 public:
  Joined(const Graph& graph, int end) : graph_(graph), nodes_{end} {}

  bool grow() {
    for (const int n : nodes_)
      for (const Val x : values_of(n)) {
        if (nodes_.count(x.node) > 0 || !joins(x)) continue;
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

  // Whether what makes x, which a layer of the run reads, becomes a layer of it. A conv takes rows
  // of its own of what it reads: of a picture that is warped, or of what lies in memory.
  bool joins(Val x) const {
    // More layers would make more rows of the first ones twice, at the edges of bands.
    constexpr size_t most_layers = 8;
    const Node& node = graph_.node(x);
    const std::vector<int>& readers = graph_.readers(x);
    if (nodes_.size() >= most_layers || graph_.kept(x) ||
        std::any_of(readers.begin(), readers.end(), [&](int r) { return nodes_.count(r) == 0; }))
      return false;
    const auto by_conv = std::count_if(readers.begin(), readers.end(),
                                       [&](int r) { return is_kind(r, Kind::conv); });
    if (const auto* warp = as<ops::Warp>(node))
      return by_conv == std::ssize(readers) && graph_.free(node) && !warp->how.standardize &&
             graph_.tape().info(node.inputs[0]).type != DType::f64;
    const auto* run = as<RowRun>(node);
    if (!run || run->layers.size() != 1 || by_conv > 0) return false;
    const auto count = [&](Kind kind) {
      return std::count_if(nodes_.begin(), nodes_.end(), [&](int n) { return is_kind(n, kind); });
    };
    // Behind a pool rows get fewer, so what lies before is made twice more often: a run of two
    // pools, or one that begins with a pool's output, pays where rows are many.
    constexpr int64_t least_rows = 64, least_pooled_rows = 256;
    const int64_t rows = graph_.tape().shape(x).height();
    switch (run->layers[0].kind) {
      case Kind::pool_skip:
        return count(Kind::pool_skip) <= 1 && rows >= least_pooled_rows;
      case Kind::conv:
        return count(Kind::conv) == 0 && rows >= least_rows;
      default:
        return rows >= least_rows;
    }
  }
  bool is_kind(int n, Kind kind) const {
    const auto* run = as<RowRun>(graph_.node(n));
    return run && run->layers[0].kind == kind;
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
