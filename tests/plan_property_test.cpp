#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/ops.h"
#include "engine/plan.h"
#include "engine/session.h"
#include "kernels/step_state.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/guard.h"
#include "tests/support/random_tape.h"

// What a plan promises, on random tapes: no value is overwritten before its last use, whatever the
// reuse, and results are the bits of a plan in which every value has memory of its own.
namespace fulmar::test {
namespace {

constexpr uint64_t tapes = 500;

// ---- The promise, checked without running: who wrote each byte last? The memory that a session
// keeps between runs lies behind the arena here.

class ArenaWatch {
 public:
  ArenaWatch(const Tape& tape, const Plan& plan, Device& device)
      : tape_(tape),
        plan_(plan),
        device_(device),
        owner_(plan.arena_bytes + plan.kept_bytes, nobody) {}

  // Empty when all is well: in a first run, and in one that finds what it kept.
  std::string complaint() {
    std::string wrong = complaint_of_run(0);
    if (!wrong.empty()) return wrong;
    const auto kept = owner_.begin() + static_cast<std::ptrdiff_t>(plan_.arena_bytes);
    std::fill(owner_.begin(), kept, nobody);  // others have used the arena
    wrong = complaint_of_run(static_cast<size_t>(plan_.once));
    return wrong.empty() ? wrong : "in the second run, " + wrong;
  }

 private:
  struct Range {
    size_t begin, end;
    bool meets(const Range& o) const { return begin < o.end && o.begin < end; }
  };
  static constexpr int nobody = -1, scratch = -2;

  std::string complaint_of_run(size_t first_step) {
    for (size_t s = first_step; s < plan_.steps.size(); s++) {
      std::string wrong = take(plan_.steps[s]);
      if (!wrong.empty()) return wrong;
    }
    for (Val y : plan_.outputs)
      if (!intact(y)) return "output " + name(y) + " is gone at the end";
    return {};
  }
  size_t begin_of(const Buffer& buffer) const {
    return buffer.offset + (buffer.kept ? plan_.arena_bytes : 0);
  }

  std::string name(Val v) const {
    return std::to_string(v.node) + "." + std::to_string(v.output) + " (" +
           std::string(tape_.node(v.node).op->name()) + ")";
  }
  static int id(Val v) { return 4 * v.node + v.output; }
  bool placed(Val v) const { return v && plan_.allocation(v).buffer >= 0; }
  Range range(Val v) const {
    const Allocation& place = plan_.allocation(v);
    const ValueInfo& info = tape_.info(v);
    const size_t begin = begin_of(plan_.buffers[static_cast<size_t>(place.buffer)]) + place.offset;
    return {begin,
            begin + static_cast<size_t>(info.shape.elements()) * size_of(type_on(device_, info))};
  }

  // Where part `i` lies if the joined value `whole` has it in place, else an empty range.
  Range in_place(Val whole, int i) const {
    const Node& node = tape_.node(whole.node);
    const Val part = node.inputs[static_cast<size_t>(i)];
    const int64_t offset = node.op->join_offset(i);
    if (offset < 0 || !placed(part)) return {0, 0};
    const size_t begin = range(whole).begin +
                         static_cast<size_t>(offset) * size_of(type_on(device_, tape_.info(part)));
    return range(part).begin == begin ? range(part) : Range{0, 0};
  }

  bool intact(Val v) const {
    if (!placed(v)) return true;
    std::set<int> owners{id(v)};
    const auto& inputs = tape_.node(v.node).inputs;
    for (int i = 0; i < static_cast<int>(inputs.size()); i++)
      if (tape_.node(v.node).op->join_offset(i) >= 0 && in_place(v, i).end > 0)
        owners.insert(id(inputs[static_cast<size_t>(i)]));
    const Range r = range(v);
    return std::all_of(owner_.begin() + static_cast<std::ptrdiff_t>(r.begin),
                       owner_.begin() + static_cast<std::ptrdiff_t>(r.end),
                       [&](int o) { return owners.count(o) > 0; });
  }

