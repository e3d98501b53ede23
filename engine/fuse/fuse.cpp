#include "engine/fuse/fuse.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/fuse/pattern.h"
#include "engine/ops/norm.h"
#include "engine/ops/pointwise.h"
#include "kernels/error.h"
#include "kernels/pointwise.h"

namespace fulmar {

Graph::Graph(const Tape& tape, const Device& device, std::span<const Val> keep,
             const GradRules& rules)
    : tape_(tape), device_(device), rules_(rules), keep_(keep.begin(), keep.end()) {
  for (int n = 0; n < tape.size(); n++) {
    readers_.emplace_back(tape.node(n).outputs.size());
    for (const Val x : tape.node(n).inputs) {
      if (!x) continue;
      readers_[static_cast<size_t>(x.node)][static_cast<size_t>(x.output)].push_back(n);
      if (tape.node(n).op->updates_state() && node(x).op->is_leaf()) updates_[x].push_back(n);
    }
  }
}

bool Graph::unchanged(Val leaf, int from, int to) const {
  const auto found = updates_.find(leaf);
  if (found == updates_.end()) return true;
  const auto next = std::upper_bound(found->second.begin(), found->second.end(), from);
  return next == found->second.end() || *next >= to;
}

bool Graph::kept(Val v) const { return std::find(keep_.begin(), keep_.end(), v) != keep_.end(); }

bool Graph::free(const Node& node) const { return rules_.count(node.op->name()) == 0; }

std::optional<Normalised> Graph::normalised(Val activation) const {
  const Node& relu = node(activation);
  const auto* function = as<ops::Pointwise>(relu);
  if (!function || function->functor != functor_Relu || kept(activation) || !free(relu)) return {};
  return norm(relu.inputs[0]);
}

std::optional<Normalised> Graph::norm(Val y) const {
  const auto* train = as<ops::BatchNormTrain>(node(y));
  const auto* eval = as<ops::BatchNorm>(node(y));
  if ((!train && !eval) || !inner(y) || !free(node(y))) return {};
  const std::vector<Val>& x = node(y).inputs;
  // Who loads it reads its operands later.
  for (size_t i = 1; i < x.size(); i++)
    if (!unchanged(x[i], y.node, tape_.size())) return {};
  return Normalised{
      x[0], x[1], x[2], x[3], x[4], train ? x[5] : Val{}, train ? train->epsilon : eval->epsilon};
}

std::optional<SumsAbout> Graph::channel_sums(Val z) const {
  for (const int reader : readers(z)) {
    if (!as<ops::ChannelSums>(node(reader)) || !free(node(reader))) continue;
    const Val shift = node(reader).inputs[1];
    if (node(shift).op->is_leaf() && unchanged(shift, z.node, reader))
      return SumsAbout{Val{reader, 0}, shift};
  }
  return {};
}

namespace {

// Which matches stand: each node belongs to one, and what a match must load nobody reads from
// memory.
class Choice {
 public:
  Choice(const Graph& graph, const Patterns& patterns) : graph_(graph) {
    for (const Pattern& pattern : patterns)
      for (int n = graph.tape().size() - 1; n >= 0; n--) {
        if (of_node_.count(n) > 0) continue;
        std::optional<Match> match = pattern(graph, n);
        if (!match || std::any_of(match->nodes.begin(), match->nodes.end(),
                                  [&](int node) { return of_node_.count(node) > 0; }))
          continue;
        for (const int node : match->nodes) of_node_[node] = matches_.size();
        matches_.push_back(std::move(match));
      }
    while (drop_one()) {
    }
  }

  const Match* of(int node) const {
    const auto found = of_node_.find(node);
    return found == of_node_.end() ? nullptr : &*matches_[found->second];
  }
  // Whether all who read an activation normalise it while they load it.
  bool loaded(Val activation) const {
    const std::vector<int>& readers = graph_.readers(activation);
    return graph_.normalised(activation) &&
           std::all_of(readers.begin(), readers.end(), [&](int reader) {
             const Match* match = of(reader);
             return match && std::find(match->loads.begin(), match->loads.end(), activation) !=
                                 match->loads.end();
           });
  }

 private:
  bool drop_one() {
    for (std::optional<Match>& match : matches_) {
      if (!match || std::all_of(match->must_load.begin(), match->must_load.end(),
                                [&](Val v) { return loaded(v); }))
        continue;
      for (const int node : match->nodes) of_node_.erase(node);
      match.reset();
      return true;
    }
    return false;
  }

