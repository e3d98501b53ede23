#include "engine/fuse/pointwise_chain.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/fuse/patterns.h"
#include "engine/ops.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/shape.h"
#include "engine/ops/training.h"

namespace fulmar::ops {

Attributes PointwiseChain::attributes() const {
  return {{"steps", static_cast<int64_t>(steps.size())},
          {"stored", static_cast<int64_t>(stored.size())}};
}

std::vector<ValueInfo> PointwiseChain::infer(std::span<const ValueInfo>) const { return outputs; }

void PointwiseChain::run(Device& device, const RunArgs& args) const {
  std::vector<View> y(args.out.begin(), args.out.end());
  for (const Stored& s : stored) y.push_back(args.in[static_cast<size_t>(s.operand)]);
  device.backend().fused->pointwise_chain(device.stream(), args.in, steps, y);
}

std::vector<Val> PointwiseChain::compose(Tape& tape, std::span<const Val> operands) const {
  std::vector<Val> values(operands.begin(), operands.end()), y(outputs.size());
  for (const ChainStep& step : steps) {
    std::vector<Val> x;
    for (const int operand : step.x)
      if (operand >= 0) x.push_back(values[static_cast<size_t>(operand)]);
    Val v = pointwise(tape, Pointwise(step.functor, 0, 0).name(), x, step.alpha, step.beta);
    if (step.y >= 0 && step.y < std::ssize(outputs)) {
      const auto at = static_cast<size_t>(step.y);
      v = y[at] = as_role(tape, v, outputs[at].role);
    }
    values.push_back(v);
  }
  for (const Stored& s : stored) {
    const Val buffer = operands[static_cast<size_t>(s.operand)];
    const Val value = values[operands.size() + static_cast<size_t>(s.step)];
    store(tape, as_role(tape, value, tape.info(buffer).role), buffer);
  }
  return y;
}

}  // namespace fulmar::ops

namespace fulmar {
namespace {

using ops::PointwiseChain;

// The largest chain that ends at a node.
class ChainAt {
 public:
  ChainAt(const Graph& graph, int end)
      : graph_(graph), tape_(graph.tape()), end_(end), shape_(shape_of(end)) {
    if (!fits(end)) return;
    collect();
    while (drop_one()) {
    }
    if (nodes_.count(end) == 0) nodes_.clear();
  }

  std::optional<Match> match() const {
    const auto count =
        std::count_if(nodes_.begin(), nodes_.end(), [&](int n) { return is_step(n); });
    if (count < 2 || !stores_in_order()) return {};
    Match match;
    match.at = end_;
    match.nodes.assign(nodes_.begin(), nodes_.end());
    std::vector<Val> operands;
    std::vector<ChainStep> steps;
    std::vector<ValueInfo> outputs;
    std::vector<PointwiseChain::Stored> stored;
    std::vector<Val> given;      // by output
    std::map<Val, int> step_of;  // by value
    for (const int n : nodes_)
      for (const Val x : graph_.node(n).inputs)
        if (x && nodes_.count(x.node) == 0 &&
            std::find(operands.begin(), operands.end(), x) == operands.end())
          operands.push_back(x);
    const auto number = [&](Val x) {
      const auto found = step_of.find(x);
      if (found != step_of.end()) return found->second;
      return static_cast<int>(std::find(operands.begin(), operands.end(), x) - operands.begin());
    };
    for (const int n : nodes_) {
      const Node& node = graph_.node(n);
      const Val y{n, 0};
      if (as<ops::Store>(node)) {
        stored.push_back(
            {number(node.inputs[0]) - static_cast<int>(operands.size()), number(node.inputs[1])});
        continue;
      }
      if (const auto* function = as<ops::Pointwise>(node)) {
        ChainStep step{function->functor, function->alpha, function->beta};
        for (size_t i = 0; i < node.inputs.size(); i++) step.x[i] = number(node.inputs[i]);
        step_of[y] = static_cast<int>(operands.size() + steps.size());
        steps.push_back(step);
      } else {  // the same value in another role
        step_of[y] = number(node.inputs[0]);
      }
      if (is_inner(y)) continue;
      if (!place(steps, step_of[y] - std::ssize(operands), std::ssize(outputs))) return {};
      outputs.push_back(tape_.info(y));
      given.push_back(y);
    }
    for (const auto& s : stored)
      if (!place(steps, s.step, std::ssize(outputs) + (&s - stored.data()))) return {};
    match.reads = operands;
    match.record = [=](Recorder& r) {
      std::vector<Val> now;
      for (const Val v : operands) now.push_back(r.now(v));
      const Val y =
          r.tape().append(std::make_shared<PointwiseChain>(steps, outputs, stored), std::move(now));
      std::vector<std::pair<Val, Val>> values;
      for (size_t i = 0; i < given.size(); i++)
        values.emplace_back(given[i], Val{y.node, static_cast<int>(i)});
      return values;
    };
    return match;
  }

