#include "engine/recompute.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "engine/leaf.h"
#include "engine/plan.h"

namespace fulmar {
namespace {

constexpr int never = std::numeric_limits<int>::max();

// Which of a tape's values are given up, and from which step on they are wanted again.
class Drops {
 public:
  explicit Drops(const Tape& tape) {
    for (int n = 0; n < tape.size(); n++) from_.emplace_back(tape.node(n).outputs.size(), never);
  }
  int& from(Val v) { return from_[static_cast<size_t>(v.node)][static_cast<size_t>(v.output)]; }
  int from(Val v) const {
    return from_[static_cast<size_t>(v.node)][static_cast<size_t>(v.output)];
  }

 private:
  std::vector<std::vector<int>> from_;
};

// One run of a node. Its operands are outputs of earlier runs; an empty Val is a leaf or left out.
struct Run {
  int node;
  std::vector<Val> operands;  // Val::node: a place in the schedule
};

// The steps of a tape, with the runs that drops add: each right before the first step that wants
// it.
class Schedule {
 public:
  Schedule(const Tape& tape, const Plan& plan, const Drops& drops)
      : tape_(tape),
        drops_(drops),
        first_(static_cast<size_t>(tape.size()), -1),
        second_(static_cast<size_t>(tape.size()), -1) {
    for (int s = 0; s < std::ssize(plan.steps); s++) {
      const int n = plan.steps[s].node;
      std::vector<Val> operands = operands_of(n, s);
      first_[n] = place();
      runs_.push_back({n, std::move(operands)});
    }
  }

  const std::vector<Run>& runs() const { return runs_; }
  int first(int node) const { return first_[node]; }
  // The step before which a node runs again, by node.
  struct Again {
    int node, step;
  };
  const std::vector<Again>& again() const { return again_; }

 private:
  int place() const { return static_cast<int>(runs_.size()); }

  std::vector<Val> operands_of(int node, int step) {
    std::vector<Val> operands;
    for (const Val x : tape_.node(node).inputs) {
      if (!x || tape_.node(x.node).op->is_leaf())
        operands.push_back({});
      else if (step >= drops_.from(x))
        operands.push_back({run_again(x.node, step), x.output});
      else
        operands.push_back({first_[x.node], x.output});
    }
    return operands;
  }

  int run_again(int node, int step) {
    if (second_[node] >= 0) return second_[node];
    std::vector<Val> operands = operands_of(node, step);
    second_[node] = place();
    again_.push_back({node, step});
    runs_.push_back({node, std::move(operands)});
    return second_[node];
  }

  const Tape& tape_;
  const Drops& drops_;
  std::vector<int> first_, second_;  // by node
  std::vector<Run> runs_;
  std::vector<Again> again_;
};

// What the choice needs to know of a tape's values and steps.
class Costs {
 public:
  Costs(const Tape& tape, const Plan& plan, const Device& device)
      : tape_(tape), work_(static_cast<size_t>(tape.size()), 0), until_(work_.size(), never) {
    for (int n = 0; n < tape.size(); n++) {
      bytes_.emplace_back();
      for (const ValueInfo& info : tape.node(n).outputs)
        bytes_.back().push_back(static_cast<double>(info.shape.elements()) *
                                static_cast<double>(size_of(type_on(device, info))));
    }
    for (int s = 0; s < std::ssize(plan.steps); s++) {
      const Plan::Step& step = plan.steps[s];
      if (step.work >= 0) work_[step.node] = static_cast<double>(plan.buffers[step.work].bytes);
      if (tape.node(step.node).op->updates_state()) note_changes(plan, s);
    }
  }

  double bytes(Val v) const {
    return bytes_[static_cast<size_t>(v.node)][static_cast<size_t>(v.output)];
  }
  double work(int node) const { return work_[node]; }  // bytes of scratch memory
  // The step from which on a node would give other values: an update has changed what it reads.
  int until(int node) const { return until_[node]; }

  // The time of a run, as that of so many bytes.
  double time(int node) const {
    // Processors do about ten operations in the time of a byte; a GPU's matrix units do more.
    constexpr double operations_per_byte = 10;
    std::vector<ValueInfo> in;
    double moved = 0;
    for (const Val x : tape_.node(node).inputs) {
      in.push_back(x ? tape_.info(x) : ValueInfo{});
      if (x) moved += bytes(x);
    }
    const Node& made = tape_.node(node);
    for (int i = 0; i < std::ssize(made.outputs); i++) moved += bytes(Val{node, i});
    return std::max(moved, made.op->flops(in, made.outputs) / operations_per_byte);
  }