  const Graph& graph_;
  std::vector<std::optional<Match>> matches_;
  std::map<int, size_t> of_node_;
};

class Fusion final : public Recorder {
 public:
  Fusion(const Graph& graph, const Patterns& patterns, std::span<const Val> keep)
      : graph_(graph), choice_(graph, patterns), needed_(static_cast<size_t>(graph.tape().size())) {
    fused_.tape = std::make_shared<Tape>();
    for (int n = 0; n < graph.tape().size(); n++)
      fused_.values.emplace_back(graph.node(n).outputs.size());
    find_needed(keep);
  }

  Rewritten run() {
    const Tape& before = graph_.tape();
    for (int n = 0; n < before.size(); n++) {
      if (!needed_[n]) continue;
      const Match* match = choice_.of(n);
      if (!match) {
        copy(n);
      } else if (match->at == n) {
        const Tape::Scope scope(tape(), before.node(n).scopes);
        for (const auto& [old, now] : match->record(*this)) set(old, now);
      }
    }
    for (const auto& [name, value] : before.names())
      if (const Val now = fused_.now(value); now && !tape().has(name)) tape().name(now, name);
    return std::move(fused_);
  }

  Tape& tape() override { return *fused_.tape; }
  using Recorder::now;
  Val now(Val before) override {
    if (!before) return {};
    // A match may stand before the leaves of what it stands for.
    if (!fused_.now(before) && graph_.node(before).op->is_leaf()) copy(before.node);
    return fused_.now(before);
  }
  std::optional<Normalised> loads(Val before) override {
    if (!choice_.loaded(before)) return {};
    return now(*graph_.normalised(before));
  }

 private:
  void set(Val before, Val now) {
    fused_.values[static_cast<size_t>(before.node)][static_cast<size_t>(before.output)] = now;
  }

  void copy(int n) {
    const Node& node = graph_.node(n);
    if (node.op->is_leaf() && fused_.now(Val{n, 0})) return;
    const Tape::Scope scope(tape(), node.scopes);
    std::vector<Val> inputs;
    for (const Val x : node.inputs) {
      inputs.push_back(now(x));
      if (x && !inputs.back())
        usage_error("fuse: " + graph_.tape().describe(n) + " reads what no fused op gives");
    }
    const Val first = tape().append(node.op, std::move(inputs));
    for (int i = 0; i < static_cast<int>(node.outputs.size()); i++)
      set(Val{n, i}, Val{first.node, i});
  }

  void need(Val v) {
    if (v) needed_[v.node] = true;
  }

  // Values that are needed of a match may lie before what it reads: so once is not always enough.
  void find_needed(std::span<const Val> keep) {
    for (const Val v : keep) need(v);
    for (std::vector<bool> before; before != needed_;) {
      before = needed_;
      need_more();
    }
  }

  // A match is needed where any of its nodes is; then it needs what it reads.
  void need_more() {
    for (int n = graph_.tape().size() - 1; n >= 0; n--) {
      const Node& node = graph_.node(n);
      if (node.op->updates_state()) needed_[n] = true;
      const Match* match = choice_.of(n);
      if (!needed_[n]) continue;
      if (match) {
        needed_[match->at] = true;
        need_reads(*match);
      } else {
        for (const Val x : node.inputs) need(x);
      }
    }
  }

  void need_reads(const Match& match) {
    for (const Val x : match.reads) need(x);
    for (const Val x : match.loads) {
      if (!choice_.loaded(x)) {
        need(x);
        continue;
      }
      for (const Val v : graph_.normalised(x)->operands()) need(v);
    }
  }

  const Graph& graph_;
  Choice choice_;
  std::vector<bool> needed_;
  Rewritten fused_;
};

}  // namespace

Rewritten fuse(const Tape& tape, const Device& device, std::span<const Val> keep,
               const GradRules& rules, FuseFor use) {
  std::optional<Rewritten> all;
  std::vector<Val> kept(keep.begin(), keep.end());
  for (const Patterns& list : patterns(use)) {
    const Graph graph(all ? *all->tape : tape, device, kept, rules);
    Rewritten next = Fusion(graph, list, kept).run();
    for (Val& v : kept) v = next.now(v);
    if (all) {
      for (std::vector<Val>& node : all->values)
        for (Val& v : node) v = next.now(v);
      next.values = std::move(all->values);
    }
    all = std::move(next);
  }
  return std::move(*all);
}

}  // namespace fulmar