  std::string take(const Plan::Step& step) {
    const Node& node = tape_.node(step.node);
    std::vector<Range> written;
    for (int i = 0; i < static_cast<int>(node.outputs.size()); i++)
      written.push_back(range(Val{step.node, i}));
    if (step.work >= 0) {
      const Buffer& work = plan_.buffers[static_cast<size_t>(step.work)];
      written.push_back({begin_of(work), begin_of(work) + work.bytes});
    }
    for (size_t i = 0; i < written.size(); i++) {
      if (written[i].end > owner_.size()) return "beyond the arena: " + name({step.node, 0});
      for (size_t j = 0; j < i; j++)
        if (written[i].meets(written[j])) return "outputs meet: " + name({step.node, 0});
    }
    for (int i = 0; i < static_cast<int>(node.inputs.size()); i++) {
      const Val x = node.inputs[static_cast<size_t>(i)];
      if (!placed(x)) continue;
      if (!intact(x)) return name(x) + " was overwritten before " + name({step.node, 0});
      const Range r = range(x);
      for (size_t k = 0; k < written.size(); k++) {
        const bool takes_over = k == 0 && node.op->may_overwrite(i) && written[0].begin == r.begin;
        const bool joins = k == 0 && in_place({step.node, 0}, i).end > 0;
        if (written[k].meets(r) && !takes_over && !joins)
          return name({step.node, static_cast<int>(k)}) + " is written over its input " + name(x);
      }
    }
    paint(step, written);
    return {};
  }

  void paint(const Plan::Step& step, const std::vector<Range>& written) {
    const Node& node = tape_.node(step.node);
    for (size_t k = 0; k < written.size(); k++) {
      const int who = k < node.outputs.size() ? id({step.node, static_cast<int>(k)}) : scratch;
      for (size_t at = written[k].begin; at < written[k].end; at++) {
        bool part = false;
        for (int i = 0; k == 0 && !part && i < static_cast<int>(node.inputs.size()); i++) {
          if (node.op->join_offset(i) < 0) break;
          const Range r = in_place({step.node, 0}, i);
          part = at >= r.begin && at < r.end;
        }
        if (!part) owner_[at] = who;
      }
    }
  }

  const Tape& tape_;
  const Plan& plan_;
  Device& device_;
  std::vector<int> owner_;  // of each byte
};

// ---- The promise, checked by running

// A backend of this machine with memory that starts as NaN, between guards; the reference also with
// scratch memory that is really written to.
size_t broken_guards = 0;

Backend hostile(const Backend& base) {
  Backend backend = base;
  backend.allocate = [](Stream& stream, size_t bytes) -> void* {
    auto* all = static_cast<std::byte*>(reference_backend().allocate(stream, guarded_bytes(bytes)));
    set_guards(all, bytes);
    return all + guard_bytes;
  };
  backend.release = [](Stream& stream, void* data, size_t bytes) {
    auto* all = static_cast<std::byte*>(data) - guard_bytes;
    if (!guards_intact(all, bytes)) broken_guards++;
    reference_backend().release(stream, all, guarded_bytes(bytes));
  };
  if (base.real != DType::f64) return backend;
  backend.conv2d_weight_grad_workspace = [](Stream&, const View&, const View&, const View& dw,
                                            const Window&, int64_t) { return dw.bytes() + 40; };
  backend.conv2d_weight_grad = [](Stream& stream, const View& x, const View& dy, const View& dw,
                                  const Window& window, int64_t groups, void* work) {
    std::memset(work, 0xa5, dw.bytes() + 40);
    reference_backend().conv2d_weight_grad(stream, x, dy, dw, window, groups, nullptr);
  };
  return backend;
}

// A session on a Model of its own, which has the tape's weights.
struct Run {
  Model model;
  Session session;

  Run(Context& context, Device& device, const RandomTape& r, std::shared_ptr<Arena> arena = nullptr,
      const SessionOptions& options = {})
      : model(device, *r.tape, std::nullopt),
        session(context, device, r.tape, r.outputs, &model, std::move(arena), options) {
    for (const RandomTape::Input& input : r.inputs)
      if (!input.key.empty()) model.write(input.key, input.values);
  }
};

void set_inputs(Session& session, const RandomTape& r) {
  StepState state;
  state.seed = 5, state.draw = 3, state.micro_batch = 1;
  for (const RandomTape::Input& input : r.inputs) {
    const auto& leaves = session.plan().leaves;
    if (std::find(leaves.begin(), leaves.end(), input.val.node) == leaves.end()) continue;
    if (!input.key.empty()) continue;
    if (input.is_step_state)
      session.set_bytes(input.val, &state, sizeof state);
    else
      session.set(input.val, std::span<const double>(input.values));
  }
}

std::vector<std::vector<double>> results(Run& run, const RandomTape& r) {
  Session& session = run.session;
  set_inputs(session, r);
  session.run();
  std::vector<std::vector<double>> all;
  for (Val y : r.outputs) all.push_back(session.read(y));
  for (const RandomTape::Input& input : r.inputs) {
    const auto& leaves = session.plan().leaves;
    if (input.updated && std::find(leaves.begin(), leaves.end(), input.val.node) != leaves.end())
      all.push_back(session.read(input.val));
  }
  return all;
}

bool same_bits(const std::vector<std::vector<double>>& a,
               const std::vector<std::vector<double>>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](auto& x, auto& y) {
           return x.size() == y.size() &&
                  (x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) == 0);
         });
}

}  // namespace

