#include "engine/plan.h"

#include <algorithm>
#include <limits>

#include "engine/leaf.h"
#include "kernels/error.h"

namespace fulmar {
namespace {

constexpr size_t alignment = 64;

// Some room behind large values: without it those of one shape may lie a multiple of 2^28 bytes
// apart, and a Zen processor's first cache tells its ways apart by bits 12 to 27 of an address. A
// kernel that reads two such values at once then waits for each line (Zen 4: 3 % of a step).
constexpr size_t large = size_t{1} << 22, room = 5376;

size_t aligned(size_t bytes) {
  const size_t whole = (bytes + alignment - 1) / alignment * alignment;
  return bytes < large ? whole : whole + room;
}

class Planner {
 public:
  Planner(const Tape& tape, std::span<const Val> outputs, Device& device,
          const PlanOptions& options)
      : tape_(tape), device_(device), options_(options) {
    plan_.outputs.assign(outputs.begin(), outputs.end());
    plan_.allocations.resize(static_cast<size_t>(tape.size()));
    for (int n = 0; n < tape.size(); n++) plan_.allocations[n].resize(tape.node(n).outputs.size());
  }

  Plan make() {
    find_live();
    find_last_uses();
    place_joined();
    for (int s = 0; s < end(); s++) place_outputs(s);
    pack();
    return std::move(plan_);
  }

 private:
  int end() const { return static_cast<int>(plan_.steps.size()); }
  DType type_of(Val v) const { return type_on(device_, tape_.info(v)); }
  size_t bytes_of(Val v) const {
    return static_cast<size_t>(tape_.shape(v).elements()) * size_of(type_of(v));
  }
  Allocation& allocation(Val v) {
    return plan_.allocations[static_cast<size_t>(v.node)][static_cast<size_t>(v.output)];
  }
  int& last_use(Val v) {
    return last_use_[static_cast<size_t>(v.node)][static_cast<size_t>(v.output)];
  }

  void find_live() {
    std::vector<bool> live(static_cast<size_t>(tape_.size()), false);
    for (Val v : plan_.outputs) {
      tape_.info(v);
      live[v.node] = true;
    }
    for (int n = tape_.size() - 1; n >= 0; n--) {
      if (tape_.node(n).op->updates_state()) live[n] = true;
      if (!live[n]) continue;
      for (Val x : tape_.node(n).inputs)
        if (x) live[x.node] = true;
    }
    const std::vector<bool> once = depend_on_model_alone(live);
    step_of_.assign(static_cast<size_t>(tape_.size()), -1);
    const auto add_steps = [&](bool of_once) {
      for (int n = 0; n < tape_.size(); n++) {
        if (!live[n] || tape_.node(n).op->is_leaf() || once[n] != of_once) continue;
        step_of_[n] = end();
        plan_.steps.push_back({n});
      }
    };
    add_steps(true);
    plan_.once = end();
    add_steps(false);
    for (int n = 0; n < tape_.size(); n++)
      if (live[n] && tape_.node(n).op->is_leaf()) plan_.leaves.push_back(n);
  }

  // By node. A tape that updates state may change what its weights are while it runs.
  std::vector<bool> depend_on_model_alone(const std::vector<bool>& live) const {
    std::vector<bool> alone(static_cast<size_t>(tape_.size()), false);
    for (int n = 0; n < tape_.size(); n++)
      if (live[n] && tape_.node(n).op->updates_state()) return alone;
    for (int n = 0; n < tape_.size(); n++) {
      const Node& node = tape_.node(n);
      if (const ops::Leaf* leaf = ops::as_leaf(node))
        alone[n] = leaf->kind() == ops::Leaf::Kind::parameter ||
                   leaf->kind() == ops::Leaf::Kind::statistic;
      else
        alone[n] = std::all_of(node.inputs.begin(), node.inputs.end(),
                               [&](Val x) { return !x || alone[x.node]; });
    }
    return alone;
  }