 private:
  // A buffer may be all parameters under another name, as the optimiser reads them.
  void note_changes(const Plan& plan, int step) {
    bool parameters = false;
    std::vector<Val> changed;
    for (const Val x : tape_.node(plan.steps[step].node).inputs) {
      const ops::Leaf* leaf = x ? ops::as_leaf(tape_.node(x.node)) : nullptr;
      if (!leaf) continue;
      changed.push_back(x);
      parameters = parameters || leaf->kind() == ops::Leaf::Kind::buffer;
    }
    for (int s = 0; s < step; s++)
      for (const Val x : tape_.node(plan.steps[s].node).inputs) {
        const ops::Leaf* leaf = x ? ops::as_leaf(tape_.node(x.node)) : nullptr;
        if (!leaf) continue;
        if (std::find(changed.begin(), changed.end(), x) != changed.end() ||
            (parameters && leaf->kind() == ops::Leaf::Kind::parameter))
          until_[plan.steps[s].node] = std::min(until_[plan.steps[s].node], step);
      }
  }

  const Tape& tape_;
  std::vector<std::vector<double>> bytes_;
  std::vector<double> work_;
  std::vector<int> until_;  // by node
};

// What a schedule costs.
struct Score {
  double peak = 0;    // bytes alive at once
  double excess = 0;  // bytes above the aim, summed over runs
  double again = 0;   // time of what runs again
};

class Chooser {
 public:
  Chooser(const Tape& tape, const Plan& plan, const Device& device)
      : tape_(tape), plan_(plan), costs_(tape, plan, device), drops_(tape) {
    find_candidates();
  }

  const Drops& choose() {
    // Each rung asks for a little less than the last, so that cheap values go first.
    constexpr double rung = 0.98;
    double peak = score(drops_, 0)->peak;
    while (peak > 0) {
      Drops trial = drops_;
      const std::optional<double> lower = reach(rung * peak, trial);
      if (!lower) break;
      peak = *lower;
      drops_ = std::move(trial);
    }
    keep_what_fits(peak);
    return drops_;
  }

 private:
  struct Candidate {
    Val value;
    int from;
  };

  // Each value's widest gap between two steps that touch it.
  void find_candidates() {
    std::vector<std::vector<std::vector<int>>> touched;
    for (int n = 0; n < tape_.size(); n++) touched.emplace_back(tape_.node(n).outputs.size());
    const auto at = [&](Val v) -> std::vector<int>& {
      return touched[static_cast<size_t>(v.node)][static_cast<size_t>(v.output)];
    };
    for (int s = 0; s < std::ssize(plan_.steps); s++) {
      const Node& node = tape_.node(plan_.steps[s].node);
      for (const Val x : node.inputs)
        if (x && !at(x).empty()) at(x).push_back(s);
      if (node.op->updates_state()) continue;
      for (int i = 0; i < std::ssize(node.outputs); i++) at({plan_.steps[s].node, i}).push_back(s);
    }
    for (const Val v : plan_.outputs) at(v).clear();
    // Of steps that run once a session keeps what is read.
    for (int s = plan_.once; s < std::ssize(plan_.steps); s++) {
      const int n = plan_.steps[s].node;
      for (int i = 0; i < std::ssize(tape_.node(n).outputs); i++) {
        const std::vector<int>& steps = at({n, i});
        int from = never, widest = 1;
        for (size_t k = 1; k < steps.size(); k++)
          if (steps[k] - steps[k - 1] > widest) {
            widest = steps[k] - steps[k - 1];
            from = steps[k];
          }
        if (from != never) candidates_.push_back({{n, i}, from});
      }
    }
  }

  // Drops values until the peak is at most `aim`, and gives it; empty where none helps any more.
  std::optional<double> reach(double aim, Drops& drops) const {
    Score now = *score(drops, aim);
    while (now.peak > aim) {
      const Candidate* best = nullptr;
      Score after;
      double gain = 0;
      for (const Candidate& c : candidates_) {
        // A value this small can't matter.
        if (drops.from(c.value) != never || costs_.bytes(c.value) < now.peak / 1024) continue;
        drops.from(c.value) = c.from;
        const std::optional<Score> trial = score(drops, aim);
        drops.from(c.value) = never;
        if (!trial || trial->excess >= now.excess) continue;
        const double by_time =
            (now.excess - trial->excess) / std::max(trial->again - now.again, 1.0);
        if (by_time <= gain) continue;
        gain = by_time;
        best = &c;
        after = *trial;
      }
      if (!best) return {};
      drops.from(best->value) = best->from;
      now = after;
    }
    return now.peak;
  }

  // What was dropped first may not matter any more.
  void keep_what_fits(double peak) {
    for (const Candidate& c : candidates_) {
      if (drops_.from(c.value) == never) continue;
      Drops without = drops_;
      without.from(c.value) = never;
      const std::optional<Score> trial = score(without, peak);
      if (trial && trial->peak <= peak) drops_ = std::move(without);
    }
  }

  // Empty where a node would run again behind an update of what it reads.
  std::optional<Score> score(const Drops& drops, double aim) const {
    const Schedule schedule(tape_, plan_, drops);
    Score score;
    for (const Schedule::Again& again : schedule.again()) {
      if (again.step > costs_.until(again.node)) return {};
      score.again += costs_.time(again.node);
    }
    for (const double bytes : alive(schedule)) {
      score.peak = std::max(score.peak, bytes);
      score.excess += std::max(0.0, bytes - aim);
    }
    return score;
  }