TEST_CASE("random tapes: no byte of the arena changes hands while its value is needed") {
  Context context;
  const Backend backend = hostile(reference_backend());
  Device device(backend, context.device("reference").stream());
  // Its values are of 2, 4 and 8 bytes an element.
  Device mixed(emulated_bf16(), context.device("reference").stream());
  size_t nodes = 0, reused = 0, joined = 0, apart = 0, once = 0;
  for (uint64_t seed = 0; seed < tapes; seed++) {
    CAPTURE(seed);
    const RandomTape r(seed);
    const Plan p = make_plan(*r.tape, r.outputs, device);
    CHECK(ArenaWatch(*r.tape, p, device).complaint() == "");
    CHECK(overlap_in(p) == "");
    const Plan of_mixed = make_plan(*r.tape, r.outputs, mixed);
    CHECK(ArenaWatch(*r.tape, of_mixed, mixed).complaint() == "");
    CHECK(overlap_in(of_mixed) == "");
    nodes += p.steps.size();
    once += static_cast<size_t>(p.once);
    reused += p.arena_bytes;
    apart += make_plan(*r.tape, r.outputs, device, {.reuse = false}).arena_bytes;
    for (const Plan::Step& s : p.steps) joined += r.tape->node(s.node).op->name() == "join";
  }
  // The tapes are worth checking: long, with flat gradients, and most memory is used again.
  CHECK(nodes > 20 * tapes);
  CHECK(joined > tapes / 4);
  CHECK(once > tapes);
  CHECK(2 * reused < apart);
}

TEST_CASE("a part that lies inside a joined value is not taken for the whole of its memory") {
  Context context;
  Tape tape;
  const Val x = ops::input(tape, "x", {{4}});
  const Val part = ops::tanh(tape, x);
  const Val flat = ops::join(tape, std::array{part}, std::array<int64_t, 1>{2}, 8);
  const Val sum = ops::sum_all(tape, flat), y = ops::exp(tape, part);
  Device& device = context.device("reference");
  const Plan p = make_plan(tape, std::array{sum, y}, device);
  CHECK(ArenaWatch(tape, p, device).complaint() == "");
}

TEST_CASE("random tapes: reuse of memory changes no bit, and nothing reads what lay there before") {
  Context context;
  for (const Backend* base :
       {&reference_backend(), &cpu_backend(), &cpu_backend(Precision::bf16), &emulated_bf16()}) {
    CAPTURE(base->name);
    const Backend backend = hostile(*base);
    Device device(backend, context.device("reference").stream());
    broken_guards = 0;
    for (uint64_t seed = 0; seed < tapes; seed++) {
      CAPTURE(seed);
      const RandomTape r(seed);
      SessionOptions own_memory, checked;
      own_memory.reuse = false;
      checked.debug = true;  // a NaN that was read would show up in some output
      Run alone(context, device, r, nullptr, own_memory),
          packed(context, device, r, nullptr, checked);
      const auto expected = results(alone, r);
      CHECK(same_bits(results(packed, r), expected));
      CHECK(same_bits(results(packed, r), expected));  // again, on used memory
    }
    CHECK(broken_guards == 0);
  }
}

TEST_CASE("random tapes: sessions that share an arena don't disturb each other's runs") {
  Context context;
  Device& device = context.device("reference");
  const auto arena = std::make_shared<Arena>();
  for (uint64_t seed = 0; seed < tapes; seed += 10) {
    CAPTURE(seed);
    const RandomTape a(seed), b(seed + 1);
    Run alone(context, device, a);
    const auto expected = results(alone, a);
    Run first(context, device, a, arena), second(context, device, b, arena);
    CHECK(same_bits(results(first, a), expected));
    results(second, b);
    CHECK(same_bits(results(first, a), expected));
  }
}

}  // namespace fulmar::test