  bool is_once(int step) const { return step >= 0 && step < plan_.once; }

  void find_last_uses() {
    last_use_.resize(static_cast<size_t>(tape_.size()));
    for (int n = 0; n < tape_.size(); n++)
      last_use_[n].assign(tape_.node(n).outputs.size(), step_of_[n]);
    for (int s = 0; s < end(); s++) {
      const Node& node = tape_.node(plan_.steps[s].node);
      for (int i = 0; i < static_cast<int>(node.inputs.size()); i++)
        if (const Val x = node.inputs[i]; x && node.op->reads(i)) last_use(x) = s;
    }
    for (Val v : plan_.outputs) last_use(v) = end();
  }

  int new_buffer(size_t bytes, int first, int last) {
    plan_.buffers.push_back({aligned(std::max<size_t>(bytes, 1)), 0, first, last});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  // The parts of a joined value are written straight into it, so it lives from the first part on.
  void place_joined() {
    for (int s = 0; s < end(); s++) {
      const Node& node = tape_.node(plan_.steps[s].node);
      if (node.op->join_offset(0) < 0) continue;
      const Val whole{plan_.steps[s].node, 0};
      const int buffer = new_buffer(bytes_of(whole), s, last_use(whole));
      allocation(whole) = {buffer, 0};
      for (int i = 0; i < static_cast<int>(node.inputs.size()); i++) {
        const Val part = node.inputs[i];
        if (step_of_[part.node] < 0 || allocation(part).buffer >= 0 || !options_.reuse) continue;
        if (is_once(step_of_[part.node]) != is_once(s)) continue;
        const size_t element = size_of(type_of(whole));
        allocation(part) = {buffer, static_cast<size_t>(node.op->join_offset(i)) * element};
        plan_.buffers[buffer].first = std::min(plan_.buffers[buffer].first, step_of_[part.node]);
        plan_.buffers[buffer].last = std::max(plan_.buffers[buffer].last, last_use(part));
      }
    }
  }

  // The buffer of an input that dies at this step and that output 0 may take over, or -1.
  int overwritten(int step) {
    const Node& node = tape_.node(plan_.steps[step].node);
    const Val y{plan_.steps[step].node, 0};
    if (!options_.reuse) return -1;
    for (int i = 0; i < static_cast<int>(node.inputs.size()); i++) {
      const Val x = node.inputs[i];
      if (!x || !node.op->may_overwrite(i) || allocation(x).buffer < 0) continue;
      // An operand that repeats is read again after its first element has been overwritten.
      if (type_of(x) != type_of(y) || tape_.shape(x).elements() != tape_.shape(y).elements())
        continue;
      const Buffer& buffer = plan_.buffers[allocation(x).buffer];
      if (is_once(buffer.first) && !is_once(step)) continue;
      // A buffer that ends here holds nothing else alive: joined values end later.
      if (buffer.last == step && allocation(x).offset == 0 && buffer.bytes == aligned(bytes_of(y)))
        return allocation(x).buffer;
    }
    return -1;
  }

  void place_outputs(int step) {
    const int n = plan_.steps[step].node;
    const Node& node = tape_.node(n);
    for (int i = 0; i < static_cast<int>(node.outputs.size()); i++) {
      const Val y{n, i};
      if (allocation(y).buffer >= 0) continue;
      int buffer = i == 0 ? overwritten(step) : -1;
      if (buffer < 0)
        buffer = new_buffer(bytes_of(y), step, last_use(y));
      else
        plan_.buffers[buffer].last = last_use(y);
      allocation(y) = {buffer, 0};
    }
    if (const size_t work = workspace_bytes(n); work > 0)
      plan_.steps[step].work = new_buffer(work, step, step);
  }

  size_t workspace_bytes(int n) {
    const Node& node = tape_.node(n);
    // Kernels look at shapes and types only.
    const auto view = [&](const ValueInfo& info) {
      return view_of(nullptr, info.shape, type_on(device_, info));
    };
    std::vector<View> in, out;
    for (Val x : node.inputs) in.push_back(x ? view(tape_.info(x)) : View{});
    for (const ValueInfo& info : node.outputs) out.push_back(view(info));
    try {
      return node.op->workspace_bytes(device_, {in, out, nullptr});
    } catch (const Error& error) {  // a GPU's library may be asked, and try what it proposes
      if (error.kind() != ErrorKind::device) throw;
      device_error(device_.describe() + ", planning " + tape_.describe(n) + ": " + error.what());
    }
  }

  void pack() {
    std::vector<int> arena;
    for (int b = 0; b < static_cast<int>(plan_.buffers.size()); b++) {
      Buffer& buffer = plan_.buffers[b];
      // What outlives the steps that run once: the arena is others' between runs.
      buffer.kept = is_once(buffer.first) && !is_once(buffer.last);
      if (buffer.kept)
        place_behind(buffer, plan_.kept_bytes);
      else if (options_.reuse)
        arena.push_back(b);
      else
        place_behind(buffer, plan_.arena_bytes);
    }
    pack_tightly(std::move(arena));
  }

  static void place_behind(Buffer& buffer, size_t& end) {
    buffer.offset = end;
    end += buffer.bytes;
  }

  // Greedy by size (Pisarchyk & Lee 2020, "Efficient memory management for deep neural net
  // inference"): the smallest gap between the placed buffers that are alive at the same time.
  void pack_tightly(std::vector<int> order) {
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return plan_.buffers[a].bytes > plan_.buffers[b].bytes; });
    std::vector<int> placed;  // by offset
    for (int b : order) {
      Buffer& buffer = plan_.buffers[b];
      size_t best = std::numeric_limits<size_t>::max(), best_gap = best, free_from = 0;
      for (int p : placed) {
        const Buffer& other = plan_.buffers[p];
        if (other.last < buffer.first || buffer.last < other.first) continue;
        if (other.offset >= free_from + buffer.bytes && other.offset - free_from < best_gap) {
          best = free_from;
          best_gap = other.offset - free_from;
        }
        free_from = std::max(free_from, other.offset + other.bytes);
      }
      buffer.offset = best == std::numeric_limits<size_t>::max() ? free_from : best;
      plan_.arena_bytes = std::max(plan_.arena_bytes, buffer.offset + buffer.bytes);
      placed.insert(std::upper_bound(placed.begin(), placed.end(), b,
                                     [&](int x, int y) {
                                       return plan_.buffers[x].offset < plan_.buffers[y].offset;
                                     }),
                    b);
    }
  }

  const Tape& tape_;
  Device& device_;
  PlanOptions options_;
  Plan plan_;
  std::vector<int> step_of_;                // by node; -1: a leaf or dead
  std::vector<std::vector<int>> last_use_;  // by node and output: step
};

}  // namespace

Plan make_plan(const Tape& tape, std::span<const Val> outputs, Device& device,
               const PlanOptions& options) {
  return Planner(tape, outputs, device, options).make();
}

std::vector<int> nodes_of(const Plan& plan) {
  std::vector<int> nodes = plan.leaves;
  for (const Plan::Step& step : plan.steps) nodes.push_back(step.node);
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

std::string overlap_in(const Plan& plan) {
  for (size_t i = 0; i < plan.buffers.size(); i++)
    for (size_t j = i + 1; j < plan.buffers.size(); j++) {
      const Buffer &a = plan.buffers[i], &b = plan.buffers[j];
      if (a.kept != b.kept) continue;
      const bool same_time = a.kept || (a.first <= b.last && b.first <= a.last);
      const bool same_place = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
      if (same_time && same_place)
        return "buffers " + std::to_string(i) + " and " + std::to_string(j) + " overlap";
    }
  return {};
}

}  // namespace fulmar