  // The bytes alive during each run: what a plan without gaps would need.
  std::vector<double> alive(const Schedule& schedule) const {
    const std::vector<Run>& runs = schedule.runs();
    const int end = static_cast<int>(runs.size());
    struct Life {
      int first, last;
      double bytes;
    };
    std::vector<std::vector<Life>> lives(runs.size());
    for (int r = 0; r < end; r++) {
      const auto outputs = static_cast<int>(std::ssize(tape_.node(runs[r].node).outputs));
      for (int i = 0; i < outputs; i++)
        lives[r].push_back({r, r, costs_.bytes(Val{runs[r].node, i})});
      for (const Val x : runs[r].operands)
        if (x) lives[x.node][static_cast<size_t>(x.output)].last = r;
    }
    for (const Val v : plan_.outputs)
      if (const int r = schedule.first(v.node); r >= 0)
        lives[r][static_cast<size_t>(v.output)].last = end - 1;
    std::vector<double> change(runs.size() + 1, 0);
    for (int r = 0; r < end; r++) {
      const Op& op = *tape_.node(runs[r].node).op;
      const auto operand = [&](size_t i) -> Life& {
        const Val x = runs[r].operands[i];
        return lives[x.node][static_cast<size_t>(x.output)];
      };
      bool placed = false;
      for (size_t i = 0; i < runs[r].operands.size(); i++) {
        if (!runs[r].operands[i]) continue;
        if (op.join_offset(static_cast<int>(i)) >= 0) {  // written straight into the whole
          lives[r][0].first = std::min(lives[r][0].first, operand(i).first);
          operand(i).bytes = 0;
        } else if (!placed && op.may_overwrite(static_cast<int>(i)) && operand(i).last == r &&
                   operand(i).bytes == lives[r][0].bytes) {
          operand(i).last = r - 1;
          placed = true;
        }
      }
      change[r] += costs_.work(runs[r].node);
      change[r + 1] -= costs_.work(runs[r].node);
    }
    for (const std::vector<Life>& of_run : lives)
      for (const Life& life : of_run) {
        change[life.first] += life.bytes;
        change[life.last + 1] -= life.bytes;
      }
    for (int r = 1; r < end; r++) change[r] += change[r - 1];
    change.pop_back();
    return change;
  }

  const Tape& tape_;
  const Plan& plan_;
  Costs costs_;
  std::vector<Candidate> candidates_;
  Drops drops_;
};

// Records a schedule.
Rewritten recorded(const Tape& before, const Schedule& schedule) {
  Rewritten result{std::make_shared<Tape>(), {}};
  Tape& tape = *result.tape;
  for (int n = 0; n < before.size(); n++) result.values.emplace_back(before.node(n).outputs.size());
  const auto append = [&](int n, std::vector<Val> inputs) {
    const Tape::Scope scope(tape, before.node(n).scopes);
    return tape.append(before.node(n).op, std::move(inputs)).node;
  };
  const auto set = [&](int n, int now) {
    for (int i = 0; i < std::ssize(before.node(n).outputs); i++)
      result.values[static_cast<size_t>(n)][static_cast<size_t>(i)] = {now, i};
  };
  for (int n = 0; n < before.size(); n++)
    if (before.node(n).op->is_leaf()) set(n, append(n, {}));
  std::vector<int> nodes;  // by run
  for (size_t r = 0; r < schedule.runs().size(); r++) {
    const Run& run = schedule.runs()[r];
    std::vector<Val> inputs;
    for (size_t i = 0; i < run.operands.size(); i++) {
      const Val x = run.operands[i];
      inputs.push_back(x ? Val{nodes[x.node], x.output}
                         : result.now(before.node(run.node).inputs[i]));
    }
    nodes.push_back(append(run.node, std::move(inputs)));
    if (schedule.first(run.node) == static_cast<int>(r)) set(run.node, nodes.back());
  }
  for (const auto& [name, value] : before.names())
    if (const Val now = result.now(value)) tape.name(now, name);
  return result;
}

}  // namespace

Rewritten recompute(const Tape& tape, std::span<const Val> outputs, Device& device) {
  const Plan plan = make_plan(tape, outputs, device);
  Chooser chooser(tape, plan, device);
  Rewritten again = recorded(tape, Schedule(tape, plan, chooser.choose()));
  std::vector<Val> now;
  for (const Val y : outputs) now.push_back(again.now(y));
  // The choice counts what is alive; a plan may leave gaps between that.
  if (make_plan(*again.tape, now, device).arena_bytes < plan.arena_bytes) return again;
  return recorded(tape, Schedule(tape, plan, Drops(tape)));
}

}  // namespace fulmar