 private:
  Shape shape_of(int n) const {
    const Node& node = graph_.node(n);
    return as<ops::Store>(node)   ? tape_.shape(node.inputs[0])
           : node.outputs.empty() ? Shape{}
                                  : node.outputs[0].shape;
  }
  // Where a step's value goes. It has one place: who wants it in two stays as it is.
  static bool place(std::vector<ChainStep>& steps, std::ptrdiff_t step, std::ptrdiff_t y) {
    int& at = steps[static_cast<size_t>(step)].y;
    if (at >= 0) return false;
    at = static_cast<int>(y);
    return true;
  }
  bool is_step(int n) const { return as<ops::Pointwise>(graph_.node(n)); }
  bool in_floats(Val v) const { return type_on(graph_.device(), tape_.info(v)) == DType::f32; }

  // A pointwise op, a change of role or a store.
  bool fits(int n) const {
    const Node& node = graph_.node(n);
    if (!graph_.free(node) || shape_of(n) != shape_) return false;
    for (const Val x : node.inputs)
      if (!x || !in_floats(x)) return false;
    if (as<ops::Store>(node)) return tape_.shape(node.inputs[1]) == shape_;
    if (as<ops::Broadcast>(node)) return in_floats({n, 0}) && tape_.shape(node.inputs[0]) == shape_;
    return as<ops::Pointwise>(node) && in_floats({n, 0});
  }

  // All that fit, and are reached from the end by readers and operands before it.
  void collect() {
    std::vector<int> open{end_};
    nodes_ = {end_};
    const auto reach = [&](int n) {
      if (n > end_ || nodes_.count(n) > 0 || !fits(n)) return;
      nodes_.insert(n);
      open.push_back(n);
    };
    while (!open.empty()) {
      const int n = open.back();
      open.pop_back();
      const Node& node = graph_.node(n);
      for (const Val x : node.inputs) {
        reach(x.node);
        if (tape_.shape(x) == shape_)
          for (const int reader : graph_.readers(x)) reach(reader);
      }
      if (node.outputs.empty()) continue;
      for (const int reader : graph_.readers({n, 0})) reach(reader);
    }
  }

  // A value whose reader would come before the chain; a copy or a store of a value from outside.
  bool drop_one() {
    for (const int n : nodes_) {
      const Node& node = graph_.node(n);
      const bool early =
          !node.outputs.empty() &&
          std::any_of(graph_.readers({n, 0}).begin(), graph_.readers({n, 0}).end(),
                      [&](int reader) { return reader < end_ && nodes_.count(reader) == 0; });
      const bool foreign = !is_step(n) && nodes_.count(node.inputs[0].node) == 0;
      if (!early && !foreign) continue;
      nodes_.erase(n);
      return true;
    }
    return false;
  }

  // Whether nobody outside reads it. A copy in another role is the same step's value.
  bool is_inner(Val y) const {
    const std::vector<int>& readers = graph_.readers(y);
    return !graph_.kept(y) && std::all_of(readers.begin(), readers.end(),
                                          [&](int reader) { return nodes_.count(reader) > 0; });
  }

  // All of the chain's reads come before all of its stores: so they must have, and who else touches
  // a buffer on the way must not notice.
  bool stores_in_order() const {
    for (const int n : nodes_) {
      if (!as<ops::Store>(graph_.node(n))) continue;
      for (const int reader : graph_.readers(graph_.node(n).inputs[1]))
        if (reader != n && reader <= end_ &&
            (nodes_.count(reader) == 0 ? reader > *nodes_.begin() : reader > n))
          return false;
    }
    // Nor may a buffer that it reads change on the way.
    for (int n = *nodes_.begin(); n < end_; n++)
      if (nodes_.count(n) == 0 && graph_.node(n).op->updates_state()) return false;
    return true;
  }

  const Graph& graph_;
  const Tape& tape_;
  int end_;
  Shape shape_;
  std::set<int> nodes_;
};

}  // namespace

std::optional<Match> chain_pointwise(const Graph& graph, int node) {
  const FusedKernels* kernels = graph.device().backend().fused;
  if (!kernels || !kernels->pointwise_chain) return {};
  if (graph.node(node).op->is_leaf()) return {};
  return ChainAt(graph, node).match();
}

}  // namespace fulmar
